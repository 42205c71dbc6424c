// Command l2tpctl is an L2TP/IPsec concentrator for Linux, and the tool to look into it.
package main

import (
	"context"
	"os"
	"os/signal"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/cli"
	"github.com/l2tpctl/l2tpctl/internal/concentrator"
	"github.com/l2tpctl/l2tpctl/internal/config"
)

// version is set by the linker for releases.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	built := cli.BuildVersion(version)
	env := cli.Env{
		Out:      os.Stdout,
		Err:      os.Stderr,
		Terminal: cli.IsTerminal(os.Stdout),
		Version:  built,
		Serve: func(ctx context.Context, cfg *config.Config, log *zap.Logger) error {
			return concentrator.Run(ctx, cfg, built, log)
		},
		Describe: concentrator.Describe,
		Doctor:   examine,
	}
	os.Exit(cli.Run(ctx, env, os.Args[1:]))
}
