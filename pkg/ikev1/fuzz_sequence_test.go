package ikev1_test

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// FuzzSequence lets three peers do what a program of octets says, in any order: go on as they should, repeat and damage old messages,
// send what nobody expects, change their port, vanish for hours, while actions take their time or fail, and the engine is another one now and
// then. The engine must not panic, must
// give a stranger no more than it was given, and must come to rest afterwards with nothing left.
func FuzzSequence(f *testing.F) {
	step := func(peer byte) []byte { return []byte{opStep, peer} }
	connect := bytes.Repeat(step(0), 5)
	f.Add(connect)
	f.Add(append(bytes.Clone(connect), opInform, 0, 1, opStep, 0, opStep, 0, opElapse, 3, opMove, 0, 9, opInform, 0, 4))
	f.Add([]byte{opStep, 0, opStep, 1, opRepeat, 0, opStep, 0, opDamage, 1, 0, 40, opStep, 1, opStep, 0, opCut, 2, 30, opRekey, 0, opElapse, 5})
	f.Add([]byte{opHold, opStep, 0, opStep, 0, opElapse, 4, opHold, opStep, 1, opStep, 1, opStep, 1, opFault, opStep, 1, opStep, 1, opClose, 1, opFragments, 3, 64})
	f.Add(append(bytes.Clone(connect), opRestart, opHold, opStep, 0, opRestart, opStep, 0, opHold, opStep, 0, opRestart, opElapse, 3, opRestart, opElapse, 4))
	f.Add(append(bytes.Clone(connect), opSealed, 0, 3, 12, 4, 0, 0, 0, 8, opSealed, 0, 4, 1, 2, 1, 2, opRaw, 6, 1, 2, 3, 4, 5, 6))
	f.Fuzz(func(t *testing.T, program []byte) {
		w := newWorld(t)
		s := &sequence{world: w, program: program[:min(len(program), 400)]} // beyond it is more of the same
		for i := range s.actors {
			s.actors[i] = &actor{Peer: newPeer(uint64(i + 1))}
			if i == 1 {
				s.actors[i].BehindNAT(1024, 4501)
			}
			if i == 2 {
				s.actors[i].VendorIDs = append(s.actors[i].VendorIDs, ikev1test.VendorDPD)
			}
		}
		for len(s.program) > 0 {
			s.operation()
		}
		w.fault = nil
		w.release()
		w.elapse(8 * 24 * time.Hour)
		w.empty("everything has expired")
	})
}

// The operations of a program. Each takes the octets that it needs; those that are missing are zero.
const (
	opStep byte = iota
	opRepeat
	opDamage
	opCut
	opRaw
	opElapse
	opInform
	opMove
	opSealed
	opClose
	opHold
	opFault
	opRekey
	opFragments
	opRestart
	operations
)

// sequence is the run of a program.
type sequence struct {
	*world
	program []byte
	actors  [3]*actor
	history []said
}

type said struct {
	actor   *actor
	payload []byte
}

// actor is a peer with what it is about to do.
type actor struct {
	*ikev1test.Peer
	mode  *ikev1test.MainMode
	quick *ikev1test.QuickMode
	stage int // messages of the story that were sent: Main Mode 1, 3, 5, Quick Mode 1, 3
	id    uint32
}

func (s *sequence) next() byte {
	if len(s.program) == 0 {
		return 0
	}
	b := s.program[0]
	s.program = s.program[1:]
	return b
}

func (s *sequence) actor() *actor { return s.actors[int(s.next())%len(s.actors)] }

func (s *sequence) old() (said, bool) {
	n := int(s.next())
	if len(s.history) == 0 {
		return said{}, false
	}
	return s.history[n%len(s.history)], true
}

// speak sends a message of an actor and returns the last answer, nil for none.
func (s *sequence) speak(a *actor, payload []byte) []byte {
	s.take() // what the engine said by itself in the meantime
	strange := len(s.engine.Clients()) == 0
	s.history = append(s.history, said{a, payload})
	var last []byte
	out := 0
	for _, d := range s.say(a.Peer, payload) {
		last = d.Payload
		out += len(d.Payload)
	}
	if h, err := wire.ParseHeader(payload); strange && out > len(payload) && (err != nil || h.ResponderCookie == wire.Cookie{}) {
		s.t.Errorf("a stranger sent %d octets and got %d", len(payload), out)
	}
	return last
}

