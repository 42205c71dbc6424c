package keeper

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/egress"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const (
	// strayWait is how long a pppd of a dead predecessor may take to end.
	strayWait = 3 * time.Second
	// hangupWait is how long a pppd may take to say goodbye when the keeper ends.
	hangupWait = 5 * time.Second
)

// associations are the SAs of the kernel; *xfrm.Conn is the real one.
type associations interface {
	Add(*xfrm.State) error
	Update(*xfrm.State) error
	Move(xfrm.ID, xfrm.Place) (xfrm.ID, error)
	Delete(xfrm.ID) error
	Get(xfrm.ID) (xfrm.State, error)
	List() ([]xfrm.State, error)
}

// tunnels are the tunnels and sessions of the kernel; *l2tpnl.Conn is the real one.
type tunnels interface {
	CreateTunnel(l2tpnl.Tunnel) error
	DeleteTunnel(id uint32) error
	Tunnel(id uint32) (l2tpnl.Tunnel, error)
	Tunnels() ([]l2tpnl.Tunnel, error)
	Session(tunnel, id uint32) (l2tpnl.Session, error)
	Sessions() ([]l2tpnl.Session, error)
}

// machine is what the keeper has of the machine once it was set up.
type machine struct {
	log   *zap.Logger
	tell  func(op protocol.Op, body any)
	block slot.Block // of the clients

	changing sync.RWMutex   // guards setup, which change writes
	setup    protocol.Setup // with its defaults

	sas      associations
	saList   associations // for dumps, during which a connection does nothing else
	tunnels  tunnels
	dumps    tunnels
	router   *egress.Router
	launcher *pppd.Launcher
	table    *table

	undo []func() error

	awaiting sync.WaitGroup // the ends of pppd

	counting sync.Mutex // guards added: SAs, since they were counted
	added    int
	maxSAs   int

	mu        sync.Mutex // guards what follows; not held during what takes long
	ike       []udp.IKEFile
	plain     []udp.PlainFile // none unless there are peers without IPsec
	clients   map[uint16]*udp.Client
	sessions  sessions
	processes map[string]*process // by interface
}

// newMachine is without anything of the kernel.
func newMachine(s protocol.Setup, tell func(protocol.Op, any), log *zap.Logger) *machine {
	return &machine{
		log: log, tell: tell, setup: s,
		block:     slot.Block{Tag: s.Steering.Tag, Base: s.Steering.PortBase, Mask: s.Steering.PortMask},
		clients:   make(map[uint16]*udp.Client),
		processes: make(map[string]*process), maxSAs: maxSAs,
	}
}

// complete puts the defaults into a setup, and refuses one that cannot be.
func complete(s protocol.Setup) (protocol.Setup, error) {
	s.Steering = s.Steering.WithDefaults()
	if err := s.Steering.Validate(); err != nil {
		return s, err
	}
	if s.Marker == "" {
		return s, fmt.Errorf("marker of pppd: empty: %w", os.ErrInvalid)
	}
	for i, a := range s.Listen {
		if !a.IsValid() {
			return s, fmt.Errorf("address %d to listen on: %w", i+1, os.ErrInvalid)
		}
		s.Listen[i] = a.Unmap()
	}
	return s, nil
}

// possess takes the machine. Whoever calls it has the lock, and so may remove what a dead predecessor has left. On an error nothing remains.
func (k *Keeper) possess(ctx context.Context, s protocol.Setup) (_ *machine, err error) {
	m := newMachine(s, k.tell, k.log)
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if m.ike, err = udp.OpenIKE(udp.IKEConfig{Addrs: s.Listen}); err != nil {
		return nil, fmt.Errorf("open the IKE ports: %w", err)
	}
	if err := m.dial(); err != nil {
		return nil, err
	}
	if err := m.sweep(ctx); err != nil {
		return nil, err
	}
	if m.table, err = guard(s.Steering, k.tell, k.log); err != nil {
		return nil, err
	}
	m.onClose(m.table.close)
	address, err := k.radiusAddress()
	if err != nil {
		return nil, err
	}
	if err := m.listenPlain(s); err != nil { // after the table, which keeps everybody else away
		return nil, err
	}
	if m.launcher, err = pppd.NewLauncher(pppd.LauncherConfig{
		Marker: s.Marker, Thread: k.cfg.Thread,
		Radius: pppd.Radius{Server: address.AddrPort(), Secret: k.secret},
	}); err != nil {
		return nil, fmt.Errorf("prepare pppd: %w", err)
	}
	return m, nil
}

