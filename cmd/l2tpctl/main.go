// Command l2tpctl is an L2TP/IPsec concentrator for Linux, and the tool to look into it.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/cli"
	"github.com/l2tpctl/l2tpctl/internal/concentrator"
	"github.com/l2tpctl/l2tpctl/internal/keeper"
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
		Serve:    func(ctx context.Context, s cli.Service) error { return serve(ctx, s, built) },
		Keep: func(ctx context.Context, k cli.Keeper) error {
			return keeper.Run(ctx, keeper.Config{Linger: k.Linger, ForServe: k.ForServe, Build: built.Version, Log: k.Log})
		},
		Linger:   keeper.DefaultLinger,
		Describe: concentrator.Describe,
		Doctor:   examine,
	}
	os.Exit(cli.Run(ctx, env, os.Args[1:]))
}
