package concentrator

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const (
	// replayWindow is in packets; wide enough for reordering between receive queues.
	replayWindow = 1024
	// mappingThreshold is the shortest time between two NAT mapping events of the kernel for one SA.
	mappingThreshold = 5 * time.Second
	// lifetimeMargin is what the kernel's hard lifetime has over the negotiated one: the daemon
	// ends SAs itself, the kernel only when the daemon is dead.
	lifetimeMargin = 5 * time.Minute
)

const protoUDP = 17

// inboundSA describes the SA by which a client reaches its slot, and nothing but its slot.
func inboundSA(sa ikev1.ChildSA, block slot.Block, port slot.Port) (*xfrm.State, error) {
	st, err := newState(sa, sa.Remote.Addr(), sa.Local.Addr(), block.Mark(port))
	if err != nil {
		return nil, err
	}
	st.Direction = xfrm.In
	st.Selector = slotSelector(sa.Local.Addr(), sa.Remote.Addr(), port)
	st.OutputMark = xfrm.Mark{Value: block.Mark(port), Mask: 0xffffffff}
	st.ReplayWindow = replayWindow
	if sa.Encapsulated {
		st.Encap = &xfrm.Encap{SrcPort: sa.Remote.Port(), DstPort: sa.Local.Port()}
		st.MappingThreshold = mappingThreshold
	}
	return st, nil
}

// slotSelector lets through what a client sends to its slot.
func slotSelector(local, remote netip.Addr, port slot.Port) xfrm.Selector {
	return xfrm.Selector{Src: hostPrefix(remote), Dst: hostPrefix(local), Proto: protoUDP, DstPort: uint16(port), DstPortMask: 0xffff}
}

// outboundSA describes the SA that encrypts what leaves the client's sockets.
func outboundSA(sa ikev1.ChildSA, block slot.Block, port slot.Port) (*xfrm.State, error) {
	st, err := newState(sa, sa.Local.Addr(), sa.Remote.Addr(), block.Mark(port))
	if err != nil {
		return nil, err
	}
	st.Direction = xfrm.Out
	if sa.Encapsulated {
		st.Encap = &xfrm.Encap{SrcPort: sa.Local.Port(), DstPort: sa.Remote.Port()}
	}
	return st, nil
}

func newState(sa ikev1.ChildSA, src, dst netip.Addr, reqid uint32) (*xfrm.State, error) {
	st := &xfrm.State{
		ID:    xfrm.ID{Dst: dst, SPI: sa.SPI},
		Src:   src,
		ReqID: reqid,
		ESN:   sa.ESN,
		Soft:  xfrm.Limit{Bytes: sa.LifetimeBytes},
		Hard:  xfrm.Limit{Bytes: hardBytes(sa.LifetimeBytes), Time: sa.Lifetime + lifetimeMargin},
	}
	if err := SetAlgorithms(st, sa); err != nil {
		return nil, err
	}
	return st, nil
}

// SetAlgorithms gives a state of the kernel the ciphers of an SA, with its keys, which are not copied. The error says which algorithm
// the kernel has no name for here.
func SetAlgorithms(st *xfrm.State, sa ikev1.ChildSA) error {
	switch sa.Encryption {
	case ikev1.TripleDES:
		st.Crypt = xfrm.TripleDESCBC(sa.EncryptionKey)
	case ikev1.AESCBC:
		st.Crypt = xfrm.AESCBC(sa.EncryptionKey)
	case ikev1.AESGCM8:
		st.AEAD = xfrm.AESGCM8(sa.EncryptionKey)
	case ikev1.AESGCM12:
		st.AEAD = xfrm.AESGCM12(sa.EncryptionKey)
	case ikev1.AESGCM16:
		st.AEAD = xfrm.AESGCM16(sa.EncryptionKey)
	default:
		return fmt.Errorf("encryption %v has no kernel algorithm", sa.Encryption)
	}
	if st.AEAD != nil {
		return nil
	}
	switch sa.Integrity {
	case ikev1.HMACSHA1_96:
		st.Auth = xfrm.HMACSHA1(sa.IntegrityKey)
	case ikev1.HMACSHA256_128:
		st.Auth = xfrm.HMACSHA256(sa.IntegrityKey)
	case ikev1.HMACSHA256_96:
		st.Auth = xfrm.HMACSHA256Trunc96(sa.IntegrityKey)
	case ikev1.HMACSHA384_192:
		st.Auth = xfrm.HMACSHA384(sa.IntegrityKey)
	case ikev1.HMACSHA512_256:
		st.Auth = xfrm.HMACSHA512(sa.IntegrityKey)
	default:
		return fmt.Errorf("integrity %v has no kernel algorithm", sa.Integrity)
	}
	return nil
}

// hardBytes is where the kernel ends an SA that is to be replaced after soft octets. The client rekeys at a count of its own, which need
// not be ours, and has time to: a well-behaved one is never cut off.
func hardBytes(soft uint64) uint64 {
	if hard := soft + soft/4; hard >= soft {
		return hard
	}
	return 0 // nobody counts that far
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
