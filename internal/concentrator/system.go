package concentrator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/egress"
	keeper "github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// network sends IKE, and counts for all who read.
type network struct {
	*udp.IKE
	plain  *udp.Plain
	poller *udp.Poller
}

// Dropped is the number of datagrams that nobody of them has handed over.
func (n network) Dropped() uint64 { return n.IKE.Dropped() + n.plain.Dropped() + n.poller.Dropped() }

// system is the real machine: what a Concentrator needs of it, and how to give it back. What takes privileges is the keeper's.
type system struct {
	keeper    *keeper.Conn
	inventory keeper.Inventory // what the keeper had at the start
	control   net.Listener
	ike       *udp.IKE
	plain     *udp.Plain // has no sockets unless there are peers without IPsec
	poller    *udp.Poller
	monitor   *xfrm.Monitor
	router    *egress.Router
	routes    *egress.Watcher
	l2tp      *l2tpnl.Monitor
	links     *links
	aaa       *aaa.Server

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
}

// openSystem connects to the keeper, which Prepare has set up, and takes what it has. On an error nothing remains.
func openSystem(ctx context.Context, cfg *config.Config, s settings, in *sink, version control.Version, log *zap.Logger) (_ *system, err error) {
	sys := &system{}
	defer func() {
		if err != nil {
			err = errors.Join(err, sys.close())
		}
	}()
	path, err := keeper.Path()
	if err != nil {
		return nil, err
	}
	if sys.keeper, err = keeper.Dial(ctx, path, version.Version); err != nil {
		return nil, err
	}
	sys.onClose(sys.keeper.Close)
	if sys.inventory, err = sys.keeper.Setup(ctx, s.setup()); err != nil {
		return nil, fmt.Errorf("set the keeper up: %w", err)
	}
	sys.onClose(func() error { sys.inventory.Close(); return nil }) // what nobody has taken
	if err := sys.takeControl(cfg.Control.Socket); err != nil {
		return nil, err
	}
	files := sys.inventory.IKE
	sys.inventory.IKE = nil
	if sys.ike, err = udp.NewIKE(files); err != nil {
		return nil, fmt.Errorf("take over the IKE ports: %w", err)
	}
	sys.onClose(sys.ike.Close)
	plain := sys.inventory.Plain
	sys.inventory.Plain = nil
	if sys.plain, err = udp.NewPlain(plain); err != nil {
		return nil, fmt.Errorf("take over the port of L2TP: %w", err)
	}
	sys.onClose(sys.plain.Close)
	if sys.monitor, err = sys.keeper.Monitor(); err != nil {
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
	if sys.poller, err = udp.NewPoller(func(slot uint16, remote netip.AddrPort, payload []byte) {
		in.l2tp(l2tp.Datagram{Tunnel: slot, Remote: remote, Payload: payload})
	}); err != nil {
		return nil, fmt.Errorf("open the socket poller: %w", err)
	}
	sys.onClose(sys.poller.Close)
	users := s.users
	radius := sys.keeper.Welcome().Radius
	users.Conn, users.Secret = radius.Conn, radius.Secret
	users.Notify = func(e aaa.Event) { in.aaa(e) }
	users.Keep = func(i aaa.SessionInfo) { keepLogin(sys.keeper, i, log) }
	if sys.aaa, err = aaa.New(users); err != nil {
		return nil, fmt.Errorf("start authentication: %w", err)
	}
	sys.onClose(func() error { sys.aaa.Stop(); return nil })
	return sys, nil
}

// takeControl takes the control socket that Prepare has left with the keeper.
func (sys *system) takeControl(path string) (err error) {
	file := sys.inventory.Held[heldControl+path]
	if file == nil {
		return fmt.Errorf("the keeper does not hold the control socket %s", path)
	}
	delete(sys.inventory.Held, heldControl+path)
	if sys.control, err = control.ListenOn(file); err != nil {
		return err
	}
	sys.onClose(sys.control.Close)
	return nil
}

// keepLogin writes down what the RADIUS server knows of a session.
func keepLogin(store Store, i aaa.SessionInfo, log *zap.Logger) {
	record, err := encodeRecord(loginRecord{recordVersion, i})
	if err == nil {
		err = store.Store([]Change{{Key: loginKey(i.NASID), Value: record}})
	}
	if err != nil {
		log.Error("a login cannot be written down; a restart will end its session", zap.Error(err))
	}
}

// estate hands over what the daemon before has left.
func (sys *system) estate(c *Concentrator) Estate {
	e := Estate{Records: sys.inventory.Records, Sockets: make(map[uint16]ClientSocket), Processes: make(map[string]PPPProcess)}
	sockets := sys.keeper.Sockets(sys.poller)
	for _, cl := range sys.inventory.Clients {
		socket, err := sockets.Adopt(cl)
		if err != nil {
			c.Log.Warn("the sockets of a slot cannot be taken over", zap.Uint16("slot", cl.Port), zap.Error(err))
			continue
		}
		e.Sockets[cl.Port] = socket
	}
	sys.inventory.Clients = nil
	for _, s := range sys.inventory.Sessions {
		e.Sessions = append(e.Sessions, [2]uint16{s.Tunnel, s.Session})
	}
	for _, p := range sys.inventory.Processes {
		process, err := sys.keeper.PPP().Adopt(p, c.pppdLog(p.Interface))
		if err != nil {
			c.Log.Warn("a pppd cannot be taken over", zap.String("interface", p.Interface), zap.Error(err))
			continue
		}
		e.Processes[p.Interface] = process
	}
	return e
}

// endReaders closes what is read from, so that its readers end.
func (sys *system) endReaders() {
	sys.monitor.Close()
	sys.routes.Close()
	sys.l2tp.Close()
	sys.links.close()
	sys.ike.Close()
	sys.plain.Close()
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
		if err := sys.undo[i](); !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrClosed) { // the readers' are closed already
			errs = append(errs, err)
		}
	}
	sys.undo = nil
	return errors.Join(errs...)
}

// clientSockets narrows what the keeper's client gives to Sockets.
type clientSockets struct{ keeper.Sockets }

// OpenClient implements Sockets.
func (s clientSockets) OpenClient(local netip.Addr, port uint16, mark uint32) (ClientSocket, error) {
	return s.Sockets.OpenClient(local, port, mark)
}

// endpoints narrows it to PPP.
type endpoints struct{ keeper.PPP }

// Start implements PPP.
func (p endpoints) Start(s pppd.Session) (PPPProcess, error) { return p.PPP.Start(s) }

// route is the way out: what everybody may ask, and what takes the keeper's privileges.
type route struct {
	*egress.Router
	keeper keeper.Egress
}

// Encrypts implements Egress.
func (r route) Encrypts(local, remote netip.Addr, reqid uint32) error {
	return r.keeper.Encrypts(local, remote, reqid)
}

// users narrows *aaa.Server to AAA.
type users struct{ *aaa.Server }

func (u users) Addresses() (free, used int) {
	st := u.Stats()
	return st.PoolSize - st.PoolUsed, st.PoolUsed
}
