package udp

import (
	"errors"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"
)

// listener is a socket at a well-known port.
type listener interface {
	read(handle func(Datagram)) error // until it is closed, for which it returns nil
	close() error
	address() netip.AddrPort
	missed() uint64
}

// listeners are what listens for one protocol.
type listeners[S listener] struct{ sockets []S }

// takeAll makes listeners of files, which are closed, whatever comes of it.
func takeAll[F interface{ file() *os.File }, S listener](files []F, take func(F) (S, error)) (l listeners[S], err error) {
	for i, f := range files {
		s, err := take(f)
		if err != nil {
			return l, errors.Join(err, closeAll(files[i+1:]), l.Close())
		}
		l.sockets = append(l.sockets, s)
	}
	return l, nil
}

// closeAll closes files.
func closeAll[F interface{ file() *os.File }](files []F) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.file().Close())
	}
	return errors.Join(errs...)
}

// LocalAddrs are the addresses and ports that are listened on.
func (l *listeners[S]) LocalAddrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range l.sockets {
		if at := s.address(); !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out
}

// Run reads all sockets and calls handle for each message, whose payload is the handler's, from one goroutine for each socket, until Close, for
// which it returns nil. Run it once.
func (l *listeners[S]) Run(handle func(Datagram)) error {
	var group errgroup.Group
	for _, s := range l.sockets {
		group.Go(func() error {
			err := s.read(handle)
			if err != nil {
				_ = l.Close() // so that the others end, too
			}
			return err
		})
	}
	return group.Wait()
}

// Dropped is the number of datagrams that were not handed over: none of the protocol, or from or to an address that cannot be answered from
// or to. NAT keepalives are not counted.
func (l *listeners[S]) Dropped() uint64 {
	var n uint64
	for _, s := range l.sockets {
		n += s.missed()
	}
	return n
}

// Close closes the sockets and ends Run. If there are no other copies of the socket of the NAT port, the kernel receives no more ESP
// in UDP.
func (l *listeners[S]) Close() error {
	var errs []error
	for _, s := range l.sockets {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
