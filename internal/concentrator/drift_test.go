package concentrator

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// drift compares, as an operator would.
func (b *bench) drift() (list []string) {
	b.t.Helper()
	rows, err := b.c.API().Drift(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range rows {
		list = append(list, fmt.Sprintf("%d %s %s %s", d.TunnelID, d.Object, d.Name, d.Problem))
	}
	return list
}

// TestDrift makes every difference once, in a way that the kernel does not tell.
func TestDrift(t *testing.T) {
	play(t, 90, func(t *testing.T, b *bench) {
		if got := b.drift(); len(got) > 0 {
			t.Errorf("before anything: %q", got)
		}
		s := b.connected(1)
		b.connected(2)
		if got := b.drift(); len(got) > 0 {
			t.Errorf("two clients: %q", got)
		}
		b.m.note = func(l2tpnl.Event) {}
		tunnel, id, iface := b.sessionOf(s)
		sa := b.sas(s)[xfrm.Out]
		var port uint32 = 0x400e
		ours := xfrm.State{ID: xfrm.ID{Dst: serverAddr.Addr(), SPI: 0x4444}, ReqID: b.m.block.Mark(0x400e)}
		foreign := xfrm.State{ID: xfrm.ID{Dst: serverAddr.Addr(), SPI: 0x5555}, ReqID: 77}
		b.m.mu.Lock()
		b.m.remove(sa.ID)
		b.m.sas[ours.ID], b.m.sas[foreign.ID] = &ours, &foreign
		b.m.order = append(b.m.order, ours.ID, foreign.ID)
		b.m.unlinked = map[string]bool{iface: true}
		stray := l2tpnl.Tunnel{ID: port, Local: serverAddr}
		b.m.tunnels[77] = &kernelTunnel{Tunnel: l2tpnl.Tunnel{ID: 77}}
		b.m.tunnels[port] = &kernelTunnel{Tunnel: stray}
		b.m.tunnels[port-1] = &kernelTunnel{Tunnel: l2tpnl.Tunnel{ID: port - 1, Local: netip.AddrPortFrom(serverAddr.Addr(), uint16(port-1))}}
		b.m.mu.Unlock()
		b.m.unsteered.Store(true)
		want := []string{
			"0 steering nftables table " + control.DriftChanged,
			fmt.Sprintf("%d interface %s missing", tunnel, iface),
			fmt.Sprintf("%d sa %s missing", tunnel, saName(sa.ID)),
			fmt.Sprintf("%d tunnel %d unexpected", port-1, port-1),
			fmt.Sprintf("%d sa %s unexpected", port, saName(ours.ID)),
		}
		if got := b.drift(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		b.m.stealSession(tunnel, id)
		b.m.mu.Lock()
		delete(b.m.tunnels, tunnel)
		b.m.mu.Unlock()
		want = slices.Insert(want, 3, fmt.Sprintf("%d session %s missing", tunnel, sessionName(tunnel, id)), fmt.Sprintf("%d tunnel %d missing", tunnel, tunnel))
		if got := b.drift(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}

		// A look at everything ends what cannot be repaired, and touches nothing else.
		b.m.mu.Lock()
		b.m.unlinked = nil
		b.m.mu.Unlock()
		b.m.unsteered.Store(false)
		b.c.HandleL2TPOverrun()
		b.c.HandleOverrun()
		time.Sleep(lostWait + 10*time.Second)
		if got, want := b.drift(), want[3+2:]; !slices.Equal(got, want) {
			t.Errorf("after the look: %q, want %q", got, want)
		}
		b.m.mu.Lock()
		if b.m.sas[foreign.ID] == nil || b.m.sas[ours.ID] == nil || b.m.tunnels[77] == nil || b.m.tunnels[port] == nil {
			t.Error("what is not known was removed")
		}
		b.m.remove(ours.ID)
		b.m.remove(foreign.ID)
		delete(b.m.tunnels, 77)
		delete(b.m.tunnels, port)
		delete(b.m.tunnels, port-1)
		b.m.mu.Unlock()
	})
}
