package concentrator

import (
	"fmt"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// deviceNames returns a function that names devices and asks for each once.
func (c *Concentrator) deviceNames() func(device int) string {
	known := make(map[int]string)
	return func(device int) string {
		if known[device] == "" {
			known[device] = c.Egress.Name(device)
		}
		return known[device]
	}
}

// describeOffload is the device of an offloaded SA and the mode, such as "eth0/crypto", or empty.
func describeOffload(o xfrm.Offload, name func(int) string) string {
	if o.Mode == xfrm.OffloadNone {
		return ""
	}
	return fmt.Sprintf("%s/%s", name(o.Device), o.Mode)
}

// offload describes both SAs of a child: as one if they are in the same place.
func (ch *child) offload(name func(int) string) string {
	in, out := describeOffload(ch.inPlace.offload, name), describeOffload(ch.outPlace.offload, name)
	switch {
	case in == out:
		return in
	case in == "":
		return "out:" + out
	case out == "":
		return "in:" + in
	}
	return "in:" + in + " out:" + out
}

// offload describes the SAs of the newest child that has both.
func (cl *client) offload(name func(int) string) string {
	var newest ikev1.ChildID
	for id, ch := range cl.children {
		if ch.out.SPI != 0 {
			newest = max(newest, id)
		}
	}
	if ch := cl.children[newest]; ch != nil {
		return ch.offload(name)
	}
	return ""
}

// countOffload counts where the SAs of a client are.
func (cl *client) countOffload(st *control.OffloadStats) {
	count := func(p placement) {
		switch p.offload.Mode {
		case xfrm.OffloadNone:
			st.Software++
		case xfrm.OffloadCrypto:
			st.Crypto++
		case xfrm.OffloadPacket:
			st.Packet++
		}
	}
	for _, ch := range cl.children {
		count(ch.inPlace)
		if ch.out.SPI != 0 {
			count(ch.outPlace)
		}
	}
}
