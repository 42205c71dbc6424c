package xfrm

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// errNotESP is returned by parseState for SAs of other protocols, which share the kernel's table.
var errNotESP = errors.New("not an ESP SA")

// parseState reads struct xfrm_usersa_info and the attributes that follow it. Attributes that State does not have are
// passed over, for newer kernels send more of them.
func parseState(b []byte) (State, error) {
	if len(b) < sizeUserSAInfo {
		return State{}, fmt.Errorf("SA of %d octets is shorter than %d", len(b), sizeUserSAInfo)
	}
	s, err := parseInfo(b)
	if err != nil {
		return State{}, err
	}
	err = eachAttribute(b[sizeUserSAInfo:], s.setAttribute)
	if err != nil {
		return State{}, err
	}
	return s, nil
}

func parseInfo(b []byte) (State, error) {
	if b[offSAID+20] != unix.IPPROTO_ESP {
		return State{}, errNotESP
	}
	family := native.Uint16(b[offSAFamily:])
	dst, err := address(b[offSAID:], family)
	if err != nil {
		return State{}, err
	}
	src, err := address(b[offSASrc:], family)
	if err != nil {
		return State{}, err
	}
	sel, err := parseSelector(b, family)
	if err != nil {
		return State{}, err
	}
	soft, hard := parseLimits(b[offSALifetime:])
	current := b[offSACurrent:]
	stats := b[offSAStats:]
	return State{
		ID:  ID{Dst: dst, SPI: network.Uint32(b[offSAID+16:])},
		Src: src, ReqID: native.Uint32(b[offSAReqID:]), Selector: sel, Mode: Mode(b[offSAMode]),
		ESN: b[offSAFlags]&flagESN != 0, ReplayWindow: uint32(b[offSAReplay]),
		Soft: soft, Hard: hard,
		Stats: Stats{
			Bytes: native.Uint64(current[0:]), Packets: native.Uint64(current[8:]),
			AddTime: moment(native.Uint64(current[16:])), UseTime: moment(native.Uint64(current[24:])),
			WindowFailed: native.Uint32(stats[0:]), ReplayFailed: native.Uint32(stats[4:]),
			IntegrityFailed: native.Uint32(stats[8:]),
		},
	}, nil
}

// setAttribute takes one attribute of an SA.
func (s *State) setAttribute(kind uint16, b []byte) error {
	var err error
	switch kind {
	case attrAlgCrypt:
		c := &Crypt{}
		c.Name, c.Key, _, err = parseAlgorithm(b, false)
		s.Crypt = c
	case attrAlgAuthTrunc:
		a := &Auth{}
		a.Name, a.Key, a.TruncBits, err = parseAlgorithm(b, true)
		s.Auth = a
	case attrAlgAEAD:
		a := &AEAD{}
		a.Name, a.Key, a.ICVBits, err = parseAlgorithm(b, true)
		s.AEAD = a
	case attrEncap:
		if len(b) < sizeEncapTmpl {
			return fmt.Errorf("encapsulation of %d octets is shorter than %d", len(b), sizeEncapTmpl)
		}
		// Others (TCP, RFC 8229) belong to somebody else's SA.
		if native.Uint16(b) == unix.UDP_ENCAP_ESPINUDP {
			s.Encap = &Encap{SrcPort: network.Uint16(b[2:]), DstPort: network.Uint16(b[4:])}
		}
	case attrReplay:
		err = s.parseReplay(b)
	case attrReplayESN:
		err = s.parseReplayESN(b)
	case attrOffloadDev:
		err = s.parseOffload(b)
	case attrSetMark:
		s.OutputMark.Value, err = attributeUint32(kind, b)
	case attrSetMarkMask:
		s.OutputMark.Mask, err = attributeUint32(kind, b)
	case attrMTimerThresh:
		var v uint32
		v, err = attributeUint32(kind, b)
		s.MappingThreshold = duration(uint64(v))
	case attrSADir:
		if len(b) < 1 {
			return errors.New("SA direction is empty")
		}
		if d := Direction(b[0]); d != 0 { // none takes nothing away from what a device has said
			s.Direction = d
		}
	}
	return err
}

// eachAttribute walks netlink attributes.
func eachAttribute(b []byte, take func(kind uint16, data []byte) error) error {
	for len(b) >= 4 {
		length := int(native.Uint16(b))
		if length < 4 || length > len(b) {
			return fmt.Errorf("attribute of %d octets in %d", length, len(b))
		}
		kind := native.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := take(kind, b[4:length]); err != nil {
			return err
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}

func attributeUint32(kind uint16, b []byte) (uint32, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("attribute %d has %d octets where 4 are due", kind, len(b))
	}
	return native.Uint32(b), nil
}

// duration caps at what time.Duration can hold.
func duration(seconds uint64) time.Duration {
	return time.Duration(min(seconds, uint64(math.MaxInt64/time.Second))) * time.Second
}

// moment is the time of a count of seconds since 1970, zero for none.
func moment(seconds uint64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds&math.MaxInt64), 0)
}
