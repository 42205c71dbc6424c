package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// confrontation is every message of a dialogue against every state of an engine. The dialogue is recorded once. The engine draws the same
// numbers each time, so what was recorded is genuine in any state that the same engine is brought to.
type confrontation struct {
	start    func(t testing.TB) *world // a new engine
	messages []message
	states   []state
}

// message is one that the engine can be sent, in one datagram or in fragments.
type message struct {
	name      string
	datagrams []ikev1.Datagram

	// welcome are the states in which it is what it seems to be, and changes something, by their names; "*" stands for all.
	welcome []string

	// stranger says that it brings a cookie that nobody knows, as messages 1 and 2 do: another one is as good.
	stranger bool
}

// state is reached from the one before by doing something.
type state struct {
	name string
	do   func(w *world)
}

// at brings a new engine to a state.
func (m *confrontation) at(t testing.TB, name string) *world {
	w := m.start(t)
	for _, s := range m.states {
		s.do(w)
		if s.name == name {
			break
		}
	}
	w.take()
	w.events = nil
	return w
}

func (m message) welcomeIn(state string) bool {
	return slices.Contains(m.welcome, state) || slices.Contains(m.welcome, "*")
}

// variant spoils the last datagram of a message; nil: it cannot. A variant may be what the message is already, as a number of zero.
type variant struct {
	name  string
	spoil func(m message, b []byte) []byte
}

func (m message) encrypted() bool {
	h, err := wire.ParseHeader(m.datagrams[0].Payload)
	return err == nil && h.Flags&wire.FlagEncryption != 0 && h.NextPayload != wire.PayloadFragment
}

// Offsets in the header of a message (RFC 2408 section 3.1).
const (
	atResponderCookie = 8
	atMessageID       = 20
	atLength          = 24
)

func variants(length int) []variant {
	flip := func(at int) func(message, []byte) []byte {
		return func(m message, b []byte) []byte {
			if m.stranger && at < atMessageID {
				return nil
			}
			b[at] ^= 0x40
			return b
		}
	}
	list := []variant{
		{"as it is", func(_ message, b []byte) []byte { return b }},
		{"of another ISAKMP SA", flip(atResponderCookie + 3)},
		{"of nobody", flip(3)},
		{"with the message ID 0", func(_ message, b []byte) []byte { copy(b[atMessageID:], "\x00\x00\x00\x00"); return b }},
		{"with the message ID 1", func(_ message, b []byte) []byte { copy(b[atMessageID:], "\x00\x00\x00\x01"); return b }},
		{"with its HASH spoilt", func(m message, b []byte) []byte {
			if !m.encrypted() {
				return nil
			}
			return flip(wire.HeaderLen+9)(m, b)
		}},
		{"with its last octet changed", func(m message, b []byte) []byte {
			if !m.encrypted() {
				return nil
			}
			return flip(len(b)-1)(m, b)
		}},
		{"with an octet too many", func(m message, b []byte) []byte {
			if !m.encrypted() {
				return nil // octets behind the last payload mean nothing
			}
			b = append(b, 0)
			binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)))
			return b
		}},
		{"decrypted by its header", func(m message, b []byte) []byte {
			if !m.encrypted() {
				return nil
			}
			b[19] &^= byte(wire.FlagEncryption)
			return b
		}},
	}
	for n := 0; n < length; n += max(1, length/60) {
		list = append(list, variant{fmt.Sprintf("cut after %d octets", n), func(_ message, b []byte) []byte { return b[:min(n, len(b))] }})
		if n > wire.HeaderLen {
			list = append(list, variant{fmt.Sprintf("made %d octets long", n), func(_ message, b []byte) []byte {
				b = b[:min(n, len(b))]
				binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)))
				return b
			}})
		}
	}
	return list
}

// row is one state of the matrix while messages are tried on it.
type row struct {
	*testing.T
	m       *confrontation
	state   string
	w       *world
	cells   int
	answers map[string]int // by message
	reasons map[ikev1.DropReason]int
}

// play sends every variant of every message in every state. Only what is welcome may change anything; all the rest changes nothing,
// gets no more answers than a repetition does, and is counted with a reason.
func (m *confrontation) play(t *testing.T) {
	cells, reasons := 0, map[ikev1.DropReason]int{}
	for _, s := range m.states {
		t.Run(s.name, func(t *testing.T) {
			r := row{t, m, s.name, m.at(t, s.name), 0, map[string]int{}, reasons}
			for _, msg := range m.messages {
				last := msg.datagrams[len(msg.datagrams)-1].Payload
				if msg.welcomeIn(s.name) {
					r.welcome(msg)
				}
				for _, v := range variants(len(last)) {
					spoilt := v.spoil(msg, bytes.Clone(last))
					if spoilt != nil && !(msg.welcomeIn(s.name) && bytes.Equal(spoilt, last)) {
						r.unwelcome(msg, spoilt, v.name)
					}
				}
			}
			for name, n := range r.answers {
				if n > maxAnswers-1 {
					t.Errorf("%d answers to %s", n, name)
				}
			}
			cells += r.cells
		})
	}
	t.Logf("%d cells, drops: %v", cells, reasons)
	if cells < 5000 || len(reasons) < 7 {
		t.Error("that is not a whole matrix")
	}
}

// welcome sends a message to an engine of its own.
func (r *row) welcome(msg message) {
	w := r.m.at(r, r.state)
	before := ikev1.Fingerprint(w.engine)
	w.hold = func(ikev1.Action) bool { return true }
	for _, d := range msg.datagrams {
		w.deliver(d)
	}
	if ikev1.Fingerprint(w.engine) == before {
		r.Errorf("%s changes nothing: %v", msg.name, w.events)
	}
}

// unwelcome sends a message that is not genuine, or out of place.
func (r *row) unwelcome(msg message, last []byte, variant string) {
	r.cells++
	w := r.w
	before, mark, answers := ikev1.Fingerprint(w.engine), len(w.events), 0
	for i, d := range msg.datagrams {
		if i == len(msg.datagrams)-1 {
			d.Payload = last
		}
		answers += len(w.deliver(d))
	}
	r.answers[msg.name] += answers
	drops := 0
	for _, ev := range w.events[mark:] {
		switch ev := ev.(type) {
		case ikev1.Dropped:
			drops++
			r.reasons[ev.Reason]++
		case ikev1.Panicked:
			r.Errorf("%s, %s: %v\n%s", msg.name, variant, ev, ev.Stack)
		}
	}
	if drops+answers == 0 {
		r.Errorf("%s, %s: neither answered nor counted", msg.name, variant)
	}
	if after := ikev1.Fingerprint(w.engine); after != before {
		r.Errorf("%s, %s, changes\n%s\ninto\n%s", msg.name, variant, before, after)
		r.w = r.m.at(r, r.state)
	}
}
