//go:build integration

package integration

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

const listenerPort = 4444

// listener keeps the payloads of the UDP packets that come to listenerPort in a namespace.
type listener struct {
	mu       sync.Mutex
	payloads []string
}

func (f *fixture) listen(n *lab.Namespace) *listener {
	f.t.Helper()
	conn, err := n.UDP(netip.AddrPortFrom(netip.IPv4Unspecified(), listenerPort))
	f.must(err)
	f.t.Cleanup(func() { conn.Close() })
	l := &listener{}
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return // closed
			}
			l.mu.Lock()
			l.payloads = append(l.payloads, string(buffer[:n]))
			l.mu.Unlock()
		}
	}()
	return l
}

// awaits sends a packet that must arrive until it does. What was sent before it on the same way has arrived by then or never will.
func (f *fixture) awaits(l *listener, payload string, send func(payload string)) {
	f.t.Helper()
	send(payload)
	f.must(lab.Until(f.ctx, 30*time.Second, fmt.Sprintf("%q arrives", payload), func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, got := range l.payloads {
			if got == payload {
				return nil
			}
		}
		return fmt.Errorf("what arrived is %q", l.payloads)
	}))
}

// forged returns the payloads that should not have arrived.
func (l *listener) forged() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, payload := range l.payloads {
		if strings.HasPrefix(payload, "forged") {
			all = append(all, payload)
		}
	}
	return all
}

// udpFrame makes a PPP frame (after address and control) with a UDP datagram in it, to listenerPort.
func udpFrame(from, to netip.Addr, payload string) []byte {
	const ipv4Header, udpHeader = 20, 8
	length := ipv4Header + udpHeader + len(payload)
	frame := []byte{0x00, 0x21} // IPv4, RFC 1332
	packet := make([]byte, ipv4Header+udpHeader, length)
	packet[0], packet[8], packet[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(packet[2:], uint16(length))
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], to.AsSlice())
	var sum uint32
	for i := 0; i < ipv4Header; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum))
	binary.BigEndian.PutUint16(packet[20:], 40000)
	binary.BigEndian.PutUint16(packet[22:], listenerPort)
	binary.BigEndian.PutUint16(packet[24:], uint16(udpHeader+len(payload))) // the checksum stays zero: none
	return append(frame, append(packet, payload...)...)
}

// TestForgedIDs has bob send messages with alice's tunnel and session ids through his own SA.
func TestForgedIDs(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice := f.home("alice")
	o := options("bob")
	o.AnyPort = true // so that bob's SA carries what the test sends beside xl2tpd
	bob := f.started(f.HomeClient("bob", o))
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	aliceTunnel, aliceSession := f.kernelSession(ofAlice.TunnelID)
	bobTunnel, bobSession := f.kernelSession(ofBob.TunnelID)
	arrivals := f.listen(f.Server.Namespace)
	stream, err := alice.PingContinuously(f.ctx, inner, 20)
	f.must(err)

	outer, err := bob.Addresses("eth0")
	f.must(err)
	to := netip.AddrPortFrom(lab.ServerAddress, 1701)
	before := f.stats()
	sent := 0
	for _, port := range []uint16{1701, 40001} { // the port of bob's tunnel, and another
		conn, err := bob.UDP(netip.AddrPortFrom(outer[0], port))
		f.must(err)
		defer conn.Close()
		send := func(message []byte) {
			t.Helper()
			if _, err := conn.WriteToUDPAddrPort(message, to); err != nil {
				t.Fatal(err)
			}
		}
		for _, long := range []bool{false, true} {
			for _, source := range []netip.Addr{ofAlice.IP, ofBob.IP} {
				payload := fmt.Sprintf("forged: port %d, L bit %v, source %v", port, long, source)
				send(lab.DataPacket(aliceTunnel, aliceSession, long, udpFrame(source, inner, payload)))
				sent++
			}
		}
		for _, message := range [][]byte{
			lab.Hello(aliceTunnel, 3, 3), lab.CDN(aliceTunnel, aliceSession, 1, 3, 3), lab.CDN(aliceTunnel, 0, aliceSession, 4, 4),
			lab.StopCCN(aliceTunnel, 1, 3, 3), lab.StopCCN(aliceTunnel, 1, 4, 4),
		} {
			send(message)
		}
	}
	conn, err := bob.UDP(netip.AddrPortFrom(outer[0], 1701))
	f.must(err)
	defer conn.Close()
	for _, long := range []bool{false, true} {
		f.awaits(arrivals, fmt.Sprintf("honest: L bit %v", long), func(payload string) {
			message := lab.DataPacket(bobTunnel, bobSession, long, udpFrame(ofBob.IP, inner, payload))
			if _, err := conn.WriteToUDPAddrPort(message, to); err != nil {
				t.Fatal(err)
			}
		})
	}
	if got := arrivals.forged(); len(got) > 0 {
		t.Errorf("arrived: %q", got)
	}
	f.rises(uint64(sent), "steering.foreign_tunnel_id", before, func(s control.Stats) uint64 { return s.Steering["foreign_tunnel_id"] })
	f.rises(10, "l2tp.drops.forged_tunnel", before, func(s control.Stats) uint64 { return s.L2TP.Drops["forged_tunnel"] })
	pings, err := stream.Stop(20)
	f.must(err)
	if pings.Lost() > 0 {
		t.Errorf("alice lost %d of %d pings", pings.Lost(), pings.Sent)
	}
	f.pings(bob.Namespace, inner)
	f.must(alice.Disconnect(f.ctx))
	f.must(bob.Disconnect(f.ctx))
	f.empty()
}

