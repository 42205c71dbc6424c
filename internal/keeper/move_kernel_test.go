//go:build kernel

package keeper

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// TestKernelMove moves the SAs of a client with a session to another address, and its tunnel after them.
func TestKernelMove(t *testing.T) {
	addresses(t)
	if out, err := exec.Command("ip", "addr", "replace", "198.51.100.8", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	k := start(t, nil)
	d := serve(t, k.path, testSetup)
	socket := d.connected(t)
	d.session(t, 9, 11)
	there := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.8"), peer.Port())
	if err := socket.Reconnect(there); !errors.Is(err, udp.ErrNoSA) {
		t.Errorf("before the SAs: %v", err)
	}
	in, out := association(xfrm.In, 0x1000), association(xfrm.Out, 0x2000)
	to := xfrm.Place{Src: there.Addr(), Dst: ours, Selector: in.Selector}
	to.Selector.Src = netip.PrefixFrom(there.Addr(), 32)
	if id, err := d.SAs().Move(in.ID, to); err != nil || id != in.ID {
		t.Fatalf("the inbound SA became %v, %v", id, err)
	}
	id, err := d.SAs().Move(out.ID, xfrm.Place{Src: ours, Dst: there.Addr()})
	if err != nil || id != (xfrm.ID{Dst: there.Addr(), SPI: out.SPI}) {
		t.Fatalf("the outbound SA became %v, %v", id, err)
	}
	if _, err := d.SAs().Get(out.ID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("where the outbound SA was: %v", err)
	}
	for range 2 {
		if err := socket.Reconnect(there); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []netip.AddrPort{{}, netip.AddrPortFrom(there.Addr(), 0), netip.MustParseAddrPort("[2001:db8::1]:1701")} {
		if err := socket.Reconnect(bad); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("to %v: %v", bad, err)
		}
	}
	tunnels, err := d.Tunnels().Tunnels()
	if err != nil || len(tunnels) != 1 || tunnels[0].Remote != there {
		t.Errorf("tunnels: %+v, %v", tunnels, err)
	}
	if _, err := d.Tunnels().Session(slotPort, 9); err != nil {
		t.Error(err)
	}
	if err := socket.Disconnect(); err != nil {
		t.Error(err)
	}
	if err := socket.Reconnect(there); !errors.Is(err, net.ErrClosed) {
		t.Errorf("without a tunnel: %v", err)
	}
	if err := errors.Join(socket.Close(), d.Shutdown(t.Context())); err != nil {
		t.Fatal(err)
	}
	k.ended(t)
	untouched(t)
}
