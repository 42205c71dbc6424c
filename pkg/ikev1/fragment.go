package ikev1

import (
	"crypto/sha256"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// maxPacket is the length of an IP packet, with its headers, beyond which a message goes in fragments: what every path of IPv6 carries
// (RFC 8200 section 5), and in practice every one of IPv4.
const maxPacket = 1280

// handleFragment takes a fragment, and the message if that was the last one missing.
func (e *Engine) handleFragment(d Datagram, h wire.Header) {
	sa := e.find(d, h)
	switch {
	case sa == nil:
		e.drop(d, DropUnknownSA)
		return
	case !sa.reassembles():
		e.drop(d, DropUnexpected)
		return
	}
	f, ok := onlyFragment(h, d.Payload)
	if !ok {
		e.drop(d, DropMalformed)
		return
	}
	if int(f.Number) > maxFragments {
		e.drop(d, DropTooLarge)
		return
	}
	switch set := e.fragmentSet(sa, f.ID); set.put(f) {
	case fragmentRepeated:
		e.drop(d, DropDuplicate)
		return
	case fragmentTooLarge:
		e.drop(d, DropTooLarge)
	case fragmentKept:
		if message, ok := set.message(); ok {
			set.end()
			e.reassembled(d, h, message)
			return
		}
	}
	for _, pool := range []*fragmentPool{&e.strangers, &e.known} {
		for set := pool.surplus(e.now); set != nil; set = pool.surplus(e.now) {
			e.abandon(set)
		}
	}
}

// reassembles says whether sa has got far enough for messages in fragments. None of a stranger before message 5 has to be long, and
// whoever has come there has cost a Diffie-Hellman, so that a place to reassemble in is not what to attack.
func (sa *isakmpSA) reassembles() bool {
	switch sa.state {
	case awaitMessage5, awaitMessage4, awaitMessage6, awaitVerification, awaitSignature, established:
		return true
	}
	return false
}

// onlyFragment returns the fragment that a message consists of; false: it has other payloads, or is malformed.
func onlyFragment(h wire.Header, message []byte) (wire.Fragment, bool) {
	chain, _, err := wire.ParseChain(h.NextPayload, message[wire.HeaderLen:])
	if err != nil || len(chain) != 1 {
		return wire.Fragment{}, false
	}
	f, err := wire.ParseFragment(chain[0].Body)
	return f, err == nil
}

// fragmentSet returns the message of sa under reassembly that a fragment with this ID belongs to, which may be a new one.
func (e *Engine) fragmentSet(sa *isakmpSA, id uint16) *fragmentSet {
	pool := &e.strangers
	if sa.state == established {
		pool = &e.known
	}
	if s := sa.fragments; s != nil {
		if s.id == id && s.pool == pool && e.now.Sub(s.begun) < reassemblyLife {
			return s
		}
		e.abandon(s)
	}
	return pool.begin(sa, id, e.now)
}

// abandon gives up a message of which not all fragments have come.
func (e *Engine) abandon(s *fragmentSet) {
	e.emit(Dropped{Remote: s.sa.remote, Reason: DropFragment})
	s.end()
}

// reassembled handles a message like one that came in the datagram d of its last fragment.
func (e *Engine) reassembled(d Datagram, h wire.Header, message []byte) {
	inner, err := wire.ParseHeader(message)
	same := inner.InitiatorCookie == h.InitiatorCookie && inner.ResponderCookie == h.ResponderCookie
	if err != nil || !same || inner.Version>>4 != h.Version>>4 || inner.NextPayload == wire.PayloadFragment {
		e.drop(d, DropMalformed)
		return
	}
	d.Payload = message
	e.dispatch(d, inner)
}

// split returns the datagrams that a message goes to the peer in: one, unless it is long and the peer takes fragments.
func (sa *isakmpSA) split(message []byte) [][]byte {
	most := sa.maxPayload()
	// Message 2 is whole in any case: with the headers of fragments it could be more than the question.
	if !sa.peer.fragmentation || sa.state == awaitMessage3 || sa.state == awaitHashI || len(message) <= most {
		return [][]byte{message}
	}
	most -= wire.HeaderLen + wire.FragmentHeaderLen
	// Exchange and message ID are those that strongSwan and racoon put into all fragments, whatever the message is.
	header := sa.header()
	id := fragmentID(message)
	var parts [][]byte
	for n := uint8(1); len(message) > 0; n++ {
		size := min(most, len(message))
		parts = append(parts, wire.Message(header, wire.Fragment{ID: id, Number: n, Last: size == len(message), Data: message[:size]}))
		message = message[size:]
	}
	return parts
}

// maxPayload returns the length of the longest message that fits into a packet of maxPacket octets.
func (sa *isakmpSA) maxPayload() int {
	most := maxPacket - 40 - 8 // IPv6, UDP
	if sa.remote.Addr().Unmap().Is4() {
		most = maxPacket - 20 - 8
	}
	if sa.encapsulated {
		most -= 4 // non-ESP marker
	}
	return most
}

// fragmentID derives an ID from a message, so that the fragments of a repetition complete those of the first time.
func fragmentID(message []byte) uint16 {
	sum := sha256.Sum256(message)
	return max(uint16(sum[0])<<8|uint16(sum[1]), 1)
}
