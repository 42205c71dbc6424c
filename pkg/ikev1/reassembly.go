package ikev1

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Limits of reassembly. The memory that strangers can take is apart from that of the clients, whom they cannot push out.
const (
	maxFragments   = 32 // of one message: Windows sends 29 for a long chain of certificates
	reassemblyLife = 30 * time.Second

	strangersReassembly = 1 << 20 // octets of all messages under reassembly for SAs that are not authenticated
	clientsReassembly   = 4 << 20 // the same for those that are

	fragmentSetCost = 1536 // octets that a message under reassembly counts beside its data
)

// fragmentSet is a message under reassembly. The pieces are in an array, by their numbers: what a fragment costs does not depend on
// those before it.
//
// Fragments are not authenticated, and racoon and strongSwan give all messages the same ID. So the newest counts: a fragment
// that contradicts an older one replaces it. Neither what is left of another message nor a forged fragment sent beforehand can
// spoil the message then, and whoever forges one in between costs a retransmission.
type fragmentSet struct {
	sa    *isakmpSA
	pool  *fragmentPool
	place *list.Element // in pool.sets
	begun time.Time

	id     uint16
	last   int // number of the last fragment, 0 while it is not known
	held   int // pieces that are there
	size   int // their octets
	pieces [maxFragments][]byte
}

// fragmentOutcome is what became of a fragment.
type fragmentOutcome uint8

const (
	fragmentKept     fragmentOutcome = iota
	fragmentRepeated                 // it was there already
	fragmentTooLarge                 // the message is too large with it: nothing of it is kept but this fragment
)

// put takes one fragment, whose number is within maxFragments.
func (s *fragmentSet) put(f wire.Fragment) fragmentOutcome {
	outcome, number := fragmentKept, int(f.Number)
	old := s.pieces[number-1]
	if bytes.Equal(old, f.Data) && f.Last == (number == s.last) {
		return fragmentRepeated
	}
	if s.size-len(old)+len(f.Data) > wire.MaxMessage {
		s.clear()
		outcome = fragmentTooLarge
	}
	s.set(number, bytes.Clone(f.Data))
	switch {
	case f.Last:
		s.last = number
		for n := number + 1; n <= maxFragments; n++ {
			s.set(n, nil)
		}
	case number >= s.last:
		s.last = 0
	}
	return outcome
}

// set replaces a piece, nil for none.
func (s *fragmentSet) set(number int, data []byte) {
	old := &s.pieces[number-1]
	s.size += len(data) - len(*old)
	s.pool.size += len(data) - len(*old)
	switch {
	case *old == nil && data != nil:
		s.held++
	case *old != nil && data == nil:
		s.held--
	}
	*old = data
}

// clear removes all pieces.
func (s *fragmentSet) clear() {
	for n := 1; n <= maxFragments; n++ {
		s.set(n, nil)
	}
	s.last = 0
}

// message returns the whole message. false: it is not complete. Pieces of two messages that fit together by chance are seldom
// exactly as long as the header says; then the right ones may still come.
func (s *fragmentSet) message() ([]byte, bool) {
	if s.last == 0 || s.held != s.last {
		return nil, false
	}
	var header [wire.HeaderLen]byte
	n := 0
	for _, piece := range s.pieces[:s.last] {
		n += copy(header[n:], piece)
	}
	if n < len(header) || uint64(binary.BigEndian.Uint32(header[wire.HeaderLen-4:])) != uint64(s.size) {
		return nil, false
	}
	whole := make([]byte, 0, s.size)
	for _, piece := range s.pieces[:s.last] {
		whole = append(whole, piece...)
	}
	return whole, true
}

// fragmentPool holds messages under reassembly, the one that was begun first at the front.
type fragmentPool struct {
	sets        list.List
	size, limit int // octets
}

// begin starts the reassembly of a message, instead of what there was of another one.
func (p *fragmentPool) begin(sa *isakmpSA, id uint16, now time.Time) *fragmentSet {
	s := &fragmentSet{sa: sa, pool: p, id: id, begun: now}
	s.place = p.sets.PushBack(s)
	p.size += fragmentSetCost
	sa.fragments = s
	return s
}

// end forgets a message.
func (s *fragmentSet) end() {
	s.clear()
	s.pool.size -= fragmentSetCost
	s.pool.sets.Remove(s.place)
	s.sa.fragments = nil
}

// surplus returns a message that has to go: the time of the oldest is over, or all are more than the limit. Then it is the oldest one
// too, as fragments come in one go: a flood pushes itself out. nil: there is none.
func (p *fragmentPool) surplus(now time.Time) *fragmentSet {
	front := p.sets.Front()
	if front == nil {
		return nil
	}
	s := front.Value.(*fragmentSet)
	if p.size <= p.limit && now.Sub(s.begun) < reassemblyLife {
		return nil
	}
	return s
}
