package xfrm

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ID names an ESP SA in the kernel: it is found by destination address and SPI.
type ID struct {
	Dst netip.Addr
	SPI uint32 // host order, at least 256
}

// String is "esp spi 0x… to address".
func (id ID) String() string { return fmt.Sprintf("esp spi 0x%08x to %s", id.SPI, id.Dst) }

// Direction says what an SA or a policy is for.
type Direction uint8

// Values of XFRMA_SA_DIR. Zero leaves the direction of an SA open, as kernels before 6.10 do.
const (
	In  Direction = 1
	Out Direction = 2
)

// String is "in", "out" or "any".
func (d Direction) String() string {
	switch d {
	case In:
		return "in"
	case Out:
		return "out"
	}
	return "any"
}

// Mode is the encapsulation mode, XFRM_MODE_*.
type Mode uint8

// Modes of ESP, RFC 4303 section 3.1.
const (
	ModeTransport Mode = 0
	ModeTunnel    Mode = 1
)

// Encap is UDP encapsulation of ESP, RFC 3948. The ports are those of the outer packet as it is received (inbound SA) or
// sent (outbound SA).
type Encap struct {
	SrcPort, DstPort uint16
}

// Mark is written to the mark of a packet that the SA has processed (XFRMA_SET_MARK): bits in Mask become those
// of Value. On an inbound SA this is the mark of the decrypted packet. The zero value changes nothing.
type Mark struct {
	Value, Mask uint32
}

// MaxReplayWindow is the kernel's limit for State.ReplayWindow, in packets.
const MaxReplayWindow = 4096

// State is one ESP security association.
type State struct {
	ID
	Src        netip.Addr
	ReqID      uint32
	Selector   Selector
	Mode       Mode
	Crypt      *Crypt // with Auth, or
	Auth       *Auth
	AEAD       *AEAD // alone
	Encap      *Encap
	OutputMark Mark
	Direction  Direction
	// ESN makes sequence numbers 64 bits wide, of which packets carry the lower half (RFC 4303 section 2.2.1).
	ESN bool
	// ReplayWindow is in packets, 0 to MaxReplayWindow; it must be 0 on outbound SAs, and above 0 on others with ESN.
	ReplayWindow uint32
	// Sequence is where counting goes on with Add, zero for a new SA; Get tells where it is. Update leaves it alone.
	Sequence Sequence
	// seen is the replay window as the kernel keeps it, a bit for each packet; nil if none has come.
	seen []byte
	// MappingThreshold is the shortest time between two Mapping events of an inbound encapsulated SA, in whole seconds;
	// zero sends one for each packet.
	MappingThreshold time.Duration
	// At Soft the kernel sends one Expire event, and prefers another outbound SA if there is one; at Hard it deletes the SA
	// and sends another.
	Soft, Hard Limit
	// Offload is where Add puts the SA; Update leaves it there.
	Offload Offload
	// Stats are filled in by the kernel and not sent to it.
	Stats Stats
}

// Stats are counters of an SA.
type Stats struct {
	Bytes, Packets  uint64
	AddTime         time.Time
	UseTime         time.Time // first use; zero when never used
	ReplayFailed    uint32    // packets seen before
	WindowFailed    uint32    // packets older than the replay window
	IntegrityFailed uint32
}

// String describes the SA without its keys.
func (s State) String() string {
	out := fmt.Sprintf("%s from %s reqid 0x%08x %s", s.ID, s.Src, s.ReqID, s.Direction)
	switch {
	case s.AEAD != nil:
		out += " " + s.AEAD.Name
	case s.Crypt != nil && s.Auth != nil:
		out += " " + s.Crypt.Name + " " + s.Auth.Name
	}
	if s.Encap != nil {
		out += fmt.Sprintf(" udp %d-%d", s.Encap.SrcPort, s.Encap.DstPort)
	}
	return out
}

