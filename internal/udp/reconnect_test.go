package udp

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestReconnect(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		p, got := startPoller(t)
		slot := openTestSlot(t, netip.MustParseAddr(host))
		if err := p.Add(slot.slot); err != nil {
			t.Fatal(err)
		}
		var peers [2]*net.UDPConn
		for i := range peers {
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			peers[i] = c
		}
		if err := slot.Reconnect(addrOf(peers[0])); !errors.Is(err, net.ErrClosed) {
			t.Errorf("without a tunnel socket: %v", err)
		}
		if remote, ok := slot.slot.Remote(); ok {
			t.Errorf("without a tunnel socket there is one to %v", remote)
		}
		if err := slot.Connect(addrOf(peers[0])); err != nil {
			t.Fatal(err)
		}
		copied := slot.slot.tunnel
		for _, i := range []int{1, 0, 0, 1} {
			if err := slot.Reconnect(addrOf(peers[i])); err != nil {
				t.Fatal(err)
			}
			if remote, ok := slot.Remote(); !ok || remote != addrOf(peers[i]) || slot.slot.tunnel != copied {
				t.Errorf("connected to %v, %v", remote, ok)
			}
			if remote, ok := slot.slot.Remote(); !ok || remote != addrOf(peers[i]) {
				t.Errorf("the copy is connected to %v, %v", remote, ok)
			}
			// Both are heard, the other one by the unconnected socket.
			for _, peer := range peers {
				tell(t, peer, slot, control("hello"))
				if r := <-got; r != (received{slot.Local().Port(), addrOf(peer), string(control("hello"))}) {
					t.Errorf("received %+v", r)
				}
			}
		}
		if err := slot.Reconnect(netip.MustParseAddrPort("[2001:db8::1]:1")); err == nil && host == "127.0.0.1" {
			t.Error("an IPv4 socket was connected to an IPv6 address")
		}
		if err := slot.Close(); err != nil {
			t.Error(err)
		}
		if err := slot.Reconnect(addrOf(peers[0])); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}
}
