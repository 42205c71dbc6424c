package concentrator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
	"github.com/l2tpctl/l2tpctl/internal/revocation"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

// Run serves cfg on this machine until ctx ends: it takes possession of the machine, answers the control socket, and leaves
// nothing behind. reloading says how it comes to another configuration meanwhile.
func Run(ctx context.Context, cfg *config.Config, version control.Version, log *zap.Logger, reloading Reloading) (err error) {
	s, err := newSettings(cfg, log)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", cfg.Path, err)
	}
	ike, err := ikev1.New(s.ike, rand.Reader)
	if err != nil {
		return err
	}
	lns, err := l2tp.New(s.l2tp, rand.Reader)
	if err != nil {
		return err
	}
	if err := prepareKernel(ctx, s.steering, log); err != nil {
		return err
	}
	listener, err := control.Listen(ctx, cfg.Control.Socket, cfg.Control.Group)
	if err != nil {
		return err
	}
	defer listener.Close()

	in := &sink{}
	sys, err := openSystem(ctx, s, in, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.close()) }()
	c, err := New(Parts{
		IKE:      ike,
		L2TP:     lns,
		IKEIO:    sys.ike,
		SAs:      kernelSAs{sys.sas, sys.list},
		Egress:   sys.router,
		Tunnels:  sys.tunnels,
		Sockets:  clientSockets{sys.poller, sys.tunnels},
		PPP:      pppLauncher{sys.launcher, sys.tunnels},
		AAA:      users{sys.aaa},
		Steering: sys.steering,
		Links:    sys.links,
		Log:      log,
	}, s.options)
	if err != nil {
		return err
	}
	*in = sink{
		ike: c.HandleIKE, l2tp: c.HandleL2TP, aaa: c.HandleAAA,
		mapping: c.HandleMapping, expire: c.HandleExpire, deleted: c.HandleDeleted, overrun: c.HandleOverrun,
		restore: c.HandleRestoration,
	}

	if s.revocation != nil {
		s.revocation.Load(ctx)
	}
	group, running := errgroup.WithContext(ctx)
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
		defer sys.steering.Close() // end the readers
		defer sys.monitor.Close()
		defer sys.routes.Close()
		defer sys.l2tp.Close()
		defer sys.links.close()
		defer sys.ike.Close()
		return c.Serve(running)
	})
	group.Go(func() error { return sys.watchSAs(in) })
	group.Go(func() error { return sys.watchL2TP(c) })
	group.Go(func() error { return sys.watchLinks(c) })
	group.Go(func() error { return sys.steering.Run(in.restore) })
	group.Go(func() error { return sys.watchRoutes(c.HandleRoutes) })
	group.Go(func() error { return sys.ike.Run(in.ike) })
	group.Go(func() error { return control.Serve(running, listener, c.API(), version, log) })
	log.Info("serving", zap.String("version", version.Version), zap.String("configuration", cfg.Path), zap.Stringers("listen", sys.ike.LocalAddrs()), zap.String("control", cfg.Control.Socket))
	return group.Wait()
}

// prepareKernel loads the modules that are needed and refuses a machine that lacks something, by name.
func prepareKernel(ctx context.Context, table steering.Config, log *zap.Logger) error {
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
