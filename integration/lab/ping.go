package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pings is what became of some echo requests.
type Pings struct{ Sent, Received int }

// Lost is how many answers are missing.
func (p Pings) Lost() int { return p.Sent - p.Received }

const (
	pingPause = 50 * time.Millisecond // between two requests of Ping
	pingData  = 56                    // octets after the header, as ping(8) has them

	// An answer that is late is not lost: on a busy machine it may take seconds. Once the last request is answered, those before it have their
	// answers or will never have them, but for a moment.
	pingPatience = 10 * time.Second
	pingMoment   = 200 * time.Millisecond
	pingBriefly  = time.Second
)

// Ping sends count echo requests, 50 ms apart, and waits for the answers. That none comes is not an error.
func (n *Namespace) Ping(ctx context.Context, to netip.Addr, count int) (Pings, error) {
	return n.ping(ctx, netip.Addr{}, to, count, pingPatience)
}

// PingInVain is Ping for who expects no answer, and does not wait long for one.
func (n *Namespace) PingInVain(ctx context.Context, to netip.Addr, count int) (Pings, error) {
	return n.ping(ctx, netip.Addr{}, to, count, pingBriefly)
}

func (n *Namespace) ping(ctx context.Context, from, to netip.Addr, count int, wait time.Duration) (Pings, error) {
	p, err := n.openPinger(from, to)
	if err != nil {
		return Pings{}, err
	}
	for range count {
		p.send()
		select {
		case <-ctx.Done():
			return Pings{}, errors.Join(ctx.Err(), p.close())
		case <-time.After(pingPause):
		}
	}
	p.await(wait * patience)
	return p.result(), p.close()
}

// pinger is a socket for echo requests to one address.
type pinger struct {
	conn *net.IPConn
	raw  syscall.RawConn // of conn
	id   uint16

	mu       sync.Mutex
	answered []bool // by number, of all that were sent
	received int
	reading  sync.WaitGroup
}

// pingers numbers the sockets: each hears the answers for all of its namespace.
var pingers atomic.Uint32

// openPinger opens a socket in the namespace, at an address of it or, if that is not valid, at the one that the kernel takes. No route is an error.
func (n *Namespace) openPinger(from, to netip.Addr) (*pinger, error) {
	p := &pinger{id: uint16(pingers.Add(1))}
	var local *net.IPAddr
	if from.IsValid() {
		local = &net.IPAddr{IP: from.AsSlice()}
	}
	err := n.Do(func() (err error) {
		p.conn, err = net.DialIP("ip4:icmp", local, &net.IPAddr{IP: to.AsSlice()})
		return err
	})
	if err == nil {
		p.raw, err = p.conn.SyscallConn()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: ping %s: %w", n.Name, to, err)
	}
	p.reading.Go(p.read)
	return p, nil
}

const (
	echoHeader  = 8
	echoRequest = 8
	echoReply   = 0
)

// send sends the next request. One that does not go out is lost.
func (p *pinger) send() {
	p.mu.Lock()
	number := len(p.answered)
	p.answered = append(p.answered, false)
	p.mu.Unlock()
	b := make([]byte, echoHeader+pingData)
	b[0] = echoRequest
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], uint16(number))
	binary.BigEndian.PutUint32(b[echoHeader:], uint32(number))
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	_ = p.raw.Write(func(fd uintptr) bool {
		_ = unix.Send(int(fd), b, unix.MSG_DONTWAIT)
		return true
	})
}

// checksum is that of the internet (RFC 1071) over an even number of octets.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (p *pinger) read() {
	b := make([]byte, 2048)
	for {
		size, _, err := p.conn.ReadFromIP(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil || size < echoHeader+4 || b[0] != echoReply || binary.BigEndian.Uint16(b[4:]) != p.id:
			continue
		}
		number := binary.BigEndian.Uint32(b[echoHeader:])
		p.mu.Lock()
		if uint64(number) < uint64(len(p.answered)) && !p.answered[number] {
			p.answered[number] = true
			p.received++
		}
		p.mu.Unlock()
	}
}

func (p *pinger) result() Pings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Pings{len(p.answered), p.received}
}

// await returns when all answers are there, or will not come any more.
func (p *pinger) await(limit time.Duration) {
	late := false
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(pollInterval) {
		p.mu.Lock()
		all, last := p.received == len(p.answered), len(p.answered) > 0 && p.answered[len(p.answered)-1]
		p.mu.Unlock()
		if all {
			return
		}
		if last && !late {
			late = true
			end = time.Now().Add(pingMoment)
		}
	}
}

func (p *pinger) close() error {
	err := p.conn.Close()
	p.reading.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// PingStream is echo requests until it is stopped.
type PingStream struct {
	pinger  *pinger
	ctx     context.Context
	stop    context.CancelFunc
	sending sync.WaitGroup
}

// PingContinuously sends so many echo requests each second, and returns when the first answer has come.
func (n *Namespace) PingContinuously(ctx context.Context, to netip.Addr, rate int) (*PingStream, error) {
	return n.pingContinuously(ctx, netip.Addr{}, to, rate)
}

func (n *Namespace) pingContinuously(ctx context.Context, from, to netip.Addr, rate int) (*PingStream, error) {
	p, err := n.openPinger(from, to)
	if err != nil {
		return nil, err
	}
	s := &PingStream{pinger: p}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.lab.onClose(s.Abandon)
	s.sending.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for s.ctx.Err() == nil {
			p.send()
			select {
			case <-s.ctx.Done():
			case <-tick.C:
			}
		}
	})
	return s, Until(ctx, 60*time.Second, n.Name+": first answer to ping", func() error {
		if p.result().Received == 0 {
			return errors.New("none")
		}
		return nil
	})
}

// Stop ends the stream when at least so many requests were sent, waits for the answers, and returns what became of all.
func (s *PingStream) Stop(least int) (Pings, error) {
	for s.ctx.Err() == nil && s.pinger.result().Sent < least {
		time.Sleep(pollInterval)
	}
	s.stop()
	s.sending.Wait()
	s.pinger.await(pingPatience * patience)
	return s.pinger.result(), s.pinger.close()
}

// Abandon ends the stream at once.
func (s *PingStream) Abandon() error {
	s.stop()
	s.sending.Wait()
	return s.pinger.close()
}
