package l2tp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// TestMoved: a tunnel goes on where its peer is, with what is on its way, and the old address is a stranger's then.
func TestMoved(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	session := b.call()
	there := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.77"), clientA.Port())
	b.take(b.e.CloseSession(b.now, slotA, session, Result{Code: CDNAdministrative}))
	b.wantCDN("closed", 2, 4, clientSession, Result{Code: CDNAdministrative})
	wantEvent[SessionDown](b, "closed")

	b.take(b.e.Moved(b.now, slotA, there.Addr()))
	b.wantSilence("a move")
	if e := wantEvent[TunnelMoved](b, "a move"); e != (TunnelMoved{slotA, there}) {
		t.Errorf("event %v", e)
	}
	b.take(b.e.Moved(b.now, slotA, there.Addr())) // no news
	if got := b.e.Tunnels()[0].Remote; got != there {
		t.Errorf("the tunnel is with %v", got)
	}
	b.wait(time.Second)
	b.remote = there
	b.wantCDN("not acknowledged", 2, 4, clientSession, Result{Code: CDNAdministrative}) // to b.remote
	b.remote = clientA
	b.sayControl(4, 3, wire.HELLO.Value())
	b.wantDrop("from the old address", DropForgedSource)
	b.remote = there
	b.sayControl(4, 3, wire.HELLO.Value())
	b.wantZLB("from the new address", 3, 5)

	b.take(b.e.Moved(b.now, slotA+1, there.Addr()))
	b.wantSilence("no tunnel")
	if len(b.events) > 0 {
		t.Errorf("events %v", b.events)
	}
}
