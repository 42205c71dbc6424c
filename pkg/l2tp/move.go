package l2tp

import (
	"net/netip"
	"time"
)

// Moved tells that the peer of a tunnel is at another address from now on, with its port. The IPsec SA says who it is, and the owner
// has moved that; TunnelMoved tells it where to connect the kernel's tunnel to. It does nothing if there is no tunnel, or nothing new.
func (e *Engine) Moved(now time.Time, slot uint16, addr netip.Addr) Output {
	return e.command(now, slot, func(st *step, t *tunnel) {
		if t.remote.Addr() != addr {
			t.remote = netip.AddrPortFrom(addr, t.remote.Port())
			st.event(TunnelMoved{Tunnel: t.slot.id, Remote: t.remote})
		}
	})
}
