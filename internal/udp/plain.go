package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// L2TPPort is the port at which peers without IPsec begin their tunnels (RFC 2661 section 8.1).
const L2TPPort = 1701

// OpenPlainClient is OpenClient for a tunnel of a peer without IPsec: a mark, by which the steering table knows the sockets, and no policy.
func OpenPlainClient(local netip.Addr, port uint16, mark uint32) (*Client, error) {
	return openClient(netip.AddrPortFrom(local.Unmap(), port), plainMark(mark))
}

// AdoptPlainClient is AdoptClient for the sockets of OpenPlainClient.
func AdoptPlainClient(mark uint32, open, tunnel *os.File) (*Client, error) {
	return adoptClient(plainMark(mark), open, tunnel)
}

func plainMark(mark uint32) func(int, bool) error {
	return func(fd int, _ bool) error { return setMark(fd, mark) }
}

// PlainFile is a socket at the port of L2TP.
type PlainFile struct {
	Local netip.AddrPort // the address may be the unspecified one
	File  *os.File
}

// OpenPlain opens sockets at port 1701, for the first messages of peers without IPsec; the steering table lets nothing else through to it. Without
// addresses it is all of both families, and on a machine without IPv6 those of IPv4.
func OpenPlain(addrs []netip.Addr) ([]PlainFile, error) { return openPlain(addrs, L2TPPort) }

func openPlain(addrs []netip.Addr, port uint16) ([]PlainFile, error) {
	wildcard := len(addrs) == 0
	if wildcard {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	var files []PlainFile
	for _, addr := range addrs {
		addr = addr.Unmap()
		f, err := openPlainSocket(netip.AddrPortFrom(addr, port))
		if wildcard && addr.Is6() && noIPv6(err) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, ClosePlain(files))
		}
		files = append(files, f)
	}
	return files, nil
}

func openPlainSocket(at netip.AddrPort) (_ PlainFile, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("listen for L2TP on %s: %w%s", at, err, plainHint(err))
		}
	}()
	v6 := at.Addr().Is6()
	s, err := newSocket(v6)
	if err != nil {
		return PlainFile{}, err
	}
	defer s.close()
	if err := s.control(func(fd int) error { return errors.Join(setControlFilter(fd), tellDestination(fd, v6)) }); err != nil {
		return PlainFile{}, err
	}
	if err := s.bind(at); err != nil {
		return PlainFile{}, err
	}
	if at, err = s.local(); err != nil { // the kernel may have chosen the port
		return PlainFile{}, err
	}
	f, err := s.file()
	return PlainFile{at, f}, err
}

func plainHint(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Sprintf("; another L2TP daemon (xl2tpd, accel-ppp) usually holds this port: find it with `ss -lunp sport = :%d` and stop it, or remove l2tp.plain_peers", L2TPPort)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "; no interface has this address (yet)"
	}
	return ""
}

// ClosePlain closes all of the files.
func ClosePlain(files []PlainFile) error { return closeAll(files) }

func (f PlainFile) file() *os.File { return f.File }

// Plain reads the sockets at the port of L2TP. Nothing is sent through them: each tunnel has its own. It is safe for concurrent use.
type Plain struct{ listeners[plainSocket] }

// NewPlain makes a Plain of the files that OpenPlain has opened. The files are closed, whatever comes of it: the Plain has copies.
func NewPlain(files []PlainFile) (*Plain, error) {
	l, err := takeAll(files, func(f PlainFile) (plainSocket, error) {
		s, err := newServiceSocket(f.File, f.Local)
		return plainSocket{s}, err
	})
	if err != nil {
		return nil, fmt.Errorf("take over the sockets of L2TP: %w", err)
	}
	return &Plain{l}, nil
}

// plainSocket is a copy of a socket at the port of L2TP.
type plainSocket struct{ *serviceSocket }

// read hands over control messages, as copies.
func (s plainSocket) read(handle func(Datagram)) error {
	err := s.serviceSocket.read(func(d Datagram, _ int) {
		d.Payload = bytes.Clone(d.Payload)
		handle(d)
	})
	if err != nil {
		return fmt.Errorf("receive L2TP on %s: %w", s.at, err)
	}
	return nil
}
