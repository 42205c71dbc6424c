package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"
)

// IKE reads and sends on the sockets of IKE. It is safe for concurrent use.
type IKE struct {
	sockets []*ikeSocket
	route   map[ikeKey]*ikeSocket
}

// ikeKey finds the socket to send through. Wildcard sockets have the unspecified address.
type ikeKey struct {
	addr         netip.Addr
	encapsulated bool
}

// NewIKE makes an IKE of the files that OpenIKE has opened. The files are closed, whatever comes of it: the IKE has copies.
func NewIKE(files []IKEFile) (_ *IKE, err error) {
	e := &IKE{route: make(map[ikeKey]*ikeSocket)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("take over the sockets of IKE: %w", err), e.Close())
		}
	}()
	for i, f := range files {
		s, err := newIKESocket(f)
		if err != nil {
			return nil, errors.Join(err, CloseIKE(files[i+1:]))
		}
		e.sockets = append(e.sockets, s)
		if !f.Initials {
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

// LocalAddrs are the addresses and ports that are listened on, those of the NAT port included.
func (e *IKE) LocalAddrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range e.sockets {
		if !slices.Contains(out, s.at) {
			out = append(out, s.at)
		}
	}
	return out
}

// Run reads all sockets and calls handle for each IKE message, from one goroutine for each socket, until Close, for
// which it returns nil. Run it once.
func (e *IKE) Run(handle func(Datagram)) error {
	var group errgroup.Group
	for _, s := range e.sockets {
		group.Go(func() error {
			err := s.read(handle)
			if err != nil {
				_ = e.Close() // so that the others end, too
			}
			return err
		})
	}
	return group.Wait()
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

// Dropped is the number of datagrams that were not handed over: too short for IKE, without a marker on the NAT port, or from or to an
// address that cannot be answered from or to. NAT keepalives are not counted.
func (e *IKE) Dropped() uint64 {
	var n uint64
	for _, s := range e.sockets {
		n += s.dropped.Load()
	}
	return n
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// Close closes the sockets and ends Run. If there are no other copies of the socket of the NAT port, the kernel receives no more ESP
// in UDP.
func (e *IKE) Close() error {
	var errs []error
	for _, s := range e.sockets {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
