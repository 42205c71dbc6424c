//go:build kernel

package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const l2tpPort = 1701

// TestKernelPlainESP is a client without a NAT: ESP without UDP, both families and both kinds of cipher.
func TestKernelPlainESP(t *testing.T) {
	for _, c := range []struct {
		name     string
		net      string
		bits     int
		gcm      bool
		checksum bool
	}{
		{"v4 CBC", "192.0.2.", 24, false, true},
		{"v4 GCM, no checksum", "192.0.2.", 24, true, false},
		{"v6 CBC", "2001:db8::", 64, false, true},
		{"v6 GCM", "2001:db8::", 64, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			lockThread(t)
			serverNS, clientNS := namespace(t, "udp-s"), namespace(t, "udp-c")
			cable(t, "udp-s", "eth0", fmt.Sprintf("%s1/%d", c.net, c.bits), "udp-c", "eth0", fmt.Sprintf("%s2/%d", c.net, c.bits))
			serverAddr, clientAddr := netip.MustParseAddr(c.net+"1"), netip.MustParseAddr(c.net+"2")
			const port = 0x4005

			s := startServer(t, serverNS, serverAddr)
			slot := s.open(port)
			remote := netip.AddrPortFrom(clientAddr, l2tpPort)
			if err := slot.Connect(remote); !errors.Is(err, ErrNoSA) {
				t.Errorf("Connect without SAs gave %v", err)
			}
			if err := slot.Send(remote, control("in the clear")); !errors.Is(err, ErrNoSA) {
				t.Errorf("Send without SAs gave %v", err)
			}
			out := newSA(serverAddr, clientAddr, 0x2000, markOf(port), xfrm.Out, c.gcm)
			addSAs(t, s.sas, forSlot(newSA(clientAddr, serverAddr, 0x1000, markOf(port), xfrm.In, c.gcm), port), out)

			enter(t, clientNS)
			sas, err := xfrm.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer sas.Close()
			addSAs(t, sas, newSA(clientAddr, serverAddr, 0x1000, 1, xfrm.Out, c.gcm), newSA(serverAddr, clientAddr, 0x2000, 1, xfrm.In, c.gcm))
			peer := l2tpPeer(t, remote, c.checksum)
			exchange(t, s, slot, peer, remote)

			// Without the outbound SA nothing leaves, and least of all in the clear.
			enter(t, serverNS)
			if err := s.sas.Delete(out.ID); err != nil {
				t.Fatal(err)
			}
			if err := slot.Send(remote, control("in the clear")); !errors.Is(err, ErrNoSA) {
				t.Errorf("Send after the SA was deleted gave %v", err)
			}
		})
	}
}

// exchange has a client and its slot talk, without and with a tunnel socket.
func exchange(t *testing.T, s *server, slot *halves, peer *net.UDPConn, remote netip.AddrPort) {
	t.Helper()
	enter(t, s.ns)
	at := netip.AddrPortFrom(s.addr, l2tpPort)
	for _, text := range []string{"SCCRQ", "SCCCN"} {
		if _, err := peer.WriteToUDPAddrPort(control(text), at); err != nil {
			t.Fatal(err)
		}
		want := received{slot.Local().Port(), remote, string(control(text))}
		if r := s.next(text); r != want {
			t.Fatalf("%s: got %+v, want %+v", text, r, want)
		}
		if err := slot.Send(remote, control("answer to "+text)); err != nil {
			t.Fatal(err)
		}
		if b, from := readFrom(t, peer, "answer to "+text); b != string(control("answer to "+text)) || from != at {
			t.Fatalf("the client received %q from %s", b, from)
		}
		if err := slot.Connect(remote); err != nil {
			t.Fatal(err)
		}
	}
}

// natClient is one of two clients behind a NAT, with equal ports.
type natClient struct {
	ns     netns.NsHandle
	addr   netip.Addr
	ike    *IKE
	got    <-chan Datagram
	slot   *halves
	peer   *net.UDPConn
	outer  netip.AddrPort // as the server sees it
	spi    uint32         // inbound at the server; outbound is one more
	remote netip.AddrPort // inner
}

// natNetwork is a server, a masquerading NAT and two clients.
type natNetwork struct {
	*server
	natNS   netns.NsHandle
	nat     netip.Addr
	ike     *IKE
	got     <-chan Datagram
	clients [2]*natClient
}

