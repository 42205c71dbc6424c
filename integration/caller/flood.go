package caller

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	crand "crypto/rand"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// Flood sends first messages of Main Mode with false source addresses.
type Flood struct {
	fd      int
	server  netip.Addr
	packets [][]byte // whole IPv4 packets, in which addresses and cookies change
}

// Offsets into an IPv4 packet without options, and its UDP datagram.
const (
	ipSource  = 12
	ipHeader  = 20
	udpHeader = 8
)

// OpenFlood opens a raw socket in the namespace of the calling thread, with a message 1 of every kind of clients.
func OpenFlood(server netip.Addr) (*Flood, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	f := &Flood{fd: fd, server: server}
	to := netip.AddrPortFrom(server, udp.IKEPort)
	for _, k := range ikev1test.Kinds() {
		m := k.Peer(netip.AddrPortFrom(netip.IPv4Unspecified(), udp.IKEPort), to, []byte("of no use"), crand.Reader).MainMode()
		f.packets = append(f.packets, ipv4(to, m.Message1()))
	}
	return f, nil
}

// ipv4 makes a UDP packet from port 500 of an address that is to be filled in. There is no UDP checksum; the kernel adds that of IP.
func ipv4(to netip.AddrPort, payload []byte) []byte {
	p := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(payload))
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(p[2:], uint16(cap(p)))
	copy(p[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(p[20:], udp.IKEPort)
	binary.BigEndian.PutUint16(p[22:], to.Port())
	binary.BigEndian.PutUint16(p[24:], uint16(udpHeader+len(payload)))
	return append(p, payload...)
}

// Close closes the socket.
func (f *Flood) Close() error { return unix.Close(f.fd) }

const (
	// floodNap is how long a Flood sleeps when it is ahead of its rate.
	floodNap = time.Millisecond
	// floodLate is the part of a second that it may be behind it.
	floodLate = 20
)

// Run sends so many messages a second, or as many as it can, until ctx ends, and returns how many they were. Each comes from another
// address of 11.0.0.0/8, drawn at random.
func (f *Flood) Run(ctx context.Context, rate int) (sent int, err error) {
	to := &unix.SockaddrInet4{Addr: f.server.As4()}
	began, of := time.Now(), 0 // since when so many are due
	for ctx.Err() == nil {
		due := of + int(time.Since(began).Seconds()*float64(rate))
		if sent >= due {
			time.Sleep(floodNap)
			continue
		}
		if most := max(1, rate/floodLate); due-sent > most {
			due = sent + most // what was missed is not made up for
			began, of = time.Now(), due
		}
		for range min(due-sent, 64) {
			p := f.packets[sent%len(f.packets)]
			binary.BigEndian.PutUint32(p[ipSource:], 11<<24|rand.Uint32()>>8)
			binary.BigEndian.PutUint64(p[ipHeader+udpHeader:], rand.Uint64()) // the initiator's cookie
			switch err := unix.Sendto(f.fd, p, 0, to); {
			case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			case err != nil:
				return sent, fmt.Errorf("send a false message: %w", err)
			}
			sent++
		}
	}
	return sent, nil
}