// dial opens the connections to the kernel.
func (m *machine) dial() error {
	var sas [2]*xfrm.Conn
	var l2tp [2]*l2tpnl.Conn
	var err error
	for i := range 2 {
		if sas[i], err = xfrm.Dial(); err != nil {
			return fmt.Errorf("open XFRM: %w", err)
		}
		m.onClose(sas[i].Close)
		if l2tp[i], err = l2tpnl.Dial(); err != nil {
			return fmt.Errorf("open the kernel's L2TP: %w", err)
		}
		m.onClose(l2tp[i].Close)
	}
	m.sas, m.saList, m.tunnels, m.dumps = sas[0], sas[1], l2tp[0], l2tp[1]
	if m.router, err = egress.Open(); err != nil {
		return err
	}
	m.onClose(m.router.Close)
	return nil
}

func (m *machine) onClose(f func() error) { m.undo = append(m.undo, f) }

// close gives everything back: first pppd, which say goodbye through what is still there, and last the table, without which nothing else may be.
func (m *machine) close() error {
	var errs []error
	if m.launcher != nil {
		ctx, cancel := context.WithTimeout(context.Background(), hangupWait)
		defer cancel()
		errs = append(errs, m.launcher.Close(ctx))
		m.awaiting.Wait() // the daemon is told
	}
	m.mu.Lock()
	for tunnel := range m.sessions.tunnels {
		for _, f := range m.sessions.takeTunnel(tunnel) {
			errs = append(errs, f.Close())
		}
	}
	if m.tunnels != nil && m.sas != nil {
		errs = append(errs, m.remove())
	}
	for port, c := range m.clients {
		errs = append(errs, c.Close())
		delete(m.clients, port)
	}
	errs = append(errs, udp.CloseIKE(m.ike), udp.ClosePlain(m.plain))
	m.ike, m.plain = nil, nil
	m.mu.Unlock()
	for i := len(m.undo) - 1; i >= 0; i-- {
		errs = append(errs, m.undo[i]())
	}
	m.undo = nil
	return errors.Join(errs...)
}

// sweep removes what a predecessor that died has left: pppd, and what remove removes.
func (m *machine) sweep(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, strayWait)
	defer cancel()
	strays, err := pppd.EndStrays(wait, m.setup.Marker)
	if err != nil {
		return fmt.Errorf("end pppd of a predecessor: %w", err)
	}
	if strays > 0 {
		m.log.Info("ended pppd that a predecessor left", zap.Int("pppd", strays))
	}
	return m.remove()
}

// remove removes tunnels and SAs with our ids.
func (m *machine) remove() error {
	all, err := m.dumps.Tunnels()
	if err != nil {
		return fmt.Errorf("look for tunnels to remove: %w", err)
	}
	gone, deleted := 0, 0
	var errs []error
	for _, t := range all {
		if !m.ownsTunnel(t) {
			continue
		}
		// The kernel may be deleting it already, on its own.
		if err := m.tunnels.DeleteTunnel(t.ID); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove a tunnel that is left: %w", err))
			continue
		}
		gone++
	}
	states, err := m.saList.List()
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("look for SAs to remove: %w", err))...)
	}
	for _, st := range states {
		if !m.block.Owns(st.ReqID) {
			continue
		}
		if err := m.sas.Delete(st.ID); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove an SA that is left: %w", err))
			continue
		}
		deleted++
	}
	if gone+deleted > 0 {
		m.log.Info("removed what was left in the kernel", zap.Int("tunnels", gone), zap.Int("sas", deleted))
	}
	return errors.Join(errs...)
}

