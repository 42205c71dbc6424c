package l2tp

import "bytes"

// Record is the state of one slot, for an engine that takes this one's place: see Engine.Restore. It has to be written down after the
// actions of the same Output are on their way and before its datagrams are sent, so that no peer has an answer that nobody
// remembers. A later Record of the slot replaces it.
//
// It holds no secrets.
type Record struct {
	Tunnel uint16 // the slot
	State  []byte // CBOR, with a version inside; nil: nothing is left of the slot. Not to be changed
}

// record puts the state of a slot into the output, if it is not what was last recorded.
func (st *step) record(s *slot) {
	var state []byte
	if !s.empty() {
		var err error
		if state, err = st.e.codec.encode(s); err != nil {
			st.event(Dropped{Tunnel: s.id, Reason: DropUnrecorded})
			return
		}
	}
	if bytes.Equal(state, s.recorded) {
		return
	}
	s.recorded = bytes.Clone(state)
	st.out.Records = append(st.out.Records, Record{Tunnel: s.id, State: s.recorded})
}