func (s *sequence) operation() {
	switch op := s.next() % operations; op {
	case opStep:
		s.step(s.actor())
	case opRepeat:
		if m, ok := s.old(); ok {
			s.speak(m.actor, m.payload)
		}
	case opDamage, opCut:
		m, ok := s.old()
		at := int(s.next())<<8 | int(s.next())
		if !ok || len(m.payload) == 0 {
			return
		}
		b := bytes.Clone(m.payload)
		if at %= len(b); op == opCut {
			b = b[:at]
		} else {
			b[at] ^= s.next() | 1
		}
		s.speak(m.actor, b)
	case opRaw:
		n := min(int(s.next()), len(s.program))
		s.speak(s.actors[0], s.program[:n])
		s.program = s.program[n:]
	case opElapse:
		s.elapse([]time.Duration{time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 9 * time.Hour}[s.next()%6])
	case opInform:
		s.inform(s.actor())
	case opMove:
		a := s.actor()
		a.Addr = netip.AddrPortFrom(a.Addr.Addr(), 1024+uint16(s.next()))
	case opSealed:
		a, form1, first := s.actor(), s.next()%5, wire.PayloadType(s.next())
		n := min(int(s.next()), len(s.program))
		if a.mode != nil && a.stage >= 3 {
			s.speak(a, form(a.mode, form1, first, s.program[:n]))
		}
		s.program = s.program[n:]
	case opClose, opRekey:
		list := s.engine.Clients()
		if n := int(s.next()); len(list) > 0 {
			id := list[n%len(list)].ID
			if op == opClose {
				s.absorb(s.engine.CloseClient(s.now, id, "closed by the program"))
			} else {
				s.absorb(s.engine.Rekey(s.now, id))
			}
			s.take()
		}
	case opHold:
		if s.hold != nil {
			s.release()
			s.take()
		} else {
			s.hold = func(ikev1.Action) bool { return true }
		}
	case opFault:
		if s.fault == nil {
			s.fault = func(a ikev1.Action) error {
				if _, removal := a.(ikev1.RemoveChild); removal {
					return nil
				}
				return errors.New("it fails")
			}
		} else {
			s.fault = nil
		}
	case opRestart:
		s.restart()
		s.take()
	case opFragments:
		m, ok := s.old()
		if size := int(s.next()) + 1; ok && len(m.payload) > 0 && len(m.payload)/size < 40 {
			for _, part := range ikev1test.Fragments(m.payload, uint16(len(s.history)), size) {
				s.speak(m.actor, part)
			}
		}
	}
}

// step does what an honest peer does next, and begins anew when the answer is not what it should be.
func (s *sequence) step(a *actor) {
	var err error
	switch a.stage {
	case 0:
		a.mode = a.MainMode()
		err = a.mode.TakeMessage2(s.speak(a, a.mode.Message1()))
	case 1:
		err = a.mode.TakeMessage4(s.speak(a, a.mode.Message3()))
	case 2:
		err = a.mode.TakeMessage6(s.speak(a, a.mode.Message5()))
	case 3:
		a.id++
		a.quick = a.mode.QuickMode(a.id, func(q *ikev1test.QuickMode) {
			if a.id%3 == 0 {
				q.PFS = dh.ECP256
				q.Propose(ikev1test.ESPTransform(1, 12, 256, 2, 2, wire.ShortAttribute(wire.AttrSAGroup, uint16(dh.ECP256))))
			}
		})
		err = a.quick.TakeMessage2(s.speak(a, a.quick.Message1()))
	case 4:
		s.speak(a, a.quick.Message3())
		a.stage = 2 // another Quick Mode comes next
	}
	if a.stage++; err != nil {
		a.stage = 0
		if a.mode != nil && a.id > 0 {
			a.stage = 3
		}
	}
}

// inform sends an authentic Informational message.
func (s *sequence) inform(a *actor) {
	what := s.next()
	if a.mode == nil || a.stage < 3 {
		return
	}
	var p []wire.Payload
	switch what % 6 {
	case 0:
		p = append(p, a.mode.DeleteISAKMP())
	case 1:
		p = append(p, a.mode.InitialContact())
	case 2:
		p = append(p, a.mode.DPD(wire.NotifyRUThere, uint32(what)))
	case 3:
		p = append(p, a.mode.DPD(wire.NotifyRUThereAck, uint32(what)))
	case 4:
		p = append(p, wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: wire.NotifyNoProposalChosen})
	case 5:
		if a.quick != nil {
			p = append(p, a.quick.DeleteESP(), a.quick.DeleteESP())
		}
	}
	if len(p) > 0 {
		s.speak(a, a.mode.Informational(p...))
	}
}
