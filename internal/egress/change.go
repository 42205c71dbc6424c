package egress

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxPrefixes bounds the destinations of one Change; with more of them it is All.
const maxPrefixes = 4096

// Change is what may have changed.
type Change struct {
	All  bool                  // any route, any device
	Nets map[netip.Prefix]bool // destinations of routes
	Down map[int]bool          // devices that are down or gone
}

// Empty reports whether nothing has changed.
func (c *Change) Empty() bool { return !c.All && len(c.Nets) == 0 && len(c.Down) == 0 }

// Affects reports whether the way to a peer may have changed.
func (c *Change) Affects(peer netip.Addr) bool {
	if c.All || c.Nets[netip.PrefixFrom(peer, peer.BitLen())] {
		return true
	}
	for bits := range peer.BitLen() {
		if p, err := peer.Prefix(bits); err == nil && c.Nets[p] {
			return true
		}
	}
	return false
}

// add takes one message of rtnetlink.
func (c *Change) add(m netlink.Message) error {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return c.addLink(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return c.addRoute(m.Data)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		c.All = true
	}
	return nil
}

func (c *Change) addLink(m netlink.Message) error {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return fmt.Errorf("message of %d octets on a link is shorter than %d", len(m.Data), unix.SizeofIfInfomsg)
	}
	if m.Data[0] != unix.AF_UNSPEC { // a bridge's, of one of its ports
		return nil
	}
	if m.Header.Type == unix.RTM_DELLINK || native.Uint32(m.Data[8:])&unix.IFF_UP == 0 {
		if c.Down == nil {
			c.Down = make(map[int]bool)
		}
		c.Down[int(int32(native.Uint32(m.Data[4:])))] = true
	}
	return nil
}

func (c *Change) addRoute(b []byte) error {
	if len(b) < unix.SizeofRtMsg {
		return fmt.Errorf("message of %d octets on a route is shorter than %d", len(b), unix.SizeofRtMsg)
	}
	if native.Uint32(b[8:])&unix.RTM_F_CLONED != 0 {
		return nil // one entry of a cache
	}
	switch b[7] { // ways to ourselves
	case unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_ANYCAST, unix.RTN_MULTICAST:
		return nil
	}
	var address netip.Addr
	switch b[0] {
	case unix.AF_INET:
		address = netip.IPv4Unspecified()
	case unix.AF_INET6:
		address = netip.IPv6Unspecified()
	default:
		return nil
	}
	attributes, err := netlink.NewAttributeDecoder(b[unix.SizeofRtMsg:])
	if err != nil {
		return fmt.Errorf("message on a route: %w", err)
	}
	for attributes.Next() {
		if attributes.Type() != unix.RTA_DST {
			continue
		}
		dst, ok := netip.AddrFromSlice(attributes.Bytes())
		if !ok || dst.BitLen() != address.BitLen() {
			return fmt.Errorf("message on a route has a destination of %d octets", len(attributes.Bytes()))
		}
		address = dst
	}
	if err := attributes.Err(); err != nil {
		return fmt.Errorf("message on a route: %w", err)
	}
	p, err := address.Prefix(int(b[1]))
	if err != nil {
		return fmt.Errorf("message on a route: %w", err)
	}
	if c.Nets == nil {
		c.Nets = make(map[netip.Prefix]bool)
	}
	if c.Nets[p] = true; len(c.Nets) > maxPrefixes {
		c.All, c.Nets = true, nil
	}
	return nil
}
