package ikev1_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// TestRestartIsInvisible brings two engines to the same state, and restarts one. From then on both must say and do the same, to the octet, whatever
// they are told, and when time passes. The states are those of which all is recorded.
func TestRestartIsInvisible(t *testing.T) {
	for name, c := range map[string]struct {
		matrix *confrontation
		states []string
	}{
		"responder":       {responderMatrix(t), []string{"established", "asking", "Quick Mode message 2 sent", "installing outbound", "child"}},
		"initiator":       {initiatorMatrix(t), []string{"installing outbound", "child"}},
		"Aggressive Mode": {aggressiveMatrix(t), []string{"established"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, state := range c.states {
				for _, msg := range c.matrix.messages {
					for _, wait := range []time.Duration{0, 40 * time.Second} {
						twins := [2]*world{c.matrix.at(t, state), c.matrix.at(t, state)}
						twins[1].hold = func(ikev1.Action) bool { return true }
						if len(twins[0].held) == 0 {
							twins[1].hold = nil
						}
						twins[1].restart()
						var stories [2]string
						for i, w := range twins {
							stories[i] = w.story(msg, wait)
						}
						if stories[0] != stories[1] {
							t.Fatalf("%s, %s after %v: without a restart\n%s\nafter one\n%s", state, msg.name, wait, stories[0], stories[1])
						}
						if a, b := ikev1.States(twins[0].engine), ikev1.States(twins[1].engine); !reflect.DeepEqual(a, b) {
							t.Errorf("%s, %s after %v: the states differ", state, msg.name, wait)
						}
					}
				}
			}
		})
	}
}

// story tells all that becomes of a message, and of the time after it.
func (w *world) story(msg message, wait time.Duration) string {
	var said []string
	note := func(list []ikev1.Datagram) {
		for _, d := range list {
			said = append(said, fmt.Sprintf("%v %v %v %x", d.Local, d.Remote, d.Encapsulated, d.Payload))
		}
	}
	w.elapse(wait)
	for _, d := range msg.datagrams {
		note(w.deliver(d))
	}
	w.hold = nil
	w.release()
	for range 20 {
		w.elapse(47 * time.Second)
	}
	note(w.take())
	installed := w.engine.Installed()
	return fmt.Sprintf("said %v\nhappened %v\nremoved %+v\ninstalled %+v\nnext %v", said, w.events, len(w.removed), installed, w.engine.Next().UTC())
}
