package concentrator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/confine"
	"github.com/l2tpctl/l2tpctl/internal/control"
	keeper "github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/revocation"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

// farewellWait is how long the keeper may take to give everything back.
const farewellWait = 15 * time.Second

// Run serves cfg on this machine, without privileges and after Prepare, until ctx ends. Then it says goodbye to the clients and ends the keeper, if that
// was started for a daemon; else, or if the cause is [ErrLeave] or a failure, the sessions are left to the next daemon. reloading says
// how it comes to another configuration meanwhile.
func Run(ctx context.Context, cfg *config.Config, version control.Version, log *zap.Logger, reloading Reloading) (err error) {
	s, err := newSettings(cfg, log)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", cfg.Path, err)
	}
	if err := confine.Hide(); err != nil {
		return err
	}
	ike, err := ikev1.New(s.ike, rand.Reader)
	if err != nil {
		return err
	}
	lns, err := l2tp.New(s.l2tp, rand.Reader)
	if err != nil {
		return err
	}
	in := &sink{}
	sys, err := openSystem(ctx, cfg, s, in, version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.close()) }()
	c, err := New(Parts{
		IKE:      ike,
		L2TP:     lns,
		IKEIO:    network{sys.ike, sys.plain, sys.poller},
		SAs:      sys.keeper.SAs(),
		Egress:   route{sys.router, sys.keeper.Egress()},
		Tunnels:  sys.keeper.Tunnels(),
		Sockets:  clientSockets{sys.keeper.Sockets(sys.poller)},
		PPP:      endpoints{sys.keeper.PPP()},
		AAA:      users{sys.aaa},
		Steering: sys.keeper.Steering(),
		Links:    sys.links,
		Store:    sys.keeper,
		Log:      log,
	}, s.options)
	if err != nil {
		return err
	}
	*in = sink{
		ike: c.HandleIKE, l2tp: c.HandleL2TP, aaa: c.HandleAAA,
		mapping: c.HandleMapping, expire: c.HandleExpire, deleted: c.HandleDeleted, overrun: c.HandleOverrun,
	}
	c.Adopt(time.Now(), sys.estate(c))
	if err := restrict(cfg, log); err != nil {
		return err
	}
	if s.revocation != nil {
		s.revocation.Load(ctx)
	}
	return serve(ctx, cfg, s, version, log, reloading, sys, c, in)
}

// restrict takes from the daemon what it needs no more, as far as the kernel can.
func restrict(cfg *config.Config, log *zap.Logger) error {
	folders := []string{filepath.Dir(cfg.Path)} // not files: an editor puts another in the place of one
	for _, file := range cfg.Files {
		folders = append(folders, filepath.Dir(file))
	}
	err := confine.Filter(confine.Rules{Read: folders})
	if missing, ok := errors.AsType[*confine.Unsupported](err); ok {
		log.Warn(missing.Error())
		return nil
	}
	return err
}

// serve runs the loop and all that brings it something to do.
func serve(ctx context.Context, cfg *config.Config, s settings, version control.Version, log *zap.Logger, reloading Reloading, sys *system, c *Concentrator, in *sink) error {
	serving, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	context.AfterFunc(ctx, func() {
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, ErrLeave), !sys.keeper.Welcome().ForServe:
			end(ErrLeave)
		default:
			end(nil)
		}
	})
	sys.keeper.Handle(keeper.Handlers{Restoration: c.HandleRestoration, Stopping: func() { end(nil) }})

	group, running := errgroup.WithContext(serving)
	fetchers := &succession{ctx: running, group: group}
	keep := func(f *revocation.Fetcher) {
		if f == nil {
			fetchers.next(nil)
		} else {
			fetchers.next(f.Run)
		}
	}
	keep(s.revocation)
	reloads := newReloader(c, cfg, s, reloading, keep)
	group.Go(func() error { return reloads.serve(running) })
	group.Go(func() error {
		defer sys.endReaders()
		return c.Serve(running)
	})
	group.Go(func() error {
		select {
		case <-sys.keeper.Done():
			return sys.keeper.Err()
		case <-running.Done():
			return nil
		}
	})
	group.Go(func() error { return sys.watchSAs(in) })
	group.Go(func() error { return sys.watchL2TP(c) })
	group.Go(func() error { return sys.watchLinks(c) })
	group.Go(func() error { return sys.watchRoutes(c.HandleRoutes) })
	group.Go(func() error { return sys.ike.Run(in.ike) })
	group.Go(func() error { return sys.plain.Run(c.HandlePlain) })
	group.Go(func() error { return control.Serve(running, sys.control, c.API(), version, log) })
	group.Go(func() error { c.Compare(); return nil })
	sys.aaa.Start()
	log.Info("serving", zap.String("version", version.Version), zap.String("configuration", cfg.Path), zap.Stringers("listen", sys.ike.LocalAddrs()),
		zap.String("control", cfg.Control.Socket), zap.Int("keeper", sys.keeper.Welcome().PID))
	if err := group.Wait(); err != nil {
		return err
	}
	if errors.Is(context.Cause(serving), ErrLeave) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellWait)
	defer cancel()
	return sys.keeper.Shutdown(ctx)
}
