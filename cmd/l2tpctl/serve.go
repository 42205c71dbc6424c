package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/cli"
	"github.com/l2tpctl/l2tpctl/internal/concentrator"
	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/confine"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// serve runs the daemon, in two stages that are one process: the first does what takes privileges, and then runs this program anew, with the
// same arguments and without privileges.
func serve(ctx context.Context, s cli.Service, built control.Version) error {
	if !confine.Confined() {
		keep, err := keeperCommand(s.Config.Log)
		if err != nil {
			return err
		}
		if err := confine.Hide(); err != nil { // the keeper tells of the records, in which keys are
			return err
		}
		if err := concentrator.Prepare(ctx, s.Config, built, s.Log, keep); err != nil {
			return err
		}
		return confine.Drop(os.Args)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, unix.SIGUSR2)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		select {
		case <-leave:
			end(concentrator.ErrLeave)
		case <-ctx.Done():
		}
	}()
	load := func() (*config.Config, error) {
		cfg, err := s.Load()
		return cfg, confine.Explain(err)
	}
	return concentrator.Run(ctx, s.Config, built, s.Log, concentrator.Reloading{Load: load, SetLevel: s.SetLevel, Signals: hangups})
}

// keeperCommand is how to start a keeper that ends with the daemon.
func keeperCommand(log config.Log) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program to start as keeper: %w", err)
	}
	return []string{self, "keeper", "--for-serve", "--log-level", log.Level, "--log-format", log.Format}, nil
}
