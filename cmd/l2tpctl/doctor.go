package main

import (
	"context"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// examine checks this machine for what cfg, or the defaults, will need of it.
func examine(ctx context.Context, cfg *config.Config) []doctor.Finding {
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
	options.DaemonRunning, options.Serving = err == nil, err == nil
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