func runIKE(t *testing.T) (*IKE, <-chan Datagram) {
	t.Helper()
	files, err := OpenIKE(IKEConfig{})
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan *IKE)
	go func() {
		dropPrivileges(t)
		e, err := NewIKE(files)
		if err != nil {
			t.Error(err)
		}
		made <- e
	}()
	e := <-made
	if e == nil {
		t.FailNow()
	}
	got, ended := make(chan Datagram, 10), make(chan error)
	go func() { ended <- e.Run(func(d Datagram) { got <- d }) }()
	t.Cleanup(func() { _ = e.Close(); <-ended })
	return e, got
}

func newNATNetwork(t *testing.T) *natNetwork {
	t.Helper()
	lockThread(t)
	serverNS, natNS := namespace(t, "udp-s"), namespace(t, "udp-n")
	n := &natNetwork{natNS: natNS, nat: netip.MustParseAddr("192.0.2.254")}
	cable(t, "udp-s", "eth0", "192.0.2.1/24", "udp-n", "wan", "192.0.2.254/24")
	command(t, "ip netns exec udp-n sysctl -qw net.ipv4.ip_forward=1")
	command(t, "ip netns exec udp-n nft add table ip nat")
	command(t, "ip netns exec udp-n nft add chain ip nat post { type nat hook postrouting priority 100 ; }")
	command(t, "ip netns exec udp-n nft add rule ip nat post oifname wan masquerade")

	n.server = startServer(t, serverNS, netip.MustParseAddr("192.0.2.1"))
	n.ike, n.got = runIKE(t)
	for i := range n.clients {
		name := fmt.Sprintf("udp-c%d", i)
		c := &natClient{ns: namespace(t, name), addr: netip.MustParseAddr(fmt.Sprintf("10.1.%d.2", i)), spi: 0x1000 * uint32(i+1)}
		n.clients[i] = c
		cable(t, name, "eth0", fmt.Sprintf("10.1.%d.2/24", i), "udp-n", fmt.Sprintf("lan%d", i), fmt.Sprintf("10.1.%d.1/24", i))
		command(t, "ip -n %s route add default via 10.1.%d.1", name, i)
		enter(t, c.ns)
		c.ike, c.got = runIKE(t)
		n.talkIKE(c)
		n.secure(c, 0x4001+uint16(i), i == 0)
	}
	enter(t, serverNS)
	return n
}

// talkIKE exchanges a message on port 4500 and learns the client's outer address.
func (n *natNetwork) talkIKE(c *natClient) {
	t := n.t
	t.Helper()
	const port = IKENATPort
	err := c.ike.Send(Datagram{
		Local: netip.AddrPortFrom(c.addr, port), Remote: netip.AddrPortFrom(n.addr, port), Encapsulated: true, Payload: []byte("identity"),
	})
	if err != nil {
		t.Fatal(err)
	}
	d := within(t, n.got, "IKE at the server")
	if !d.Encapsulated || string(d.Payload) != "identity" || d.Remote.Addr() != n.nat || d.Local != netip.AddrPortFrom(n.addr, port) {
		t.Fatalf("the server received %+v", d)
	}
	c.outer = d.Remote
	d.Payload = []byte("answer")
	if err := n.ike.Send(d); err != nil {
		t.Fatal(err)
	}
	if d := within(t, c.got, "IKE at the client"); string(d.Payload) != "answer" {
		t.Fatalf("the client received %+v", d)
	}
}

// secure installs the SAs of a client on both sides, and opens its slot and its socket.
func (n *natNetwork) secure(c *natClient, port uint16, checksum bool) {
	t := n.t
	t.Helper()
	enter(t, c.ns)
	sas, err := xfrm.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer sas.Close()
	out, in := newSA(c.addr, n.addr, c.spi, 1, xfrm.Out, false), newSA(n.addr, c.addr, c.spi+1, 1, xfrm.In, false)
	out.Encap, in.Encap = &xfrm.Encap{SrcPort: IKENATPort, DstPort: IKENATPort}, &xfrm.Encap{SrcPort: IKENATPort, DstPort: IKENATPort}
	addSAs(t, sas, out, in)
	c.peer = l2tpPeer(t, netip.AddrPortFrom(c.addr, l2tpPort), checksum)

	enter(t, n.ns)
	in = forSlot(newSA(n.nat, n.addr, c.spi, markOf(port), xfrm.In, false), port)
	in.Encap = &xfrm.Encap{SrcPort: c.outer.Port(), DstPort: IKENATPort}
	in.MappingThreshold = 1e9
	out = newSA(n.addr, n.nat, c.spi+1, markOf(port), xfrm.Out, false)
	out.Encap = &xfrm.Encap{SrcPort: IKENATPort, DstPort: c.outer.Port()}
	addSAs(t, n.sas, in, out)
	c.slot = n.open(port)
	c.remote = netip.AddrPortFrom(n.nat, l2tpPort)
}

