package concentrator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/egress"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// strayWait is how long a pppd of a dead predecessor may take to end.
const strayWait = 3 * time.Second

// system is the real machine: what a Concentrator needs of it, and how to give it back.
type system struct {
	ike      *udp.IKE
	poller   *udp.Poller
	sas      *xfrm.Conn
	list     *xfrm.Conn // for dumps, during which a connection does nothing else
	monitor  *xfrm.Monitor
	router   *egress.Router
	routes   *egress.Watcher
	l2tp     *l2tpnl.Monitor
	links    *links
	tunnels  *kernelTunnels
	aaa      *aaa.Server
	launcher *pppd.Launcher
	steering guardedTable

	undo []func() error
}

// sink takes what arrives before and after there is a Concentrator to take it.
type sink struct {
	ike     func(udp.Datagram)
	l2tp    func(l2tp.Datagram)
	aaa     func(aaa.Event)
	mapping func(xfrm.Mapping)
	expire  func(xfrm.Expire)
	deleted func(xfrm.Deleted)
	overrun func()
	restore func(steering.Restoration)
}

// openSystem takes possession of the machine. The lock comes first: who has it is the only daemon here, and may remove what
// a dead predecessor has left. On an error nothing remains.
func openSystem(ctx context.Context, s settings, in *sink, log *zap.Logger) (_ *system, err error) {
	sys := &system{}
	defer func() {
		if err != nil {
			err = errors.Join(err, sys.close())
		}
	}()
	lock, err := lockNamespace(lockDir)
	if err != nil {
		return nil, err
	}
	sys.onClose(lock.Close)
	if sys.ike, err = udp.ListenIKE(udp.IKEConfig{Addrs: s.listen}); err != nil {
		return nil, fmt.Errorf("open the IKE ports: %w", err)
	}
	sys.onClose(sys.ike.Close)
	if sys.sas, err = xfrm.Dial(); err != nil {
		return nil, fmt.Errorf("open XFRM: %w", err)
	}
	sys.onClose(sys.sas.Close)
	if sys.list, err = xfrm.Dial(); err != nil {
		return nil, fmt.Errorf("open XFRM: %w", err)
	}
	sys.onClose(sys.list.Close)
	if sys.monitor, err = xfrm.NewMonitor(); err != nil {
		return nil, fmt.Errorf("listen to XFRM: %w", err)
	}
	sys.onClose(sys.monitor.Close)
	if sys.router, err = egress.Open(); err != nil {
		return nil, err
	}
	sys.onClose(sys.router.Close)
	if sys.routes, err = egress.NewWatcher(); err != nil {
		return nil, err
	}
	sys.onClose(sys.routes.Close)
	if sys.l2tp, err = l2tpnl.NewMonitor(); err != nil {
		return nil, fmt.Errorf("listen to the kernel's L2TP: %w", err)
	}
	sys.onClose(sys.l2tp.Close)
	if sys.links, err = watchLinks(); err != nil {
		return nil, err
	}
	sys.onClose(sys.links.close)
	conn, err := l2tpnl.Dial()
	if err != nil {
		return nil, fmt.Errorf("open the kernel's L2TP: %w", err)
	}
	sys.tunnels = newKernelTunnels(conn)
	sys.onClose(conn.Close)
	if err = sweep(ctx, s, sys, log); err != nil {
		return nil, err
	}
	if sys.steering.Guard, err = steering.NewGuard(s.steering); err != nil {
		return nil, fmt.Errorf("install the steering table: %w", err)
	}
	sys.onClose(func() error { return errors.Join(sys.steering.Close(), steering.Remove(s.steering)) })
	if sys.poller, err = udp.NewPoller(func(slot uint16, remote netip.AddrPort, payload []byte) {
		in.l2tp(l2tp.Datagram{Tunnel: slot, Remote: remote, Payload: payload})
	}); err != nil {
		return nil, fmt.Errorf("open the socket poller: %w", err)
	}
	sys.onClose(sys.poller.Close)
	users := s.users
	users.Notify = func(e aaa.Event) { in.aaa(e) }
	if sys.aaa, err = aaa.New(users); err != nil {
		return nil, fmt.Errorf("start authentication: %w", err)
	}
	sys.aaa.Start()
	sys.onClose(func() error { sys.aaa.Stop(); return nil })
	if sys.launcher, err = pppd.NewLauncher(pppd.LauncherConfig{
		Marker: s.marker,
		Radius: pppd.Radius{Server: sys.aaa.Addr(), Secret: sys.aaa.Secret()},
	}); err != nil {
		return nil, fmt.Errorf("prepare pppd: %w", err)
	}
	sys.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), settleWait)
		defer cancel()
		return sys.launcher.Close(ctx)
	})
	return sys, nil
}

