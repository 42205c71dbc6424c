package caller

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// inboxSize bounds the datagrams that wait for the engine; what does not fit is lost, as in a full socket buffer.
const inboxSize = 4096

// Agreement is what both ends know, with one proposal for each phase.
type Agreement struct {
	PSK    string
	Phase1 ikev1.Phase1Proposal
	Phase2 ikev1.Phase2Proposal
}

// station is an engine with its sockets.
type station struct {
	engine    *ikev1.Engine
	sockets   *udp.IKE
	inbox     chan ikev1.Datagram
	strangers chan ikev1.Datagram // first messages, as in the daemon
	reading   chan error          // the end of the readers
}

// openStation opens UDP ports 500 and 4500 in the namespace of the calling thread.
func openStation(a Agreement) (*station, error) {
	engine, err := ikev1.New(ikev1.Config{
		PSK:    func(netip.Addr, netip.Addr) []byte { return []byte(a.PSK) },
		Phase1: []ikev1.Phase1Proposal{a.Phase1},
		Phase2: []ikev1.Phase2Proposal{a.Phase2},
	}, rand.Reader)
	if err != nil {
		return nil, err
	}
	sockets, err := udp.ListenIKE(udp.IKEConfig{})
	if err != nil {
		return nil, fmt.Errorf("open the sockets of IKE: %w", err)
	}
	s := &station{
		engine: engine, sockets: sockets, inbox: make(chan ikev1.Datagram, inboxSize), strangers: make(chan ikev1.Datagram, inboxSize),
		reading: make(chan error, 1),
	}
	go func() { s.reading <- sockets.Run(s.take) }()
	return s, nil
}

// Close closes the sockets.
func (s *station) Close() error { return errors.Join(s.sockets.Close(), <-s.reading) }

// take is called by the readers.
func (s *station) take(d udp.Datagram) {
	inbox := s.inbox
	if ikev1.Initial(d.Payload) {
		inbox = s.strangers
	}
	select {
	case inbox <- ikev1.Datagram(d):
	default:
	}
}

// send sends what the engine has to say.
func (s *station) send(out ikev1.Output) error {
	for _, d := range out.Send {
		if err := s.sockets.Send(udp.Datagram(d)); err != nil {
			return err
		}
	}
	return nil
}
