package udp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// ikeReceiveBuffer, in octets, holds the first messages of many clients that dial at once, as after a power failure.
const ikeReceiveBuffer = 4 << 20

// maxReadFailures in a row end the reading of an IKE socket.
const maxReadFailures = 100

// ikeSocket is one socket of IKE.
type ikeSocket struct {
	conn         *net.UDPConn
	local        netip.AddrPort
	encapsulated bool
	dropped      atomic.Uint64
}

func listenIKESocket(at netip.AddrPort, encapsulated bool, prepare func(fd int, v6, encapsulated bool) error) (*ikeSocket, error) {
	v6 := at.Addr().Is6()
	network := "udp4"
	if v6 {
		network = "udp6" // net sets IPV6_V6ONLY for it
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if outer := raw.Control(func(fd uintptr) { err = ikeOptions(int(fd), v6, encapsulated, prepare) }); outer != nil {
			return outer
		}
		return err
	}}
	pc, err := config.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, fmt.Errorf("listen for IKE on %s: %w%s", at, err, bindHint(err, at.Port()))
	}
	conn := pc.(*net.UDPConn)
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &ikeSocket{
		conn: conn, local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), encapsulated: encapsulated,
	}, nil
}

func ikeOptions(fd int, v6, encapsulated bool, prepare func(fd int, v6, encapsulated bool) error) error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("ask for the destination address of datagrams: %w", err)
	}
	// FORCE needs CAP_NET_ADMIN; the plain one is capped by net.core.rmem_max. A smaller buffer works, too.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ikeReceiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, ikeReceiveBuffer)
	}
	return prepare(fd, v6, encapsulated)
}

// bindHint says what to do about a bind that failed, or nothing.
func bindHint(err error, port uint16) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Sprintf("; another IKE daemon (strongSwan's charon, Libreswan's pluto, racoon) usually holds this port:"+
			" find it with `ss -lunp sport = :%d` and stop and disable it", port)
	case errors.Is(err, unix.EACCES):
		return "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
	case errors.Is(err, unix.EPERM):
		return "; IPsec socket options need root or CAP_NET_ADMIN"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "; no interface has this address (yet)"
	}
	return ""
}

// read hands IKE messages over until the socket is closed, for which it returns nil.
func (s *ikeSocket) read(handle func(Datagram)) error {
	buffer := make([]byte, 1<<16) // the largest that UDP, and UDP_GRO, can give
	oob := make([]byte, controlSize)
	failures := 0
	for {
		n, oobn, _, remote, err := s.conn.ReadMsgUDPAddrPort(buffer, oob)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// A shortage of memory or an interface that goes down passes; what repeats itself does not.
			if failures++; failures == maxReadFailures {
				return fmt.Errorf("receive IKE on %s: %w", s.local, err)
			}
			continue
		}
		failures = 0
		s.receive(buffer[:n], oob[:oobn], remote, handle)
	}
}

// receive hands over the IKE messages in what recvmsg has returned, as copies.
func (s *ikeSocket) receive(b, oob []byte, remote netip.AddrPort, handle func(Datagram)) {
	c := parseControl(oob)
	local := s.local
	if c.local.IsValid() {
		local = netip.AddrPortFrom(c.local, s.local.Port())
	}
	// Nothing can be answered from a multicast or broadcast address, or sent to port 0.
	if remote.Port() == 0 || local.Addr().IsMulticast() || local.Addr().IsUnspecified() ||
		local.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		s.dropped.Add(1)
		return
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	for _, one := range split(b, c.segment) {
		message, runt := ikeMessage(one, s.encapsulated)
		switch {
		case runt:
			s.dropped.Add(1)
		case message != nil:
			handle(Datagram{Local: local, Remote: remote, Encapsulated: s.encapsulated, Payload: bytes.Clone(message)})
		}
	}
}

func (s *ikeSocket) send(d Datagram) error {
	message := d.Payload
	if s.encapsulated && !isKeepalive(message) {
		message = append(nonESPMarker[:len(nonESPMarker):len(nonESPMarker)], message...)
	}
	var oob []byte
	if s.local.Addr().IsUnspecified() && d.Local.Addr().IsValid() {
		oob = fromAddress(d.Local.Addr())
	}
	_, _, err := s.conn.WriteMsgUDPAddrPort(message, oob, d.Remote)
	return err
}
