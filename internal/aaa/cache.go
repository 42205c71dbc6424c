package aaa

import "net/netip"

// requestKey tells a retransmitted request from a new one: the source, the identifier and the authenticator, which is
// random for Access-Request and covers the content for Accounting-Request.
type requestKey struct {
	source        netip.AddrPort
	code          byte
	identifier    byte
	authenticator [16]byte
}

// cache keeps the latest replies, so that a request that comes again gets the same answer (RFC 5080 section 2.2.2).
type cache struct {
	replies map[requestKey][]byte
	order   []requestKey // a ring
	at      int
}

const cacheSize = 4096

func newCache() *cache { return &cache{replies: make(map[requestKey][]byte)} }

func (c *cache) get(k requestKey) ([]byte, bool) {
	b, ok := c.replies[k]
	return b, ok
}

func (c *cache) put(k requestKey, reply []byte) {
	if len(c.order) < cacheSize {
		c.order = append(c.order, k)
	} else {
		delete(c.replies, c.order[c.at])
		c.order[c.at] = k
		c.at = (c.at + 1) % cacheSize
	}
	c.replies[k] = reply
}
