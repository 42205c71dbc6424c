package ikev1

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
)

// Defaults of [Config].
const (
	DefaultHalfOpenMax     = 1000
	DefaultHalfOpenPerAddr = 64
	DefaultHalfOpenTimeout = 30 * time.Second
	DefaultDPDInterval     = 30 * time.Second
	DefaultDPDTimeout      = 150 * time.Second
	DefaultMaxChildren     = 8

	DefaultMaxClients        = 16384 + 1024 // a block of slots, and those who have no child yet
	DefaultMaxClientsPerAddr = 1024
	DefaultChildWait         = 60 * time.Second
)

// Config says what the engine accepts. Only PSK is required; the zero value of every other field is its default.
type Config struct {
	// PSK returns the pre-shared key for the pair of outer addresses, nil when there is none for this peer. IKEv1 Main Mode
	// has to know the key before it learns the peer's identity (RFC 2409 section 5.4), so addresses are all there is.
	PSK func(local, remote netip.Addr) []byte

	// Phase1 and Phase2 are what is allowed, in the server's order of preference. nil: [DefaultPhase1], [DefaultPhase2].
	Phase1 []Phase1Proposal
	Phase2 []Phase2Proposal

	// PFSGroups are the groups allowed when a client asks for perfect forward secrecy in Quick Mode. nil: the groups of Phase1.
	PFSGroups []dh.Group

	// HalfOpenMax bounds handshakes that are not authenticated yet, HalfOpenPerAddr those of one IPv4 address or IPv6 /64,
	// HalfOpenPerNetwork (zero: 4 times that) those of one IPv4 /24 or IPv6 /48. At a limit the oldest one that has not
	// proved its address gives way; when all have, newcomers of this address or network are refused, while in the whole
	// table the network with the most of them loses its oldest. HalfOpenTimeout is their life.
	HalfOpenMax        int
	HalfOpenPerAddr    int
	HalfOpenPerNetwork int
	HalfOpenTimeout    time.Duration

	// DPDInterval is the silence after which a peer that supports RFC 3706 is asked whether it lives; negative: never.
	// DPDTimeout is how long it may leave such questions unanswered.
	DPDInterval time.Duration
	DPDTimeout  time.Duration

	// MaxChildren bounds the pairs of ESP SAs of one client; beyond it the oldest is deleted.
	MaxChildren int

	// MaxClients bounds the clients, MaxClientsPerAddr those of one IPv4 address or IPv6 /64: a client is told from another by
	// the identity that it chooses, so one that knows the key could be any number. The default is meant to let pass a
	// large office behind one address; a carrier-grade NAT with more subscribers than that needs a higher one.
	MaxClients        int
	MaxClientsPerAddr int

	// ChildWait is how long a client may be without a child, after phase 1 or after the end of its last one, before it is
	// closed; negative: for ever.
	ChildWait time.Duration
}

// withDefaults returns a copy in which every field has a usable value.
func (c Config) withDefaults() (Config, error) {
	if c.PSK == nil {
		return c, fmt.Errorf("ikev1: Config.PSK is nil: give a function that returns the pre-shared key of a peer")
	}
	if c.Phase1 == nil {
		c.Phase1 = DefaultPhase1()
	}
	if c.Phase2 == nil {
		c.Phase2 = DefaultPhase2()
	}
	for _, p := range c.Phase1 {
		if err := p.validate(); err != nil {
			return c, fmt.Errorf("ikev1: phase 1 proposal %s: %w", p, err)
		}
	}
	for _, p := range c.Phase2 {
		if err := p.validate(); err != nil {
			return c, fmt.Errorf("ikev1: phase 2 proposal %s: %w", p, err)
		}
	}
	if c.PFSGroups == nil {
		for _, p := range c.Phase1 {
			c.PFSGroups = append(c.PFSGroups, p.Group)
		}
	}
	for _, g := range c.PFSGroups {
		if !dh.Supported(g) {
			return c, fmt.Errorf("ikev1: PFS group %s is not supported", g)
		}
	}
	c.HalfOpenMax = defaulted(c.HalfOpenMax, DefaultHalfOpenMax)
	c.HalfOpenPerAddr = defaulted(c.HalfOpenPerAddr, DefaultHalfOpenPerAddr)
	c.HalfOpenPerNetwork = defaulted(c.HalfOpenPerNetwork, 4*c.HalfOpenPerAddr)
	c.HalfOpenTimeout = defaulted(c.HalfOpenTimeout, DefaultHalfOpenTimeout)
	c.MaxChildren = defaulted(c.MaxChildren, DefaultMaxChildren)
	c.DPDTimeout = defaulted(c.DPDTimeout, DefaultDPDTimeout)
	c.MaxClients = defaulted(c.MaxClients, DefaultMaxClients)
	c.MaxClientsPerAddr = defaulted(c.MaxClientsPerAddr, DefaultMaxClientsPerAddr)
	if c.ChildWait == 0 {
		c.ChildWait = DefaultChildWait
	}
	if c.DPDInterval == 0 {
		c.DPDInterval = DefaultDPDInterval
	}
	return c, nil
}

// defaulted returns v, or d when v is not positive.
func defaulted[T int | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}
