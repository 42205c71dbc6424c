package fleet

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// pings are the echo requests of a client, by their number.
type pings struct {
	sent     uint32
	waiting  map[uint32]time.Time // since when
	answers  uint32
	slowest  time.Duration
	repeated uint32
}

func newPings() pings { return pings{waiting: make(map[uint32]time.Time)} }

const echoLength = 20 + 8 + 4 // IP, ICMP and our number

// Ping sends one echo request to the server's address in the tunnels.
func (c *Client) Ping() {
	c.do(func(now time.Time) {
		if !c.ppp.address.IsValid() {
			return
		}
		c.pings.sent++
		c.pings.waiting[c.pings.sent] = now
		c.ppp.out = append(c.ppp.out, c.echo(c.pings.sent))
	})
}

// echo is a PPP frame with an echo request.
func (c *Client) echo(number uint32) []byte {
	b := make([]byte, 2+echoLength)
	binary.BigEndian.PutUint16(b, protocolIP)
	ip := b[2:]
	ip[0], ip[8], ip[9] = 0x45, 64, 1
	binary.BigEndian.PutUint16(ip[2:], echoLength)
	copy(ip[12:], c.ppp.address.AsSlice())
	copy(ip[16:], c.inner.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20]))
	icmp := ip[20:]
	icmp[0] = 8
	binary.BigEndian.PutUint16(icmp[6:], uint16(number))
	binary.BigEndian.PutUint32(icmp[8:], number)
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
	return b
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

// answered takes an IP packet. The caller holds the client.
func (p *pings) answered(ip []byte) {
	if len(ip) < echoLength || ip[9] != 1 || ip[20] != 0 {
		return
	}
	number := binary.BigEndian.Uint32(ip[28:])
	since, waiting := p.waiting[number]
	if !waiting {
		p.repeated++
		return
	}
	delete(p.waiting, number)
	p.answers++
	p.slowest = max(p.slowest, time.Since(since))
}

// Unanswered is how many of a client's echo requests that were sent before a time are without an answer.
func (c *Client) Unanswered(before time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sent := range c.pings.waiting {
		if sent.Before(before) {
			n++
		}
	}
	return n
}

// Answered is how many echo requests of a client were answered.
func (c *Client) Answered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.pings.answers)
}

// Forget lets what was sent until now be lost.
func (c *Client) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pings.waiting)
}

// Report is what became of the echo requests of some clients.
type Report struct {
	Sent, Lost, Repeated int
	Slowest              time.Duration // answer
	Losers               []string      // who lost some, and how many of how many
}

// Report returns what became of all echo requests so far; those under way count as lost.
func (f *Fleet) Report() (r Report) {
	for _, c := range f.Clients() {
		c.mu.Lock()
		r.Sent += int(c.pings.sent)
		r.Repeated += int(c.pings.repeated)
		r.Slowest = max(r.Slowest, c.pings.slowest)
		if n := len(c.pings.waiting); n > 0 {
			r.Lost += n
			r.Losers = append(r.Losers, fmt.Sprintf("%s: %d of %d", c.User, n, c.pings.sent))
		}
		c.mu.Unlock()
	}
	return r
}

// burst is how far behind its rate a Stream may be.
const burst = 20 * time.Millisecond

// Stream has some clients ping at a rate, each so many times a second, until the function that it returns is called; that waits
// for the answers to what is under way, no longer than a few seconds.
func (f *Fleet) Stream(ctx context.Context, clients []*Client, rate int) (stop func() Report) {
	ctx, cancel := context.WithCancel(ctx)
	var loop sync.WaitGroup
	loop.Go(func() {
		interval := time.Second / time.Duration(rate*len(clients))
		next := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			clients[i%len(clients)].Ping()
			next = next.Add(interval)
			switch pause := time.Until(next); {
			case pause > time.Millisecond: // a sleep costs more than a ping
				time.Sleep(pause)
			case pause < -burst:
				next = time.Now() // what was missed is not made up for: so many at once would be too much for the ICMP socket that answers
			}
		}
	})
	return func() Report {
		cancel()
		loop.Wait()
		for range 300 {
			if r := f.Report(); r.Lost == 0 {
				return r
			}
			time.Sleep(10 * time.Millisecond)
		}
		return f.Report()
	}
}
