package udp

import (
	"bytes"
	"fmt"
)

// ikeSocket is a copy of a socket of IKE.
type ikeSocket struct {
	*serviceSocket
	encapsulated bool
}

// newIKESocket makes an ikeSocket of a file, which is closed whatever comes of it.
func newIKESocket(f IKEFile) (*ikeSocket, error) {
	s, err := newServiceSocket(f.File, f.Local)
	if err != nil {
		return nil, err
	}
	return &ikeSocket{serviceSocket: s, encapsulated: f.Encapsulated}, nil
}

// read hands IKE messages over until the socket is closed, for which it returns nil.
func (s *ikeSocket) read(handle func(Datagram)) error {
	if err := s.serviceSocket.read(func(d Datagram, segment int) { s.take(d, segment, handle) }); err != nil {
		return fmt.Errorf("receive IKE on %s: %w", s.at, err)
	}
	return nil
}

// take hands over the IKE messages in what recvmsg has returned, as copies.
func (s *ikeSocket) take(d Datagram, segment int, handle func(Datagram)) {
	d.Encapsulated = s.encapsulated
	for _, one := range split(d.Payload, segment) {
		message, runt := ikeMessage(one, s.encapsulated)
		switch {
		case runt:
			s.dropped.Add(1)
		case message != nil:
			d.Payload = bytes.Clone(message)
			handle(d)
		}
	}
}

func (s *ikeSocket) send(d Datagram) error {
	message := d.Payload
	if s.encapsulated && !isKeepalive(message) {
		message = append(nonESPMarker[:len(nonESPMarker):len(nonESPMarker)], message...)
	}
	var oob []byte
	if s.at.Addr().IsUnspecified() && d.Local.Addr().IsValid() {
		oob = fromAddress(d.Local.Addr())
	}
	return s.sendMessage(d.Remote, message, oob)
}
