package l2tpnl

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSockaddrLayout(t *testing.T) {
	a := sockaddr(0x0102, 0x0304, 0x0506, 0x0708)
	if len(a) != 38 {
		t.Fatalf("%d octets, want 38: the kernel tells the address families apart by it", len(a))
	}
	order := binary.NativeEndian
	for _, f := range []struct {
		name      string
		got, want uint32
	}{
		{"sa_family", uint32(order.Uint16(a[0:])), 24},
		{"sa_protocol", order.Uint32(a[2:]), 1},
		{"pid", order.Uint32(a[6:]), 0},
		{"fd", order.Uint32(a[10:]), 0xffffffff},
		{"s_tunnel", uint32(order.Uint16(a[30:])), 0x0102},
		{"s_session", uint32(order.Uint16(a[32:])), 0x0304},
		{"d_tunnel", uint32(order.Uint16(a[34:])), 0x0506},
		{"d_session", uint32(order.Uint16(a[36:])), 0x0708},
	} {
		if f.got != f.want {
			t.Errorf("%s = %#x, want %#x", f.name, f.got, f.want)
		}
	}
}

func TestOpenSessionRefusesZeroIDs(t *testing.T) {
	for _, ids := range [][4]uint16{{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}} {
		if f, err := OpenSession(ids[0], ids[1], ids[2], ids[3]); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%v: %v, %v", ids, f, err)
		}
	}
}
