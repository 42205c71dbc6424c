package ikev1_test

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// TestRepetitions sends each message of the matrices a hundred times in each state, spread over some seconds. However often a stranger
// repeats itself, it is answered as often as a path that loses something may need, and a peer that is authentic a little more often.
func TestRepetitions(t *testing.T) {
	for name, m := range map[string]*confrontation{
		"responder": responderMatrix(t), "initiator": initiatorMatrix(t), "Aggressive Mode": aggressiveMatrix(t),
	} {
		t.Run(name, func(t *testing.T) {
			answered, most := 0, 0
			for _, s := range m.states {
				for _, msg := range m.messages {
					w := m.at(t, s.name)
					w.hold = nil
					w.release()
					w.take()
					answers, computed := 0, len(w.seen)
					for range 100 {
						for _, d := range msg.datagrams {
							answers += len(w.deliver(d))
						}
					}
					limit := maxAnswersBefore
					if len(w.engine.Clients()) > 0 {
						limit = maxAnswers
					}
					if answers > limit {
						t.Errorf("%s: %d answers to 100 times %s", s.name, answers, msg.name)
					}
					// A Diffie-Hellman and an installation, or an installation and a removal.
					if n := len(w.seen) - computed; n > 2 {
						t.Errorf("%s: %d actions for 100 times %s", s.name, n, msg.name)
					}
					answered, most = answered+answers, max(most, answers)
				}
			}
			t.Logf("%d answers in all, at most %d to one message", answered, most)
			if most < maxAnswersBefore {
				t.Error("not one repetition is answered")
			}
		})
	}
}

// TestAmplification: a stranger who sends the first message of any client in somebody else's name gets less than it sends, from
// then on until nothing is left of it, however often it does so. A refusal leaves nothing by which its repetitions could be known, so there
// are ten in a second, to all strangers together.
func TestAmplification(t *testing.T) {
	cells := 0
	for _, row := range matrix {
		k := kindNamed(t, row.kind)
		for _, profile := range []ikev1.Profile{ikev1.Modern, ikev1.Compatible, ikev1.Legacy} {
			for _, encapsulated := range []bool{false, true} {
				for _, times := range []int{1, 100} {
					w := newWorld(t, withProfile(profile), func(c *ikev1.Config) { c.ForceEncapsulation = encapsulated })
					p := clientOf(k, 1)
					p.Encapsulated = encapsulated
					one := p.MainMode().Message1()
					in, out, answers := 0, 0, 0
					for range times {
						in += len(one)
						first := 0
						for _, d := range w.say(p, one) {
							first += len(d.Payload)
							answers++
						}
						if out += first; first > len(one) {
							t.Errorf("%s, %s: %d octets for %d", row.kind, profile, first, len(one))
						}
					}
					w.elapse(10 * time.Minute)
					for _, d := range w.take() {
						out += len(d.Payload)
						t.Errorf("%s, %s: %d octets nobody has asked for", row.kind, profile, len(d.Payload))
					}
					most := maxAnswersBefore
					if dropped(w, ikev1.DropNoProposal) > 0 {
						most = 10
					}
					if out > in || answers > most {
						t.Errorf("%s, %s: %d answers of %d octets for %d times %d", row.kind, profile, answers, out, times, len(one))
					}
					w.empty("the handshake has timed out")
					cells++
				}
			}
		}
	}
	t.Logf("%d floods", cells)
}
