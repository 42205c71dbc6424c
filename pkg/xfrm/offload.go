package xfrm

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// OffloadMode is what a network device does for an SA.
type OffloadMode uint8

// Modes of offload. In crypto mode the device encrypts and decrypts, and the kernel does all the rest, also the whole of it for packets that
// go another way. In packet mode (Linux 6.2) the device does the whole of ESP: outbound, such an SA is found only by policies that
// are offloaded to the same device, which those of sockets never are; inbound, nobody writes State.OutputMark.
const (
	OffloadNone OffloadMode = iota
	OffloadCrypto
	OffloadPacket
)

// String is "none", "crypto" or "packet".
func (m OffloadMode) String() string {
	switch m {
	case OffloadNone:
		return "none"
	case OffloadCrypto:
		return "crypto"
	case OffloadPacket:
		return "packet"
	}
	return fmt.Sprintf("OffloadMode(%d)", uint8(m))
}

// Offload puts an SA into a network device (XFRMA_OFFLOAD_DEV). The zero value leaves it to the kernel.
//
// A device that does not take the SA makes Add fail, but not always: in crypto mode the kernel goes on in software, without a word, where
// a driver knows nothing of ESP or answers EOPNOTSUPP. Get tells what has become of it. When the device goes down the kernel deletes
// the SA, and sends no event.
type Offload struct {
	Device int // interface index
	Mode   OffloadMode
}

const (
	offloadIPv6    = 1
	offloadInbound = 2
	offloadPacket  = 4
)

func (s *State) validateOffload() error {
	switch o := s.Offload; {
	case o == Offload{}:
	case o.Mode != OffloadCrypto && o.Mode != OffloadPacket:
		return fmt.Errorf("offload mode %s to a device", o.Mode)
	case o.Device <= 0 || o.Device > math.MaxInt32:
		return fmt.Errorf("%d is the index of no device", o.Device)
	case s.Direction == 0:
		return errors.New("an offloaded SA needs a direction")
	}
	return nil
}

// appendOffload appends struct xfrm_user_offload.
func (s *State) appendOffload(b []byte) []byte {
	if s.Offload == (Offload{}) {
		return b
	}
	v := make([]byte, sizeOffload)
	native.PutUint32(v, uint32(s.Offload.Device))
	if family(s.Dst) == unix.AF_INET6 {
		v[4] |= offloadIPv6
	}
	if s.Direction == In {
		v[4] |= offloadInbound
	}
	if s.Offload.Mode == OffloadPacket {
		v[4] |= offloadPacket
	}
	return appendAttribute(b, attrOffloadDev, v)
}

func (s *State) parseOffload(b []byte) error {
	if len(b) < sizeOffload {
		return fmt.Errorf("offload of %d octets is shorter than %d", len(b), sizeOffload)
	}
	s.Offload = Offload{Device: int(int32(native.Uint32(b))), Mode: OffloadCrypto}
	if b[4]&offloadPacket != 0 {
		s.Offload.Mode = OffloadPacket
	}
	if s.Direction == 0 { // a kernel without directions; others send that, too
		s.Direction = Out
		if b[4]&offloadInbound != 0 {
			s.Direction = In
		}
	}
	return nil
}
