package concentrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/confine"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
	keeper "github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

const (
	// keeperWait is how long a keeper may take to listen that somebody has started, and keeperPause how often that is looked at.
	keeperWait  = 10 * time.Second
	keeperPause = 10 * time.Millisecond
)

// heldControl is what the names of control sockets begin with that the keeper holds; then comes the path.
const heldControl = "control:"

// Prepare does what takes privileges before a daemon can serve cfg without any: it checks the kernel, finds the keeper or starts one with the
// program and arguments of keep, and gives it the control socket.
func Prepare(ctx context.Context, cfg *config.Config, version control.Version, log *zap.Logger, keep []string) error {
	s, err := newSettings(cfg, log)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", cfg.Path, err)
	}
	conn, err := findKeeper(ctx, s, version, log, keep)
	if err != nil {
		return err
	}
	err = depositControl(ctx, conn, cfg, s)
	return errors.Join(err, conn.Close())
}

// PrepareKernel loads the modules that are needed, as far as it may, and refuses a machine that lacks something, by name. Warnings go to the log.
func PrepareKernel(ctx context.Context, table steering.Config, log *zap.Logger) error {
	if err := doctor.Load(ctx); err != nil {
		log.Debug("not every module was loaded; some may be built in", zap.Error(err))
	}
	findings := doctor.Check(ctx, doctor.Options{Steering: table, DaemonRunning: true})
	for _, f := range findings {
		if f.Status == doctor.Warn {
			log.Warn("doctor: "+f.Name+": "+f.Detail, zap.String("fix", f.Fix))
		}
	}
	return doctor.Required(findings)
}

// findKeeper connects to the keeper of this network namespace, and starts it if there is none.
func findKeeper(ctx context.Context, s settings, version control.Version, log *zap.Logger, keep []string) (*keeper.Conn, error) {
	path, err := keeper.Path()
	if err != nil {
		return nil, err
	}
	conn, err := keeper.Dial(ctx, path, version.Version)
	if !errors.Is(err, keeper.ErrNoKeeper) {
		return conn, err
	}
	if !confine.Holds(unix.CAP_NET_ADMIN) {
		return awaitKeeper(ctx, path, version, nil)
	}
	if err := PrepareKernel(ctx, s.steering, log); err != nil { // a keeper that runs has what it needs
		return nil, err
	}
	cmd := exec.Command(keep[0], keep[1:]...)
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends us from a terminal is not for it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	log.Debug("the keeper was started", zap.Int("pid", cmd.Process.Pid))
	return awaitKeeper(ctx, path, version, ended)
}

// awaitKeeper connects to a keeper as soon as it listens. ended tells of its early end.
func awaitKeeper(ctx context.Context, path string, version control.Version, ended <-chan error) (*keeper.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, keeperWait)
	defer cancel()
	for {
		conn, err := keeper.Dial(limited, path, version.Version)
		if err == nil || !errors.Is(err, keeper.ErrNoKeeper) && limited.Err() == nil {
			return conn, err
		}
		select {
		case end := <-ended:
			return nil, fmt.Errorf("the keeper ended at its start, and its log says why: %w", errors.Join(end, err))
		case <-limited.Done():
			if ctx.Err() != nil {
				return nil, fmt.Errorf("wait for the keeper: %w", ctx.Err())
			}
			return nil, fmt.Errorf("no keeper listens within %v (start l2tpctl-keeper.service, or give this process CAP_NET_ADMIN to start one): %w", keeperWait, err)
		case <-time.After(keeperPause):
		}
	}
}

// depositControl lets the keeper hold the control socket, which so outlives daemons, in place of that of another configuration.
func depositControl(ctx context.Context, conn *keeper.Conn, cfg *config.Config, s settings) error {
	files, err := conn.Prepare(ctx, s.setup())
	if err != nil {
		return fmt.Errorf("set the keeper up: %w", err)
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	name := heldControl + cfg.Control.Socket
	held := files[name]
	socket, err := control.Open(ctx, cfg.Control.Socket, cfg.Control.Group, held)
	if err != nil {
		return err
	}
	if socket != held {
		defer socket.Close()
		if err := conn.Hold(name, socket); err != nil {
			return err
		}
	}
	for other := range files {
		if other != name && strings.HasPrefix(other, heldControl) {
			if err := conn.Release(other); err != nil {
				return err
			}
		}
	}
	return nil
}
