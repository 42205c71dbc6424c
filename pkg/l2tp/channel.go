package l2tp

import (
	"bytes"
	"errors"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// channel is the reliable delivery of control messages in one tunnel (RFC 2661 5.8): sequence numbers modulo 65,536, a
// window of sent messages, retransmission with growing waits, and a queue that puts what arrives too early into order.
type channel struct {
	cfg  *Config
	peer uint16 // tunnel id to address messages to

	// Sending. The first queued message has number una; sent of them wait for an acknowledgement, attempted were ever sent (more
	// than sent after a timeout, which starts over with the first one).
	queue     []outgoing
	una       uint16
	sent      int
	attempted int
	window    window
	tries     int // retransmissions of the first message
	resendAt  time.Time

	// Receiving.
	nr    uint16            // next number that is expected
	early map[uint16][]byte // datagrams ahead of nr, less than a receive window
	ack   ackState
	ackAt time.Time // with ackLater
}

// outgoing is a message without its numbers.
type outgoing struct {
	session uint16
	avps    []wire.AVP
}

// ackState says what the peer is owed.
type ackState uint8

const (
	ackNone  ackState = iota
	ackRide           // with the reply that is being prepared; no ZLB of its own
	ackLater          // with the next message, or as ZLB at ackAt
	ackNow            // before the datagram's turn ends
)

// errQueueFull means that the peer has acknowledged too little for too long.
var errQueueFull = errors.New("too many unacknowledged control messages")

func newChannel(cfg *Config, peer uint16, peerWindow int) channel {
	return channel{cfg: cfg, peer: peer, window: newWindow(peerWindow), early: make(map[uint16][]byte)}
}

// owe notes that something was received; the most urgent claim stands.
func (c *channel) owe(state ackState, now time.Time) {
	if state == ackLater && c.ack != ackLater {
		c.ackAt = now.Add(c.cfg.AckDelay)
	}
	c.ack = max(c.ack, state)
}

// order is where a received number lies.
type order uint8

const (
	orderNext order = iota
	orderDuplicate
	orderEarly
	orderTooFar
)

// classify compares a message's Ns with what is expected: "the 32,767 numbers before are in the past" (RFC 2661 3.1).
func (c *channel) classify(ns uint16) order {
	switch ahead := int16(ns - c.nr); {
	case ahead < 0:
		return orderDuplicate
	case ahead == 0:
		return orderNext
	case int(ahead) < int(c.cfg.ReceiveWindow):
		return orderEarly
	default:
		return orderTooFar
	}
}

// keep stores a datagram that came too early. What is there already is not replaced.
func (c *channel) keep(ns uint16, datagram []byte) {
	if _, ok := c.early[ns]; !ok {
		c.early[ns] = bytes.Clone(datagram)
	}
}

// takeEarly returns the stored datagram whose turn has come.
func (c *channel) takeEarly() ([]byte, bool) {
	datagram, ok := c.early[c.nr]
	delete(c.early, c.nr)
	return datagram, ok
}

// acknowledged handles a received Nr and reports whether it is possible: nothing may be acknowledged that was never sent. An old
// Nr is possible and says nothing.
func (c *channel) acknowledged(nr uint16, now time.Time) bool {
	n := int(int16(nr - c.una))
	if n > c.attempted {
		return false
	}
	if n <= 0 {
		return true
	}
	c.queue = c.queue[n:]
	c.una = nr
	c.sent = max(c.sent-n, 0)
	c.attempted -= n
	c.tries = 0
	c.resendAt = time.Time{}
	if c.sent > 0 {
		c.resendAt = now.Add(c.cfg.backoff(0))
	}
	c.window.acknowledged(n)
	return true
}

// enqueue takes a message for the peer; pump sends it when the window allows.
func (c *channel) enqueue(session uint16, avps ...wire.AVP) error {
	if len(c.queue) >= c.cfg.MaxQueuedMessages {
		return errQueueFull
	}
	c.queue = append(c.queue, outgoing{session, avps})
	return nil
}

// last replaces what was never sent by a tunnel's last message, which no window holds back.
func (c *channel) last(avps ...wire.AVP) {
	c.queue = append(c.queue[:c.attempted:c.attempted], outgoing{0, avps})
	c.window.peer = len(c.queue)
	c.window.size = len(c.queue)
}

// clear forgets all that waits to be sent or acknowledged: the peer has closed the tunnel and will not answer any more.
func (c *channel) clear() {
	c.una += uint16(c.attempted)
	c.queue, c.sent, c.attempted = nil, 0, 0
	clear(c.early)
}

// pump returns the messages that the window allows to send now, with current numbers.
func (c *channel) pump(now time.Time) []wire.Message {
	var out []wire.Message
	for c.sent < len(c.queue) && c.sent < c.window.size {
		if c.sent == 0 {
			c.resendAt = now.Add(c.cfg.backoff(c.tries))
		}
		out = append(out, c.message(c.sent))
		c.sent++
		c.attempted = max(c.attempted, c.sent)
	}
	return out
}

// message returns a queued message as it goes onto the wire; whatever carries Nr is an acknowledgement.
func (c *channel) message(i int) wire.Message {
	c.ack = ackNone
	return wire.Message{
		TunnelID: c.peer, SessionID: c.queue[i].session, Ns: c.una + uint16(i), Nr: c.nr, AVPs: c.queue[i].avps,
	}
}

// again returns the oldest unacknowledged message, for a peer that repeats the request it answers.
func (c *channel) again() (wire.Message, bool) {
	if c.sent == 0 {
		return wire.Message{}, false
	}
	return c.message(0), true
}

// zlb returns a message without body: exactly 12 octets.
func (c *channel) zlb() wire.Message {
	c.ack = ackNone
	return wire.Message{TunnelID: c.peer, Ns: c.una + uint16(c.attempted), Nr: c.nr}
}

// expire handles the retransmission timer: everything that is unacknowledged is sent again, the first message now. It returns
// false when the peer has to be given up.
func (c *channel) expire(now time.Time) bool {
	if c.sent == 0 || now.Before(c.resendAt) {
		return true
	}
	if c.tries >= c.cfg.Retries {
		return false
	}
	c.tries++
	c.sent = 0
	c.window.lost()
	return true
}

// deadline returns when expire or the delayed acknowledgement is due; zero for neither.
func (c *channel) deadline() time.Time {
	var d time.Time
	if c.sent > 0 {
		d = c.resendAt
	}
	if c.ack == ackLater {
		d = earliest(d, c.ackAt)
	}
	return d
}

// earliest returns the earlier of two times, of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