// TestKernelTwoClientsBehindOneNAT: both have the inner addresses NAT:1701 and server:1701, and each its own slot.
func TestKernelTwoClientsBehindOneNAT(t *testing.T) {
	n := newNATNetwork(t)
	for range 2 { // the second time with tunnel sockets
		for _, c := range n.clients {
			exchange(t, n.server, c.slot, c.peer, c.remote)
		}
	}
	counters := func() steering.Counters {
		t.Helper()
		c, err := steering.Read(steering.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if counters := counters(); counters.SteeredIn.Packets != 8 || counters.SteeredOut.Packets != 8 {
		t.Errorf("steered %d in and %d out, want 8 each", counters.SteeredIn.Packets, counters.SteeredOut.Packets)
	}

	// What is not encrypted arrives at no slot, neither at port 1701 nor at the slot's own port.
	enter(t, n.natNS)
	plain := peer(t, n.nat)
	for _, port := range []uint16{l2tpPort, n.clients[0].slot.Local().Port()} {
		if _, err := plain.WriteToUDPAddrPort(control("in the clear"), netip.AddrPortFrom(n.addr, port)); err != nil {
			t.Fatal(err)
		}
	}
	c := n.clients[1]
	exchange(t, n.server, c.slot, c.peer, c.remote) // would receive the others first
	var dropped uint64
	eventually(t, "what is in the clear is dropped", func() (string, bool) {
		dropped = counters().PlainL2TP.Packets
		return fmt.Sprint(dropped), dropped > 0
	})
	if dropped != 1 {
		t.Errorf("plain L2TP packets dropped: %d, want 1", dropped)
	}
	states, err := n.sas.List()
	if err != nil || len(states) != 4 {
		t.Fatalf("List gave %d SAs, %v", len(states), err)
	}
	for _, s := range states {
		if s.Stats.Packets == 0 || s.Stats.Bytes == 0 || s.Stats.UseTime.IsZero() {
			t.Errorf("%v has counted nothing: %+v", s, s.Stats)
		}
	}
}

// TestKernelMapping: the NAT forgets its mappings and gives a client another port.
func TestKernelMapping(t *testing.T) {
	n := newNATNetwork(t)
	first, second := n.clients[0], n.clients[1]
	exchange(t, n.server, first.slot, first.peer, first.remote)
	monitor, err := xfrm.NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()

	enter(t, n.natNS)
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		t.Fatal(err)
	}
	enter(t, n.ns)
	if second.outer.Port() == IKENATPort {
		t.Fatalf("the NAT has given %s to the second client", second.outer)
	}
	// The NAT keeps a port that is free, and 4500 is free now.
	if _, err := second.peer.WriteToUDPAddrPort(control("moved"), netip.AddrPortFrom(n.addr, l2tpPort)); err != nil {
		t.Fatal(err)
	}
	if r := n.next("ESP from a new port"); r.slot != second.slot.Local().Port() {
		t.Fatalf("received %+v", r)
	}
	events, err := monitor.Receive()
	if err != nil || len(events) != 1 {
		t.Fatalf("events %v, %v", events, err)
	}
	want := xfrm.Mapping{
		ID: xfrm.ID{Dst: n.addr, SPI: second.spi}, ReqID: markOf(second.slot.Local().Port()),
		Old: second.outer, New: netip.AddrPortFrom(n.nat, IKENATPort),
	}
	if events[0] != want {
		t.Fatalf("event %+v, want %+v", events[0], want)
	}
	for id, encap := range map[xfrm.ID]xfrm.Encap{
		want.ID:                           {SrcPort: want.New.Port(), DstPort: IKENATPort},
		{Dst: n.nat, SPI: second.spi + 1}: {SrcPort: IKENATPort, DstPort: want.New.Port()},
	} {
		if err := n.sas.UpdateEncap(id, encap); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, n.server, second.slot, second.peer, second.remote)
}

// TestKernelIKEOptions opens the sockets with all their options, and not twice.
func TestKernelIKEOptions(t *testing.T) {
	lockThread(t)
	enter(t, namespace(t, "udp-s"))
	e, _ := runIKE(t)
	if len(e.LocalAddrs()) != 4 {
		t.Errorf("listens on %v, want two ports of each family", e.LocalAddrs())
	}
	if _, err := ListenIKE(IKEConfig{}); err == nil {
		t.Error("the ports could be taken twice")
	} else {
		t.Log(err)
	}
}
