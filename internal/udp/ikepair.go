package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The two sockets of one port, in the order in which they are bound.
const (
	initials = iota // first messages of phase 1, which anybody can send in anybody's name
	others
)

// openIKEPair opens two sockets at one address. A flood of first messages fills the buffer of its own socket, and leaves that of
// clients that have come further alone.
//
// The first is bound before it agrees to share the port, so that a port that somebody has is refused. Whoever joins the two later, as only
// the same user can, receives nothing: the filter knows of these two.
func openIKEPair(at netip.AddrPort, encapsulated bool, prepare func(fd int, v6, encapsulated bool) error) (pair []IKEFile, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, CloseIKE(pair))
			pair = nil
		}
	}()
	add := func(s *socket) error {
		file, err := s.file()
		if err != nil {
			return fmt.Errorf("listen for IKE on %s: %w", at, err)
		}
		pair = append(pair, IKEFile{Local: at, Encapsulated: encapsulated, Initials: len(pair) == initials, File: file})
		return nil
	}
	first, err := openIKESocket(at, encapsulated, prepare)
	if err != nil {
		return nil, err
	}
	defer first.close()
	if at, err = first.local(); err != nil { // the kernel may have chosen the port
		return nil, err
	}
	if err := first.share(1); err != nil {
		return nil, err
	}
	second, err := openIKESocket(at, encapsulated, func(fd int, v6, encapsulated bool) error {
		return errors.Join(share(fd, 1), prepare(fd, v6, encapsulated))
	})
	if err != nil {
		return nil, err
	}
	defer second.close()
	for _, s := range []*socket{first, second} {
		if err := add(s); err != nil {
			return pair, err
		}
	}
	program := initialFilter(encapsulated)
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	return pair, first.control(func(fd int) error {
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &fprog); err != nil {
			return fmt.Errorf("tell the messages to %s apart: %w", at, err)
		}
		return nil
	})
}

// initialFilter is classic BPF that returns the socket of a datagram: a first message has no responder's cookie (RFC 2408 section 3.1).
// Offsets count from the end of the UDP header; a load beyond the end gives socket 0.
func initialFilter(encapsulated bool) []unix.SockFilter {
	cookie := uint32(8)
	if encapsulated {
		cookie += uint32(len(nonESPMarker))
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: cookie},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 3, K: 0},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: cookie + 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: initials},
		{Code: unix.BPF_RET | unix.BPF_K, K: others},
	}
}
