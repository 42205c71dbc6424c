package ikev1

import "time"

// keepaliveInterval is "the default value of 20 seconds" of RFC 3948 section 4.
const keepaliveInterval = 20 * time.Second

// keepalive is the whole payload of a NAT keepalive (RFC 3948 section 2.3); it is sent without a non-ESP marker.
const keepalive = 0xff

// keepNAT keeps the NAT in front of us open towards c, for as long as c lives.
func (e *Engine) keepNAT(c *client) {
	if c.natHere && c.encapsulated {
		e.timers.set(&c.keepalive, e.now.Add(keepaliveInterval))
	}
}

// expire implements expirer: it is time for a keepalive.
func (c *client) expire(e *Engine) {
	e.out.Send = append(e.out.Send, Datagram{Local: c.local, Remote: c.key.remote, Encapsulated: true, Payload: []byte{keepalive}})
	e.keepNAT(c)
}