// watchSAs hands over what the kernel tells of SAs, until the monitor is closed.
func (sys *system) watchSAs(in *sink) error {
	for {
		events, err := sys.monitor.Receive()
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, xfrm.ErrOverrun):
			in.overrun() // a mapping the kernel repeats for as long as it differs, but not the end of an SA
			continue
		case err != nil:
			return fmt.Errorf("listen to XFRM: %w", err)
		}
		for _, e := range events {
			switch e := e.(type) {
			case xfrm.Mapping:
				in.mapping(e)
			case xfrm.Expire:
				in.expire(e)
			case xfrm.Deleted:
				in.deleted(e)
			case xfrm.Flushed:
				in.overrun()
			}
		}
	}
}

// watchRoutes hands over what the kernel tells of routes and devices, until the watcher is closed.
func (sys *system) watchRoutes(handle func(egress.Change)) error {
	for {
		change, err := sys.routes.Next()
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		handle(change)
	}
}

// watchL2TP hands over what the kernel tells of tunnels and sessions, until the monitor is closed.
func (sys *system) watchL2TP(c *Concentrator) error {
	for {
		events, err := sys.l2tp.Receive()
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, l2tpnl.ErrOverrun):
			c.HandleL2TPOverrun()
			continue
		case err != nil:
			return err
		}
		for _, e := range events {
			c.HandleL2TPEvent(e)
		}
	}
}

// watchLinks hands over which interfaces go away, until links is closed.
func (sys *system) watchLinks(c *Concentrator) error {
	for {
		names, err := sys.links.receive()
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, errLinksLost):
			c.HandleLinksOverrun(sys.links.Names)
			continue
		case err != nil:
			return err
		}
		c.HandleLinksDeleted(names)
	}
}

func (sys *system) onClose(f func() error) { sys.undo = append(sys.undo, f) }

// close gives everything back, the newest first.
func (sys *system) close() error {
	var errs []error
	for i := len(sys.undo) - 1; i >= 0; i-- {
		errs = append(errs, sys.undo[i]())
	}
	sys.undo = nil
	return errors.Join(errs...)
}

// sweep removes what a predecessor that died has left in the kernel: pppd, tunnels and SAs with our mark.
func sweep(ctx context.Context, s settings, sys *system, log *zap.Logger) error {
	wait, cancel := context.WithTimeout(ctx, strayWait)
	defer cancel()
	strays, err := pppd.EndStrays(wait, s.marker)
	if err != nil {
		return fmt.Errorf("end pppd of a predecessor: %w", err)
	}
	tunnels, err := sys.tunnels.Tunnels()
	if err != nil {
		return fmt.Errorf("look for tunnels of a predecessor: %w", err)
	}
	swept := 0
	for _, t := range tunnels {
		if !s.ownsTunnel(t) {
			continue
		}
		// The kernel may be deleting it already, on its own.
		if err := sys.tunnels.DeleteTunnel(t.ID); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove tunnel %d of a predecessor: %w", t.ID, err)
		}
		swept++
	}
	sas, err := sys.sas.DeleteMatching(func(st xfrm.State) bool { return s.options.Block.Owns(st.ReqID) })
	if err != nil {
		return fmt.Errorf("remove SAs of a predecessor: %w", err)
	}
	if strays+swept+sas > 0 {
		log.Info("swept what a predecessor left", zap.Int("pppd", strays), zap.Int("tunnels", swept), zap.Int("sas", sas))
	}
	return nil
}

// kernelSAs lists SAs over a connection of its own.
type kernelSAs struct {
	*xfrm.Conn
	list *xfrm.Conn
}

// List implements SAs.
func (k kernelSAs) List() ([]xfrm.State, error) { return k.list.List() }

// users narrows *aaa.Server to AAA.
type users struct{ *aaa.Server }

func (u users) Addresses() (free, used int) {
	st := u.Stats()
	return st.PoolSize - st.PoolUsed, st.PoolUsed
}

// guardedTable is the installed table.
type guardedTable struct{ *steering.Guard }

func (t guardedTable) Read() (map[string]uint64, error) {
	counters, err := t.Guard.Read()
	return counters.Packets(), err
}
