package caller

import "net/netip"

// Config says whom to call, and how.
type Config struct {
	Agreement
	Server netip.Addr

	// From has the addresses of the clients, which are used one after the other, and again from the first. They have to be local to the
	// namespace, for example by `ip route add local PREFIX dev lo`.
	From netip.Prefix
}

// Caller is the initiator of many connections. It is not safe for concurrent use.
type Caller struct {
	*station
	cfg  Config
	last netip.Addr // that was used
}

// Open opens UDP ports 500 and 4500 in the namespace of the calling thread.
func Open(cfg Config) (*Caller, error) {
	s, err := openStation(cfg.Agreement)
	if err != nil {
		return nil, err
	}
	return &Caller{station: s, cfg: cfg}, nil
}

// address returns that of the next client.
func (c *Caller) address() netip.Addr {
	if c.last = c.last.Next(); !c.cfg.From.Contains(c.last) {
		c.last = c.cfg.From.Masked().Addr().Next()
	}
	return c.last
}
