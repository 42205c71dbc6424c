package l2tp

import (
	"encoding/binary"
	"io"
)

// recentIDs is how many session ids are remembered: kernels delete sessions late, and frames of an old call may be on the way.
const recentIDs = 4096

// sessionIDs hands out session ids that cannot be guessed, are not zero, and were not used in the same tunnel of late.
type sessionIDs struct {
	rand   io.Reader
	ring   []sessionKey
	oldest int
	recent map[sessionKey]struct{}
}

type sessionKey struct{ tunnel, session uint16 }

func newSessionIDs(rand io.Reader) sessionIDs {
	return sessionIDs{rand: rand, recent: make(map[sessionKey]struct{})}
}

// draw returns a new id for a session of t, or false if the source of randomness gives none that is free.
func (s *sessionIDs) draw(t *tunnel) (uint16, bool) {
	const attempts = 32
	for range attempts {
		var b [2]byte
		if _, err := io.ReadFull(s.rand, b[:]); err != nil {
			return 0, false
		}
		key := sessionKey{t.slot.id, binary.BigEndian.Uint16(b[:])}
		_, used := s.recent[key]
		if used || key.session == 0 || t.sessions[key.session] != nil || t.leaving[key.session] != nil {
			continue
		}
		s.remember(key)
		return key.session, true
	}
	return 0, false
}

func (s *sessionIDs) remember(key sessionKey) {
	s.recent[key] = struct{}{}
	if len(s.ring) < recentIDs {
		s.ring = append(s.ring, key)
		return
	}
	delete(s.recent, s.ring[s.oldest])
	s.ring[s.oldest] = key
	s.oldest = (s.oldest + 1) % recentIDs
}
