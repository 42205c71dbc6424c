package client

import (
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// TestEarlyEnd: a pppd of the inventory may end before it is adopted.
func TestEarlyEnd(t *testing.T) {
	c := &Conn{
		pending: make(map[uint32]chan protocol.Message), processes: make(map[string]*Process), exits: make(map[string]protocol.Process),
	}
	c.events = newEvents()
	defer c.events.close()
	running := protocol.Process{Interface: "l2t1-1", PID: 7}
	ended := running
	ended.Exit = &pppd.Exit{Code: pppd.ExitPeerDead}
	body, err := protocol.Marshal(ended)
	if err != nil {
		t.Fatal(err)
	}
	end := protocol.Message{Kind: protocol.Event, Op: protocol.OpPPPEnded, Body: body}
	c.ended(end)
	for _, tt := range []struct {
		pid  int
		want bool
	}{{8, false}, {7, false}} { // another process of the same interface; and the end of the first was for that one only
		p, err := c.PPP().Adopt(protocol.Process{Interface: "l2t1-1", PID: tt.pid}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if over(p) != tt.want {
			t.Errorf("process %d is over: %v", tt.pid, over(p))
		}
		c.drop(p)
	}
	c.ended(end)
	p, err := c.PPP().Adopt(running, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !over(p) || p.exit.Code != pppd.ExitPeerDead {
		t.Errorf("the end of an adopted pppd is not known: %+v", p)
	}
}

func over(p *Process) bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
