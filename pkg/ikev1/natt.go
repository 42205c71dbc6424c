package ikev1

import (
	"net/netip"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// detectNAT compares the NAT-D payloads of message 3 with the addresses as we see them (RFC 3947 section 3.2): the first is the
// hash of the destination, the others are hashes of each address the initiator may have sent from.
func (sa *isakmpSA) detectNAT(natD [][]byte) (sent, there, here bool) {
	if len(natD) < 2 {
		return false, false, false
	}
	here = !equalHash(natD[0], sa.natD(sa.local).Body)
	there = true
	for _, source := range natD[1:] {
		if equalHash(source, sa.natD(sa.remote).Body) {
			there = false
		}
	}
	return true, there, here
}

// learnNAT takes note of the NAT-D payloads among those of the peer's message.
func (e *Engine) learnNAT(sa *isakmpSA, p payloads) {
	sa.handshake.natD, sa.peer.natThere, sa.peer.natHere = sa.detectNAT(p.all(sa.peer.natDType()))
	if sa.handshake.natD && e.cfg.ForceEncapsulation {
		sa.peer.natThere = true
	}
}

// natDs returns our NAT-D payloads, destination first (RFC 3947 section 3.2). To force encapsulation the destination is given as another
// than it is, so that the peer takes itself to be behind a NAT. It is never our own address: Windows refuses a server behind a NAT.
func (e *Engine) natDs(sa *isakmpSA) []wire.Payload {
	destination := sa.remote
	if e.cfg.ForceEncapsulation {
		destination = netip.AddrPortFrom(destination.Addr(), 0) // nobody's port
	}
	return []wire.Payload{sa.natD(destination), sa.natD(sa.local)}
}

// natD returns the NAT-D payload of an address.
func (sa *isakmpSA) natD(addr netip.AddrPort) wire.Raw {
	return wire.Raw{Kind: sa.peer.natDType(), Body: keymat.NATD(sa.proposal.Hash, sa.name.i, sa.name.r, addr)}
}

// natOA returns our two NAT-OA payloads for a Quick Mode whose message 1 had some, none otherwise.
//
// RFC 3947 section 5.2: each side sends the original addresses of the initiator and of the responder as it sees them.
func (sa *isakmpSA) natOA(p payloads) []wire.Payload {
	kind := wire.PayloadNATOA
	if !p.has(kind) {
		if kind = wire.PayloadNATOADraft; !p.has(kind) {
			return nil
		}
	}
	return []wire.Payload{
		wire.NATOA{Kind: kind, Addr: sa.remote.Addr().Unmap()},
		wire.NATOA{Kind: kind, Addr: sa.local.Addr().Unmap()},
	}
}
