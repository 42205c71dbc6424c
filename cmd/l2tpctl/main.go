// Command l2tpctl is an L2TP/IPsec concentrator for Linux, and the tool to look into it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/cli"
	"github.com/l2tpctl/l2tpctl/internal/concentrator"
	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
	"github.com/l2tpctl/l2tpctl/internal/keeper"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// version is set by the linker for releases.
var version string

// init keeps the main goroutine on the first thread, which the keeper needs.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	built := cli.BuildVersion(version)
	env := cli.Env{
		Out:      os.Stdout,
		Err:      os.Stderr,
		Terminal: cli.IsTerminal(os.Stdout),
		Version:  built,
		Serve: func(ctx context.Context, s cli.Service) error {
			runtime.UnlockOSThread()
			return serve(ctx, s, built)
		},
		Keep: func(ctx context.Context, k cli.Keeper) error {
			path, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the path of this program: %w", err)
			}
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, unix.SIGHUP)
			if !k.ForServe && k.State == 0 { // else serve, or the keeper before, has looked
				// Warnings depend on the configuration, which a keeper has not: they are for doctor.
				if err := concentrator.PrepareKernel(ctx, steering.DefaultConfig(), zap.NewNop()); err != nil {
					return err
				}
			}
			return keeper.Run(ctx, keeper.Config{
				Linger: k.Linger, ForServe: k.ForServe, Build: built.Version, Log: k.Log, State: k.State,
				Upgrades: hangups, Program: keeper.Program{Path: path, Args: k.Args, Resume: k.Resume, Trial: k.Trial},
			})
		},
		TryState: keeper.Try,
		Linger:   keeper.DefaultLinger,
		Describe: concentrator.Describe,
		Doctor: func(ctx context.Context, cfg *config.Config) []doctor.Finding {
			return examine(ctx, cfg, built.Version)
		},
	}
	os.Exit(cli.Run(ctx, env, os.Args[1:]))
}
