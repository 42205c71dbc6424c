package keeper

import (
	"os"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// TestSessions: the number of sessions, which is bounded, is that of the files.
func TestSessions(t *testing.T) {
	var s sessions
	id := func(tunnel, session uint32) protocol.SessionID {
		return protocol.SessionID{Tunnel: tunnel, Session: session}
	}
	expect := func(what string, n int) {
		t.Helper()
		all := 0
		for id, f := range s.all() {
			all++
			if s.get(id) != f {
				t.Errorf("%s: %v is another file", what, id)
			}
		}
		if s.count != n || all != n {
			t.Errorf("%s: counted %d, there are %d, want %d", what, s.count, all, n)
		}
	}
	expect("new", 0)
	for _, i := range []protocol.SessionID{id(1, 1), id(1, 2), id(2, 1)} {
		s.put(i, os.Stdin)
	}
	expect("after three", 3)
	if s.take(id(1, 3)) != nil || s.take(id(3, 1)) != nil || s.takeTunnel(3) != nil {
		t.Error("took what is not there")
	}
	expect("after nothing was taken", 3)
	if s.take(id(2, 1)) == nil || len(s.tunnels) != 1 {
		t.Errorf("tunnels left: %v", s.tunnels)
	}
	if files := s.takeTunnel(1); len(files) != 2 {
		t.Errorf("took %d", len(files))
	}
	expect("at the end", 0)
}
