package xfrm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Sequence are the highest sequence numbers of ESP packets so far, 32 bits wide, or 64 with ESN.
type Sequence struct {
	Sent, Received uint64
}

// validateSequence finds what the kernel would refuse of the replay state.
func (s *State) validateSequence() error {
	switch {
	case s.ReplayWindow > MaxReplayWindow:
		return fmt.Errorf("replay window of %d packets is above %d", s.ReplayWindow, MaxReplayWindow)
	case s.Direction == Out && s.ReplayWindow != 0:
		return errors.New("a replay window is for inbound SAs only")
	case s.ESN && s.Direction != Out && s.ReplayWindow == 0:
		return errors.New("extended sequence numbers need a replay window (RFC 4303 section 3.4.3)")
	case !s.ESN && max(s.Sequence.Sent, s.Sequence.Received) > math.MaxUint32:
		return errors.New("a sequence number above 32 bits needs ESN")
	case s.Direction == In && s.Sequence.Sent != 0, s.Direction == Out && s.Sequence.Received != 0:
		return errors.New("an SA has sequence numbers of its own direction only")
	}
	return nil
}

// appendReplay appends XFRMA_REPLAY_ESN_VAL, unless all is as it is without it. usersa_info.replay_window is capped at 32,
// so the window always goes here: without XFRM_STATE_ESN the kernel takes this as a longer bitmap with 32-bit numbers.
func (s *State) appendReplay(b []byte) []byte {
	if s.ReplayWindow == 0 && !s.ESN && s.Sequence == (Sequence{}) {
		return b
	}
	words := (s.ReplayWindow + 31) / 32
	v := make([]byte, sizeReplayESN+4*words)
	native.PutUint32(v[0:], words)
	native.PutUint32(v[4:], uint32(s.Sequence.Sent))
	native.PutUint32(v[8:], uint32(s.Sequence.Received))
	native.PutUint32(v[12:], uint32(s.Sequence.Sent>>32))
	native.PutUint32(v[16:], uint32(s.Sequence.Received>>32))
	native.PutUint32(v[20:], s.ReplayWindow)
	if len(s.seen) == int(4*words) {
		copy(v[sizeReplayESN:], s.seen)
	}
	return appendAttribute(b, attrReplayESN, v)
}

// parseReplayESN reads XFRMA_REPLAY_ESN_VAL. s.ESN is known before.
func (s *State) parseReplayESN(b []byte) error {
	if len(b) < sizeReplayESN {
		return fmt.Errorf("replay state of %d octets is shorter than %d", len(b), sizeReplayESN)
	}
	window := native.Uint32(b[20:])
	if window > MaxReplayWindow {
		return fmt.Errorf("replay window of %d packets is above %d", window, MaxReplayWindow)
	}
	s.ReplayWindow = window
	s.seen = nil
	if bitmap := b[sizeReplayESN:]; uint64(len(bitmap)) == 4*uint64((window+31)/32) && slices.ContainsFunc(bitmap, func(o byte) bool { return o != 0 }) {
		s.seen = bytes.Clone(bitmap)
	}
	s.Sequence = Sequence{Sent: uint64(native.Uint32(b[4:])), Received: uint64(native.Uint32(b[8:]))}
	if s.ESN {
		s.Sequence.Sent |= uint64(native.Uint32(b[12:])) << 32
		s.Sequence.Received |= uint64(native.Uint32(b[16:])) << 32
	}
	return nil
}

// parseReplay reads XFRMA_REPLAY_VAL, which the kernel has instead for an SA that was added without a window and without ESN.
func (s *State) parseReplay(b []byte) error {
	if len(b) < sizeReplay {
		return fmt.Errorf("replay state of %d octets is shorter than %d", len(b), sizeReplay)
	}
	s.Sequence = Sequence{Sent: uint64(native.Uint32(b[0:])), Received: uint64(native.Uint32(b[4:]))}
	return nil
}
