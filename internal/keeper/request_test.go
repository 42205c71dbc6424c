package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

var (
	ours   = netip.MustParseAddr("192.0.2.1")
	theirs = netip.MustParseAddr("198.51.100.7")
)

// inbound is an SA as the daemon would install it for slot 16384.
func inbound(spi uint32) *xfrm.State {
	return &xfrm.State{
		ID: xfrm.ID{Dst: ours, SPI: spi}, Src: theirs, ReqID: 0x17014000, Direction: xfrm.In, ReplayWindow: 1024,
		OutputMark: xfrm.Mark{Value: 0x17014000, Mask: 0xffffffff}, AEAD: xfrm.AESGCM16([]byte("0123456789abcdefsalt")),
		Selector: xfrm.Selector{Src: netip.PrefixFrom(theirs, 32), Dst: netip.PrefixFrom(ours, 32), Proto: 17, DstPort: 16384, DstPortMask: 0xffff},
	}
}

func TestNothingBeforeSetup(t *testing.T) {
	c := start(t, nil).dial(t)
	for name, err := range map[string]error{
		"SA":      c.SAs().Add(inbound(1000)),
		"tunnel":  c.Tunnels().CreateTunnel(16384, 1),
		"session": c.Tunnels().OpenSession(16384, 1, 1, 1),
	} {
		if !errors.Is(err, protocol.ErrNotSetUp) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForeignThings(t *testing.T) {
	k := start(t, nil)
	kernel := k.possess()
	c := k.dial(t)
	change := func(f func(*xfrm.State)) *xfrm.State {
		s := inbound(1000)
		f(s)
		return s
	}
	foreign := change(func(s *xfrm.State) { s.SPI, s.ReqID = 2000, 0x17018000 })
	if err := kernel.Add(foreign); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"SA with the reqid of nobody": func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.ReqID = 1 })) },
		"SA with a port of others":    func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.ReqID = 0x17018000 })) },
		"SA with another's mark":      func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.OutputMark.Value++ })) },
		"SA with half a mark":         func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.OutputMark.Mask = 0xffff })) },
		"inbound SA without a mark":   func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.OutputMark = xfrm.Mark{} })) },
		"outbound SA with a mark":     func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.Direction = xfrm.Out })) },
		"SA without a direction":      func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.Direction = 0 })) },
		"inbound SA to all ports":     func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.Selector.DstPortMask = 0 })) },
		"inbound SA to another slot":  func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.Selector.DstPort++ })) },
		"inbound SA for TCP":          func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.Selector.Proto = 6 })) },
		"inbound SA for everything":   func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.Selector = xfrm.Selector{} })) },
		"SA in tunnel mode":           func() error { return c.SAs().Add(change(func(s *xfrm.State) { s.Mode = xfrm.ModeTunnel })) },
		"deletion of a foreign SA":    func() error { _, err := c.SAs().Delete(foreign.ID); return err },
		"change of a foreign SA": func() error {
			_, err := c.SAs().Move(foreign.ID, xfrm.Place{Src: foreign.Src, Dst: foreign.Dst, Encap: &xfrm.Encap{SrcPort: 1, DstPort: 2}})
			return err
		},
		"move of a foreign SA":          func() error { _, err := c.SAs().Move(foreign.ID, xfrm.Place{Src: theirs, Dst: ours}); return err },
		"look at a foreign SA":          func() error { _, err := c.SAs().Get(foreign.ID); return err },
		"try of a foreign SA":           func() error { return c.Egress().Encrypts(ours, theirs, foreign.ReqID) },
		"socket outside the block":      func() error { return open1(c, ours, 500, 0x170101f4) },
		"socket with another's mark":    func() error { return open1(c, ours, 16384, 0x17014001) },
		"plain socket without peers":    func() error { return open1(c, ours, 8192, 0x17012000) },
		"interface of somebody else":    func() error { _, err := c.PPP().Start(pppd.Session{Interface: "eth0"}); return err },
		"interface with a path as name": func() error { _, err := c.PPP().Start(pppd.Session{Interface: "/bin/sh"}); return err },
	} {
		if err := do(); !errors.Is(err, protocol.ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, do := range map[string]func() error{
		"tunnel without a socket":    func() error { return c.Tunnels().CreateTunnel(16384, 1) },
		"session without a tunnel":   func() error { return c.Tunnels().OpenSession(16384, 1, 1, 1) },
		"session that is not there":  func() error { return c.Tunnels().CloseSession(16384, 1) },
		"pppd without a session":     func() error { _, err := c.PPP().Start(pppd.Session{Interface: "l2t16384-1"}); return err },
		"tunnel that is not there":   func() error { return c.Tunnels().DeleteTunnel(16384) },
		"look for an SA that is not": func() error { _, err := c.SAs().Get(xfrm.ID{Dst: ours, SPI: 999}); return err },
	} {
		if err := do(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := kernel.states[foreign.ID]; !ok || len(kernel.states) != 1 {
		t.Errorf("SAs in the kernel: %v", kernel.states)
	}
	if all, err := c.SAs().List(); err != nil || len(all) != 0 {
		t.Errorf("foreign SAs are listed: %v, %v", all, err)
	}
}

func open1(c *client.Conn, local netip.Addr, port uint16, mark uint32) error {
	_, err := c.Sockets(nil).OpenClient(local, port, mark)
	return err
}

func TestSAs(t *testing.T) {
	k := start(t, nil)
	k.possess()
	c := k.dial(t)
	sas := c.SAs()
	in := inbound(1000)
	if err := sas.Add(in); err != nil {
		t.Fatal(err)
	}
	if err := sas.Add(in); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same again: %v", err)
	}
	if string(in.AEAD.Key) != "0123456789abcdefsalt" {
		t.Error("the caller's key is gone")
	}
	there := netip.MustParseAddr("198.51.100.8")
	to := xfrm.Place{Src: there, Dst: ours, Encap: &xfrm.Encap{SrcPort: 1, DstPort: 2}, Selector: in.Selector}
	to.Selector.Src = netip.PrefixFrom(there, 32)
	for name, change := range map[string]func(*xfrm.Place){
		"both ends":     func(p *xfrm.Place) { p.Dst = there },
		"another port":  func(p *xfrm.Place) { p.Selector.DstPort, p.Selector.DstPortMask = 0x4001, 0xffff },
		"everything":    func(p *xfrm.Place) { p.Selector.DstPortMask = 1 },
		"another proto": func(p *xfrm.Place) { p.Selector.Proto = 6 },
	} {
		bad := to
		change(&bad)
		if _, err := sas.Move(in.ID, bad); !errors.Is(err, protocol.ErrNotOurs) {
			t.Errorf("move to %s: %v", name, err)
		}
	}
	if id, err := sas.Move(in.ID, to); err != nil || id != in.ID {
		t.Errorf("moved to %v, %v", id, err)
	}
	if s, err := sas.Get(in.ID); err != nil || s.Src != there || s.Selector.Src != to.Selector.Src {
		t.Errorf("after the move: %+v, %v", s, err)
	}
	got, err := sas.Get(in.ID)
	if err != nil || got.Encap == nil || *got.Encap != (xfrm.Encap{SrcPort: 1, DstPort: 2}) || got.ReqID != in.ReqID {
		t.Errorf("%+v, %v", got, err)
	}
	all, err := sas.List()
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, st := range []xfrm.State{got, all[0]} {
		if st.AEAD == nil || !bytes.Equal(st.AEAD.Key, make([]byte, len(in.AEAD.Key))) {
			t.Error("keys came back, or their length did not")
		}
	}
	if _, err := sas.Delete(in.ID); err != nil {
		t.Error(err)
	}
}

// TestDeletion deletes several SAs with one request: what is in the way of one is in the way of no other.
func TestDeletion(t *testing.T) {
	k := start(t, nil)
	kernel := k.possess()
	c := k.dial(t)
	foreign, first, second := inbound(1), inbound(1000), inbound(1001)
	foreign.ReqID = 1
	first.Stats.Packets, second.Stats.Packets = 7, 9
	if err := errors.Join(kernel.Add(foreign), kernel.Add(first), kernel.Add(second)); err != nil {
		t.Fatal(err)
	}
	missing := xfrm.ID{Dst: ours, SPI: 999}
	counted, err := c.SAs().Delete(missing, second.ID)
	if err != nil || len(counted) != 2 || counted[0] != (xfrm.Stats{}) || counted[1].Packets != 9 {
		t.Errorf("%+v, %v", counted, err)
	}
	if _, err := c.SAs().Delete(foreign.ID, first.ID); !errors.Is(err, protocol.ErrNotOurs) {
		t.Errorf("with one of others: %v", err)
	}
	if _, err := c.SAs().Delete(make([]xfrm.ID, maxDeletions+1)...); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("too many at once: %v", err)
	}
	if left, err := kernel.List(); err != nil || len(left) != 1 || left[0].ID != foreign.ID {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestOrder asks for much at once: what is not long has its effect in the order of the asking, also while something long is being done.
func TestOrder(t *testing.T) {
	k := start(t, nil)
	release := make(chan struct{})
	k.possess(func(m *machine) { m.sas.(*memory).block = release })
	c := k.dial(t)
	listed := make(chan int, 1)
	go func() {
		all, err := c.SAs().List()
		if err != nil {
			t.Error(err)
		}
		listed <- len(all)
	}()
	for i := range uint32(200) {
		if err := c.SAs().Add(inbound(1000 + i)); err != nil {
			t.Fatal(err)
		}
		if err := c.Store([]protocol.Change{{Key: "a", Value: []byte{byte(i)}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.SAs().Delete(inbound(1000 + i).ID); err != nil {
			t.Fatal(err)
		}
	}
	if i := k.store.all(); len(i) != 1 || i[0].Value[0] != 199 {
		t.Errorf("after the last of them: %v", i)
	}
	close(release)
	if n := <-listed; n != 0 {
		t.Errorf("%d SAs", n)
	}
}

func TestOtherSetup(t *testing.T) {
	k := start(t, nil)
	k.possess()
	c := k.dial(t)
	if got := c.Welcome().Setup; got == nil || got.Marker != testSetup.Marker || got.Steering.Tag != testSetup.Steering.Tag {
		t.Errorf("the welcome tells %v", got)
	}
	for want, change := range map[string]func(*protocol.Setup){
		"the tag":           func(s *protocol.Setup) { s.Steering.Tag++ },
		"the block of":      func(s *protocol.Setup) { s.Steering.PortBase, s.Steering.PortMask = 0x8000, 0xc000 },
		"the prefix":        func(s *protocol.Setup) { s.Steering.InterfacePrefix = "vpn" },
		"the marker":        func(s *protocol.Setup) { s.Marker = "other-" },
		"the name of":       func(s *protocol.Setup) { s.Steering.Table = "other" },
		"ports without IPs": func(s *protocol.Setup) { s.Steering.PlainBase, s.Steering.PlainMask = 0x1000, 0xf000 },
	} {
		s := testSetup
		change(&s)
		if _, err := c.Setup(t.Context(), s); !errors.Is(err, client.ErrOtherSetup) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	s := testSetup
	s.Steering = steering.Config{} // which means the same
	i, err := c.Setup(t.Context(), s)
	if err != nil {
		t.Error(err)
	}
	i.Close()
	for name, s := range map[string]protocol.Setup{
		"no marker":   {},
		"no address":  {Marker: "m", Listen: []netip.Addr{{}}},
		"bad table":   {Marker: "m", Steering: steering.Config{Table: "a b"}},
		"bad block":   {Marker: "m", Steering: steering.Config{PortBase: 1, PortMask: 0xff00}},
		"IKE's ports": {Marker: "m", Steering: steering.Config{PortBase: 0x1000, PortMask: 0xf000}},
	} {
		if _, err := c.Setup(t.Context(), s); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestDefect makes a handler panic, which is the daemon's to hear and hurts nobody else.
func TestDefect(t *testing.T) {
	k := start(t, nil)
	k.possess(func(m *machine) { m.sas = nil })
	c := k.dial(t)
	if err := c.SAs().Add(inbound(1000)); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("%v", err)
	}
	if err := c.Hold("x", os.Stdin); err != nil {
		t.Error(err)
	}
	if k.logs.FilterMessageSnippet("please report").Len() != 1 {
		t.Error("the log says nothing of it")
	}
}

// TestTunnelsOfOthers have ids of the block, for whoever makes a tunnel chooses its id, but are on another port.
func TestTunnelsOfOthers(t *testing.T) {
	k := start(t, nil)
	kernel := k.possess()
	c := k.dial(t)
	const id = 16384
	kernel.mu.Lock()
	kernel.list[id] = l2tpnl.Tunnel{ID: id, Local: netip.AddrPortFrom(ours, 1701)}
	kernel.list[1] = l2tpnl.Tunnel{ID: 1, Local: netip.AddrPortFrom(ours, 1)}
	kernel.list[id+1] = l2tpnl.Tunnel{ID: id + 1, Local: netip.AddrPortFrom(ours, id+1)}
	for _, tunnel := range []uint32{id, 1, id + 1} {
		kernel.sessions = append(kernel.sessions, l2tpnl.Session{TunnelID: tunnel, ID: 7})
	}
	kernel.mu.Unlock()
	for name, do := range map[string]func() error{
		"look at it":      func() error { _, err := c.Tunnels().Tunnel(id); return err },
		"delete it":       func() error { return c.Tunnels().DeleteTunnel(id) },
		"look at session": func() error { _, err := c.Tunnels().Session(id, 7); return err },
		"open a session": func() error {
			m, err := k.ready()
			if err != nil {
				return err
			}
			_, err = m.ownTunnel("open a session in tunnel", id)
			return err
		},
	} {
		if err := do(); !errors.Is(err, protocol.ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := c.Tunnels().Tunnels(); err != nil || len(all) != 1 || all[0].ID != id+1 {
		t.Errorf("tunnels %v, %v", all, err)
	}
	if all, err := c.Tunnels().Sessions(); err != nil || len(all) != 1 || all[0].TunnelID != id+1 {
		t.Errorf("sessions %v, %v", all, err)
	}
}

// TestTooManySessions: what a daemon asks for is bounded.
func TestTooManySessions(t *testing.T) {
	k := start(t, nil)
	k.possess(func(m *machine) {
		m.sessions.put(protocol.SessionID{Tunnel: 16384, Session: 1}, os.NewFile(uintptr(1<<20), "none"))
		for i := range maxSessions {
			m.processes[fmt.Sprint(i)] = &process{}
		}
	})
	c := k.dial(t)
	if _, err := c.PPP().Start(pppd.Session{Interface: "l2t1", TunnelID: 16384, SessionID: 1}); !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "there are 65536") {
		t.Errorf("one more pppd: %v", err)
	}
}

// TestTooManySAs: SAs that are gone make room for others, and those that are there do not.
func TestTooManySAs(t *testing.T) {
	k := start(t, nil)
	kernel := k.possess(func(m *machine) { m.maxSAs = 3 })
	c := k.dial(t)
	foreign := inbound(1)
	foreign.ReqID = 1
	if err := kernel.Add(foreign); err != nil {
		t.Fatal(err)
	}
	for spi := range uint32(10) {
		if err := c.SAs().Add(inbound(1000 + spi)); err != nil {
			t.Fatalf("SA %d: %v", spi, err)
		}
		if spi >= 1 {
			if _, err := c.SAs().Delete(inbound(1000 + spi - 1).ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(c.SAs().Add(inbound(2000)), c.SAs().Add(inbound(2001))); err != nil {
		t.Fatal(err)
	}
	if err := c.SAs().Add(inbound(2002)); !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "there are 3") {
		t.Errorf("one too many: %v", err)
	}
	if all, err := kernel.List(); err != nil || len(all) != 4 {
		t.Errorf("%d SAs, %v", len(all), err)
	}
}