// validate finds what the kernel would refuse with a bare EINVAL.
func (s *State) validate() error {
	switch {
	case !s.Dst.IsValid() || !s.Src.IsValid() || family(s.Dst) != family(s.Src):
		return fmt.Errorf("source %s and destination %s must be addresses of one family", s.Src, s.Dst)
	case s.Dst.Is4In6() || s.Src.Is4In6():
		return errors.New("IPv4-mapped IPv6 addresses must be unmapped")
	case s.SPI < 256:
		return errors.New("SPIs 0 to 255 are reserved (RFC 4303 section 2.1)")
	case s.AEAD == nil && (s.Crypt == nil || s.Auth == nil):
		return errors.New("a cipher with a MAC, or an AEAD cipher, is required")
	case s.AEAD != nil && (s.Crypt != nil || s.Auth != nil):
		return errors.New("an AEAD cipher takes no other algorithm")
	case s.Direction == Out && s.MappingThreshold != 0:
		return errors.New("a mapping threshold is for inbound SAs only")
	case s.Soft.Time < 0 || s.Hard.Time < 0 || s.MappingThreshold < 0:
		return errors.New("limits and mapping threshold cannot be negative")
	case s.MappingThreshold != 0 && s.Encap == nil:
		return errors.New("a mapping threshold needs UDP encapsulation")
	}
	for _, p := range []netip.Prefix{s.Selector.Src, s.Selector.Dst} {
		if p.IsValid() && family(p.Addr()) != family(s.Dst) {
			return fmt.Errorf("selector %s is not of the SA's address family", p)
		}
	}
	return errors.Join(s.validateAlgorithms(), s.validateOffload(), s.validateSequence())
}

// appendTo appends struct xfrm_usersa_info and the attributes that follow it in NEWSA, UPDSA and EXPIRE.
func (s *State) appendTo(b []byte) []byte {
	return s.appendAttributes(append(b, s.info()...))
}

func (s *State) info() []byte {
	b := make([]byte, sizeUserSAInfo)
	s.Selector.put(b, family(s.Dst))
	putAddress(b[offSAID:], s.Dst)
	network.PutUint32(b[offSAID+16:], s.SPI)
	b[offSAID+20] = unix.IPPROTO_ESP
	putAddress(b[offSASrc:], s.Src)
	putLimits(b[offSALifetime:], s.Soft, s.Hard)
	native.PutUint32(b[offSAReqID:], s.ReqID)
	native.PutUint16(b[offSAFamily:], family(s.Dst))
	b[offSAMode] = uint8(s.Mode)
	if s.ESN {
		b[offSAFlags] = flagESN
	}
	return b
}

func (s *State) appendAttributes(b []byte) []byte {
	if s.Crypt != nil {
		b = appendAlgorithm(b, attrAlgCrypt, s.Crypt.Name, s.Crypt.Key, false, 0)
	}
	if s.Auth != nil {
		b = appendAlgorithm(b, attrAlgAuthTrunc, s.Auth.Name, s.Auth.Key, true, s.Auth.TruncBits)
	}
	if s.AEAD != nil {
		b = appendAlgorithm(b, attrAlgAEAD, s.AEAD.Name, s.AEAD.Key, true, s.AEAD.ICVBits)
	}
	if s.Encap != nil {
		b = s.Encap.append(b)
	}
	b = s.appendReplay(b)
	b = s.appendOffload(b)
	if s.OutputMark != (Mark{}) {
		b = appendAttributeUint32(b, attrSetMark, s.OutputMark.Value)
		b = appendAttributeUint32(b, attrSetMarkMask, s.OutputMark.Mask)
	}
	if s.MappingThreshold != 0 {
		b = appendAttributeUint32(b, attrMTimerThresh, uint32(min(seconds(s.MappingThreshold), math.MaxUint32)))
	}
	if s.Direction != 0 {
		b = appendAttribute(b, attrSADir, []byte{uint8(s.Direction)})
	}
	return b
}

// append appends struct xfrm_encap_tmpl.
func (e *Encap) append(b []byte) []byte {
	tmpl := make([]byte, sizeEncapTmpl)
	native.PutUint16(tmpl[0:], unix.UDP_ENCAP_ESPINUDP)
	network.PutUint16(tmpl[2:], e.SrcPort)
	network.PutUint16(tmpl[4:], e.DstPort)
	return appendAttribute(b, attrEncap, tmpl)
}

// seconds rounds up, so that a short lifetime does not become none.
func seconds(d time.Duration) uint64 {
	s := d / time.Second
	if d%time.Second > 0 {
		s++
	}
	return uint64(s)
}
