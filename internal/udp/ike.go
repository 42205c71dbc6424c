package udp

import (
	"fmt"
	"net/netip"
)

// IKE reads and sends on the sockets of IKE. It is safe for concurrent use.
type IKE struct {
	listeners[*ikeSocket]
	route map[ikeKey]*ikeSocket
}

// ikeKey finds the socket to send through. Wildcard sockets have the unspecified address.
type ikeKey struct {
	addr         netip.Addr
	encapsulated bool
}

// NewIKE makes an IKE of the files that OpenIKE has opened. The files are closed, whatever comes of it: the IKE has copies.
func NewIKE(files []IKEFile) (*IKE, error) {
	l, err := takeAll(files, newIKESocket)
	if err != nil {
		return nil, fmt.Errorf("take over the sockets of IKE: %w", err)
	}
	e := &IKE{l, make(map[ikeKey]*ikeSocket)}
	for i, s := range l.sockets {
		if !files[i].Initials {
			e.route[ikeKey{s.at.Addr(), s.encapsulated}] = s
		}
	}
	return e, nil
}

// ListenIKE is OpenIKE and NewIKE, for a process that does both.
func ListenIKE(cfg IKEConfig) (*IKE, error) {
	files, err := OpenIKE(cfg)
	if err != nil {
		return nil, err
	}
	return NewIKE(files)
}

// Send sends an IKE message from d.Local to d.Remote. The port in d.Local is not looked at: d.Encapsulated chooses it.
func (e *IKE) Send(d Datagram) error {
	s := e.route[ikeKey{d.Local.Addr(), d.Encapsulated}]
	if s == nil {
		s = e.route[ikeKey{unspecified(d.Local.Addr()), d.Encapsulated}]
	}
	if s == nil {
		return fmt.Errorf("send IKE to %s: no socket listens on %s", d.Remote, d.Local.Addr())
	}
	if err := s.send(d); err != nil {
		return fmt.Errorf("send IKE from %s to %s: %w", d.Local, d.Remote, err)
	}
	return nil
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
