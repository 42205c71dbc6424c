package egress

import (
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message is what the kernel sends: the fixed part as octets and 32-bit words, and a destination or none.
func message(kind netlink.HeaderType, head []byte, dst []byte) netlink.Message {
	if dst != nil {
		head = native.AppendUint16(head, uint16(4+len(dst)))
		head = native.AppendUint16(head, unix.RTA_DST)
		head = append(head, dst...)
	}
	return netlink.Message{Header: netlink.Header{Type: kind}, Data: head}
}

func link(kind netlink.HeaderType, index, flags uint32) netlink.Message {
	head := native.AppendUint32(make([]byte, 4), index)
	return message(kind, append(native.AppendUint32(head, flags), 0, 0, 0, 0), nil)
}

func route(kind netlink.HeaderType, family, bits, of byte, flags uint32, dst []byte) netlink.Message {
	return message(kind, native.AppendUint32([]byte{family, bits, 0, 0, 254, 3, 0, of}, flags), dst)
}

func TestChange(t *testing.T) {
	near, far, six := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")
	for name, test := range map[string]struct {
		m                   netlink.Message
		near, far, six, bad bool
		down                int
	}{
		"default route":      {m: route(unix.RTM_NEWROUTE, unix.AF_INET, 0, unix.RTN_UNICAST, 0, nil), near: true, far: true},
		"default route gone": {m: route(unix.RTM_DELROUTE, unix.AF_INET6, 0, unix.RTN_UNICAST, 0, nil), six: true},
		"a network":          {m: route(unix.RTM_NEWROUTE, unix.AF_INET, 24, unix.RTN_UNICAST, 0, []byte{192, 0, 2, 0}), near: true},
		"a black hole":       {m: route(unix.RTM_NEWROUTE, unix.AF_INET, 24, unix.RTN_BLACKHOLE, 0, []byte{192, 0, 2, 0}), near: true},
		"a host":             {m: route(unix.RTM_DELROUTE, unix.AF_INET, 32, unix.RTN_UNICAST, 0, []byte{203, 0, 113, 7}), far: true},
		"a host of IPv6":     {m: route(unix.RTM_DELROUTE, unix.AF_INET6, 128, unix.RTN_UNICAST, 0, six.AsSlice()), six: true},
		"an address of ours": {m: route(unix.RTM_NEWROUTE, unix.AF_INET, 32, unix.RTN_LOCAL, 0, []byte{192, 0, 2, 7})},
		"a cached entry":     {m: route(unix.RTM_NEWROUTE, unix.AF_INET6, 128, unix.RTN_UNICAST, unix.RTM_F_CLONED, six.AsSlice())},
		"another family":     {m: route(unix.RTM_NEWROUTE, unix.AF_MPLS, 20, unix.RTN_UNICAST, 0, []byte{0, 1, 2, 3})},
		"a rule":             {m: message(unix.RTM_NEWRULE, nil, nil), near: true, far: true, six: true},
		"a device up":        {m: link(unix.RTM_NEWLINK, 9, unix.IFF_UP)},
		"a device down":      {m: link(unix.RTM_NEWLINK, 9, unix.IFF_BROADCAST), down: 9},
		"a device gone":      {m: link(unix.RTM_DELLINK, 8, unix.IFF_UP), down: 8},
		"a short link":       {m: message(unix.RTM_NEWLINK, make([]byte, 15), nil), bad: true},
		"a short route":      {m: message(unix.RTM_NEWROUTE, make([]byte, 11), nil), bad: true},
		"a short address":    {m: route(unix.RTM_NEWROUTE, unix.AF_INET, 24, unix.RTN_UNICAST, 0, []byte{1}), bad: true},
		"a long prefix":      {m: route(unix.RTM_NEWROUTE, unix.AF_INET, 33, unix.RTN_UNICAST, 0, []byte{192, 0, 2, 0}), bad: true},
	} {
		var c Change
		if err := c.add(test.m); (err != nil) != test.bad {
			t.Errorf("%s: error %v", name, err)
		}
		for peer, want := range map[netip.Addr]bool{near: test.near, far: test.far, six: test.six} {
			if got := c.Affects(peer); got != want {
				t.Errorf("%s affects %s: %v, want %v", name, peer, got, want)
			}
		}
		if test.down != 0 && !c.Down[test.down] || test.down == 0 && len(c.Down) > 0 {
			t.Errorf("%s: down are %v", name, c.Down)
		}
		if something := test.near || test.far || test.six || test.down != 0; c.Empty() == something {
			t.Errorf("%s: Empty is %v", name, c.Empty())
		}
	}
}

func TestChangeIsBounded(t *testing.T) {
	var c Change
	for i := range maxPrefixes + 1 {
		dst := []byte{10, 0, byte(i >> 8), byte(i)}
		if err := c.add(route(unix.RTM_NEWROUTE, unix.AF_INET, 32, unix.RTN_UNICAST, 0, dst)); err != nil {
			t.Fatal(err)
		}
	}
	if !c.All || len(c.Nets) != 0 {
		t.Errorf("after %d routes All is %v, with %d of them", maxPrefixes+1, c.All, len(c.Nets))
	}
}
