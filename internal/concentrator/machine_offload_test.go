package concentrator

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// device asks the machine's network device to take an SA.
func (m *machine) device(st *xfrm.State) (xfrm.Offload, error) {
	if want, _ := m.Device(netip.Addr{}, peerOf(st), st.ReqID); st.Offload.Device != want {
		m.t.Errorf("%v is meant for device %d, and its packets leave by %d", st, st.Offload.Device, want)
	}
	m.asked = append(m.asked, fmt.Sprintf("%s %s", st.Offload.Mode, st.Direction))
	if m.nic == nil {
		return xfrm.Offload{}, unsupported
	}
	return m.nic(st)
}

// unsupported is how drivers refuse.
var unsupported = &xfrm.Error{Op: "add SA", Message: "sim: Unsupported ipsec offload type", Err: unix.EINVAL}

// Device implements Egress.
func (m *machine) Device(_, remote netip.Addr, mark uint32) (int, error) {
	if !m.block.Owns(mark) {
		m.t.Errorf("the way to %s is looked up with mark %#x", remote, mark)
	}
	if m.way == nil {
		return 2, nil
	}
	device := m.way(remote)
	if device == 0 {
		return 0, unix.ENETUNREACH
	}
	return device, nil
}

// Name implements Egress.
func (m *machine) Name(device int) string { return fmt.Sprintf("eth%d", device) }

// Encrypts implements Egress.
func (m *machine) Encrypts(_, remote netip.Addr, reqid uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if st := m.outbound(uint16(reqid)); st == nil || st.Dst != remote {
		return errors.New("no outbound SA")
	}
	return nil
}

// down takes a device away and the SAs that are in it.
func (m *machine) down(device int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, st := range m.sas {
		if st.Offload.Device == device {
			m.remove(id)
		}
	}
}

// requests returns what devices were asked for since it was last called.
func (m *machine) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.asked
	m.asked = nil
	return list
}
