package keeper

import (
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

var testSetup = protocol.Setup{Steering: steering.DefaultConfig(), Marker: "l2tpctl-l2t-"}

// testMachine is one whose kernel is in memory, for what is decided before the kernel is asked.
func testMachine(k *Keeper) *machine {
	m := newMachine(testSetup, k.tell, k.log)
	kernel := &memory{states: make(map[xfrm.ID]xfrm.State), list: make(map[uint32]l2tpnl.Tunnel)}
	m.sas, m.saList, m.tunnels, m.dumps = kernel, kernel, kernel, kernel
	return m
}

// memory has SAs and tunnels.
type memory struct {
	mu       sync.Mutex
	states   map[xfrm.ID]xfrm.State
	list     map[uint32]l2tpnl.Tunnel
	sessions []l2tpnl.Session
	block    chan struct{} // if not nil, List waits for it
}

func (k *memory) Add(s *xfrm.State) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.states[s.ID]; ok {
		return os.ErrExist
	}
	k.states[s.ID] = *s
	return nil
}

func (k *memory) Update(s *xfrm.State) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.states[s.ID] = *s
	return nil
}

func (k *memory) Move(id xfrm.ID, to xfrm.Place) (xfrm.ID, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.states[id]
	if !ok {
		return id, os.ErrNotExist
	}
	delete(k.states, id)
	s.Dst, s.Src, s.Encap, s.Selector = to.Dst, to.Src, to.Encap, to.Selector
	k.states[s.ID] = s
	return s.ID, nil
}

func (k *memory) Delete(id xfrm.ID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.states[id]; !ok {
		return os.ErrNotExist
	}
	delete(k.states, id)
	return nil
}

func (k *memory) Get(id xfrm.ID) (xfrm.State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.states[id]
	if !ok {
		return s, os.ErrNotExist
	}
	return withKeys(s), nil
}

// withKeys gives s keys of its own, as the kernel's answers have.
func withKeys(s xfrm.State) xfrm.State {
	s.AEAD = xfrm.AESGCM16([]byte("0123456789abcdefsalt"))
	return s
}

func (k *memory) List() ([]xfrm.State, error) {
	if k.block != nil {
		<-k.block
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []xfrm.State
	for _, s := range k.states {
		all = append(all, withKeys(s))
	}
	return all, nil
}

func (k *memory) CreateTunnel(t l2tpnl.Tunnel) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.Local = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(t.ID))
	k.list[t.ID] = t
	return nil
}

func (k *memory) DeleteTunnel(id uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.list[id]; !ok {
		return os.ErrNotExist
	}
	delete(k.list, id)
	return nil
}

func (k *memory) Tunnel(id uint32) (l2tpnl.Tunnel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.list[id]
	if !ok {
		return t, os.ErrNotExist
	}
	return t, nil
}

func (k *memory) Tunnels() ([]l2tpnl.Tunnel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []l2tpnl.Tunnel
	for _, t := range k.list {
		all = append(all, t)
	}
	return all, nil
}

func (k *memory) Session(uint32, uint32) (l2tpnl.Session, error) {
	return l2tpnl.Session{}, os.ErrNotExist
}

func (k *memory) Sessions() ([]l2tpnl.Session, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.sessions), nil
}

// possess sets a keeper up, and returns its kernel.
func (r *running) possess(change ...func(*machine)) *memory {
	m := testMachine(r.Keeper)
	kernel := m.sas.(*memory)
	for _, f := range change {
		f(m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machine = m
	return kernel
}