// ownsTunnel reports whether a tunnel of the kernel is one of ours: its id and its local port are the same slot.
func (m *machine) ownsTunnel(t l2tpnl.Tunnel) bool {
	return t.ID <= 0xffff && m.ownsPort(uint16(t.ID)) && t.Local.Port() == uint16(t.ID)
}

// settings are the setup as it is now.
func (m *machine) settings() protocol.Setup {
	m.changing.RLock()
	defer m.changing.RUnlock()
	return m.setup
}

// ownsPort reports whether a port is one of the clients', or of peers without IPsec.
func (m *machine) ownsPort(port uint16) bool {
	s := m.settings().Steering
	return m.block.Contains(slot.Port(port)) || len(s.PlainPeers) > 0 && port&s.PlainMask == s.PlainBase
}

// change makes of the setup another one that differs in the addresses to listen on, or in who may do without IPsec.
func (m *machine) change(s protocol.Setup) error {
	old := m.setup
	for _, c := range []struct {
		name     string
		now, new any
	}{
		{"the name of the nftables table", old.Steering.Table, s.Steering.Table},
		{"the tag of slots", old.Steering.Tag, s.Steering.Tag},
		{"the block of slots' ports", [2]uint16{old.Steering.PortBase, old.Steering.PortMask}, [2]uint16{s.Steering.PortBase, s.Steering.PortMask}},
		{"the block of ports without IPsec", [2]uint16{old.Steering.PlainBase, old.Steering.PlainMask}, [2]uint16{s.Steering.PlainBase, s.Steering.PlainMask}},
		{"the prefix of interfaces", old.Steering.InterfacePrefix, s.Steering.InterfacePrefix},
		{"the marker of pppd", old.Marker, s.Marker},
	} {
		if c.now != c.new {
			return fmt.Errorf("%w: %s is %v there, and %v is wanted; a change of it takes effect when the keeper is restarted, which ends all sessions",
				protocol.ErrOtherSetup, c.name, c.now, c.new)
		}
	}
	if err := m.changePlain(old, s); err != nil {
		return err
	}
	if err := m.changePeers(s.Steering); err != nil {
		return errors.Join(err, m.changePlain(s, old))
	}
	if slices.Equal(old.Listen, s.Listen) {
		return nil
	}
	if err := m.listen(s.Listen); err != nil {
		return errors.Join(err, m.changePeers(old.Steering), m.changePlain(s, old)) // who was not allowed before is not now
	}
	return nil
}

// changePeers makes others those who may do without IPsec.
func (m *machine) changePeers(c steering.Config) error {
	if slices.Equal(m.setup.Steering.PlainPeers, c.PlainPeers) {
		return nil
	}
	if err := m.table.replace(c); err != nil {
		return err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	m.setup.Steering = c
	return nil
}

// listen opens other sockets of IKE in place of those that there are. An address that stays is closed and opened, too: two sockets share one
// port only in the way that OpenIKE arranges.
func (m *machine) listen(addrs []netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := udp.CloseIKE(m.ike)
	m.ike = nil
	files, openErr := udp.OpenIKE(udp.IKEConfig{Addrs: addrs})
	if openErr != nil {
		err = errors.Join(err, fmt.Errorf("open the IKE ports: %w", openErr))
		if files, openErr = udp.OpenIKE(udp.IKEConfig{Addrs: m.setup.Listen}); openErr != nil {
			return errors.Join(err, fmt.Errorf("open the IKE ports as they were: %w", openErr))
		}
		m.ike = files
		return err
	}
	m.ike = files
	m.changing.Lock()
	defer m.changing.Unlock()
	m.setup.Listen = addrs
	return err
}
