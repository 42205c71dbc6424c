package l2tp

import (
	"net/netip"
	"time"
)

// Moved tells that the peer of a tunnel is at another address from now on, with its port. The IPsec SA says who it is, and the owner
// has moved that and the kernel's tunnel. It does nothing if there is no tunnel.
func (e *Engine) Moved(now time.Time, slot uint16, addr netip.Addr) Output {
	return e.command(now, slot, func(_ *step, t *tunnel) { t.remote = netip.AddrPortFrom(addr, t.remote.Port()) })
}
