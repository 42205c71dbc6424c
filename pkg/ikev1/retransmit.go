package ikev1

import (
	"crypto/sha256"
	"time"
)

// Retransmission of Quick Mode message 2, the only message repeated by timer: if message 3 is lost, the client takes the
// exchange for finished and would never learn otherwise.
const (
	retransmitInitial = 2 * time.Second
	retransmitMax     = 4 * time.Second
)

// exchangeCache is the last message of an exchange that was taken, and the answer to it. Retransmissions are recognised by the hash
// of the whole datagram, never processed again, and answered from here.
type exchangeCache struct {
	request [sha256.Size]byte
	taken   bool
	reply   []byte
	repeats int
}

// take remembers a message; its answer is not known yet.
func (c *exchangeCache) take(payload []byte) {
	*c = exchangeCache{request: sha256.Sum256(payload), taken: true}
}

// isDuplicate says whether payload is the message that was taken last.
func (c *exchangeCache) isDuplicate(payload []byte) bool {
	return c.taken && sha256.Sum256(payload) == c.request
}

// repeat answers a duplicate: with the same octets as the first time, and at most so many times. It goes to
// where the peer is known to be.
func (e *Engine) repeat(sa *isakmpSA, c *exchangeCache, d Datagram, most int) {
	if c.reply == nil || c.repeats >= most {
		e.drop(d, DropDuplicate)
		return
	}
	c.repeats++
	e.touch(sa.client)
	e.send(sa, c.reply)
}
