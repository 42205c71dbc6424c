package keeper

import (
	"iter"
	"os"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// sessions are PPPoL2TP sockets by tunnel and session: the end of a slot must not look at those of all others.
type sessions map[uint32]map[uint32]*os.File

// get returns nil for a session that is not there.
func (s sessions) get(id protocol.SessionID) *os.File { return s[id.Tunnel][id.Session] }

// all returns those of all tunnels.
func (s sessions) all() iter.Seq2[protocol.SessionID, *os.File] {
	return func(yield func(protocol.SessionID, *os.File) bool) {
		for tunnel, files := range s {
			for session, f := range files {
				if !yield(protocol.SessionID{Tunnel: tunnel, Session: session}, f) {
					return
				}
			}
		}
	}
}

func (s sessions) put(id protocol.SessionID, f *os.File) {
	if s[id.Tunnel] == nil {
		s[id.Tunnel] = make(map[uint32]*os.File)
	}
	s[id.Tunnel][id.Session] = f
}

// take is get, and the session is not there any more.
func (s sessions) take(id protocol.SessionID) *os.File {
	f := s[id.Tunnel][id.Session]
	delete(s[id.Tunnel], id.Session)
	if len(s[id.Tunnel]) == 0 {
		delete(s, id.Tunnel)
	}
	return f
}

// takeTunnel is take for all sessions of a tunnel.
func (s sessions) takeTunnel(tunnel uint32) (files []*os.File) {
	for _, f := range s[tunnel] {
		files = append(files, f)
	}
	delete(s, tunnel)
	return files
}
