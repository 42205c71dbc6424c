package keeper

import (
	"iter"
	"os"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// maxSessions is how many there may be, and how many pppd: more than a machine can serve, and few enough to list.
const maxSessions = 1 << 16

// sessions are PPPoL2TP sockets by tunnel and session: the end of a slot must not look at those of all others.
type sessions struct {
	tunnels map[uint32]map[uint32]*os.File
	count   int
}

// get returns nil for a session that is not there.
func (s *sessions) get(id protocol.SessionID) *os.File { return s.tunnels[id.Tunnel][id.Session] }

// all returns those of all tunnels.
func (s *sessions) all() iter.Seq2[protocol.SessionID, *os.File] {
	return func(yield func(protocol.SessionID, *os.File) bool) {
		for tunnel, files := range s.tunnels {
			for session, f := range files {
				if !yield(protocol.SessionID{Tunnel: tunnel, Session: session}, f) {
					return
				}
			}
		}
	}
}

// put is for a session that is not there.
func (s *sessions) put(id protocol.SessionID, f *os.File) {
	if s.tunnels == nil {
		s.tunnels = make(map[uint32]map[uint32]*os.File)
	}
	if s.tunnels[id.Tunnel] == nil {
		s.tunnels[id.Tunnel] = make(map[uint32]*os.File)
	}
	s.tunnels[id.Tunnel][id.Session] = f
	s.count++
}

// take is get, and the session is not there any more.
func (s *sessions) take(id protocol.SessionID) *os.File {
	files := s.tunnels[id.Tunnel]
	f := files[id.Session]
	if f == nil {
		return nil
	}
	s.count--
	if delete(files, id.Session); len(files) == 0 {
		delete(s.tunnels, id.Tunnel)
	}
	return f
}

// takeTunnel is take for all sessions of a tunnel.
func (s *sessions) takeTunnel(tunnel uint32) (files []*os.File) {
	for _, f := range s.tunnels[tunnel] {
		files = append(files, f)
	}
	s.count -= len(files)
	delete(s.tunnels, tunnel)
	return files
}
