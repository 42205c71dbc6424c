package main

import (
	"context"
	"errors"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
	keeper "github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// keeperWait is how long doctor asks the keeper.
const keeperWait = 300 * time.Millisecond

// keeperBuild returns the version of the keeper of this network namespace; false if there is none, or it is not for us to ask.
func keeperBuild(ctx context.Context, program string) (string, bool) {
	path, err := keeper.Path()
	if err != nil {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, keeperWait)
	defer cancel()
	conn, err := keeper.DialOnce(ctx, path, program)
	if err == nil {
		defer conn.Close()
		return conn.Welcome().Build, true
	}
	if busy, ok := errors.AsType[*keeper.BusyError](err); ok {
		return busy.KeeperBuild, true
	}
	if version, ok := errors.AsType[*keeper.VersionError](err); ok {
		return version.KeeperBuild, true
	}
	return "", false
}

// examine checks this machine for what cfg, or the defaults, will need of it.
func examine(ctx context.Context, cfg *config.Config, program string) []doctor.Finding {
	socket := config.DefaultSocket
	options := doctor.Options{Steering: steering.DefaultConfig()}
	if cfg != nil {
		socket = cfg.Control.Socket
		options.Steering = steering.Config{
			Tag: cfg.Slots.Tag, PortBase: cfg.Slots.PortBase, PortMask: cfg.Slots.PortMask, InterfacePrefix: cfg.InterfacePrefix,
			PlainPeers: cfg.L2TP.PlainPeers, PlainBase: cfg.Slots.PlainBase, PlainMask: cfg.Slots.PlainMask,
		}
	}
	client := control.NewClient(socket)
	defer client.Close()
	_, err := client.Version(ctx)
	options.Serving = err == nil
	if build, there := keeperBuild(ctx, program); there {
		options.Keeper = &doctor.Keeper{Build: build, Program: program}
	}
	options.DaemonRunning = options.Serving || options.Keeper != nil
	if stats, err := client.Stats(ctx); err == nil {
		options.Slots = &doctor.Slots{Used: stats.Slots.Used, Resting: stats.Slots.Resting, Free: stats.Slots.Free, Exhausted: stats.Slots.Exhausted}
	}
	if drift, err := client.Drift(ctx); err == nil {
		options.Drift = []doctor.Drift{}
		for _, d := range drift {
			options.Drift = append(options.Drift, doctor.Drift{What: d.Object + " " + d.Name, Problem: d.Problem})
		}
	}
	return doctor.Check(ctx, options)
}