// kernelSession returns the ids that the kernel has for the session of a tunnel.
func (f *fixture) kernelSession(tunnel uint16) (uint16, uint16) {
	f.t.Helper()
	out, err := f.Server.Run(f.ctx, "ip", "l2tp", "show", "session")
	f.must(err)
	for line := range strings.Lines(out) {
		var session, of uint16
		if _, err := fmt.Sscanf(line, "Session %d in tunnel %d", &session, &of); err == nil && of == tunnel {
			return tunnel, session
		}
	}
	f.t.Fatalf("the kernel has no session in tunnel %d: %s", tunnel, out)
	return 0, 0
}

// TestForeignInnerSource has bob send from addresses that he was not given: to the server and to alice.
func TestForeignInnerSource(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice, bob := f.home("alice"), f.home("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	nobody := netip.MustParseAddr("10.99.0.77")
	f.must(bob.Batch(
		fmt.Sprintf("address add %s/32 dev lo", ofAlice.IP), fmt.Sprintf("address add %s/32 dev lo", nobody), "address add 172.16.9.9/32 dev lo",
		fmt.Sprintf("route add table 7 %s dev ppp0", ofAlice.IP), "rule add to 10.99.0.0/24 dport 4444 lookup 7",
		"rule add from all lookup local pref 50", "rule del pref 0", fmt.Sprintf("rule add to %s dport 4444 lookup 7 pref 10", ofAlice.IP)))
	f.must(alice.Batch("route add 10.99.0.0/24 dev ppp0"))

	before := f.stats()
	spoofed := 0
	for _, target := range []struct {
		space *lab.Namespace
		to    netip.Addr
	}{{f.Server.Namespace, inner}, {alice.Namespace, ofAlice.IP}} {
		arrivals := f.listen(target.space)
		sendFrom := func(source netip.Addr) func(string) {
			conn, err := bob.UDP(netip.AddrPortFrom(source, 0))
			f.must(err)
			t.Cleanup(func() { conn.Close() })
			return func(payload string) {
				if _, err := conn.WriteTo([]byte(payload), net.UDPAddrFromAddrPort(netip.AddrPortFrom(target.to, listenerPort))); err != nil {
					t.Fatal(err)
				}
			}
		}
		sources := []netip.Addr{nobody, netip.MustParseAddr("172.16.9.9"), ofAlice.IP}
		for _, source := range sources {
			sendFrom(source)(fmt.Sprintf("forged: from %v to %v", source, target.to))
			spoofed++
		}
		f.awaits(arrivals, fmt.Sprintf("honest: to %v", target.to), sendFrom(ofBob.IP))
		if got := arrivals.forged(); len(got) > 0 {
			t.Errorf("arrived: %q", got)
		}
	}
	f.rises(uint64(spoofed), "steering.spoofed_source", before, func(s control.Stats) uint64 { return s.Steering["spoofed_source"] })
}
