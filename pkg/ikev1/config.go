package ikev1

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// Defaults of [Config].
const (
	DefaultHalfOpenMax     = 1000
	DefaultUnprovedMax     = 32768
	DefaultHalfOpenPerAddr = 64
	DefaultHalfOpenTimeout = 30 * time.Second
	DefaultDPDInterval     = 30 * time.Second
	DefaultDPDTimeout      = 150 * time.Second
	DefaultMaxChildren     = 8

	DefaultMaxClients        = 16384 + 1024 // a block of slots, and those who have no child yet
	DefaultMaxClientsPerAddr = 1024
	DefaultChildWait         = 60 * time.Second
)

// Config says what the engine accepts. At least one way to authenticate is required: PSK, GroupPSK, or Credentials and Trust. The
// zero value of every other field is its default.
type Config struct {
	// PSK returns the pre-shared key for the pair of outer addresses, nil when there is none for this peer. IKEv1 Main Mode
	// has to know the key before it learns the peer's identity (RFC 2409 section 5.4), so addresses are all there is.
	PSK func(local, remote netip.Addr) []byte

	// GroupPSK returns the pre-shared key of those who name themselves by this key ID in Aggressive Mode, nil for none. A nil
	// function refuses Aggressive Mode. Whoever knows the name of a group gets from us what it takes to guess the key offline.
	GroupPSK func(keyID []byte) []byte

	// Credentials are our certificates, of which the client's choice of method takes the first that fits. Trust decides whose
	// certificates of clients count. Signatures are refused unless both are set.
	Credentials []*pki.Credential
	Trust       *pki.Trust

	// Phase1 and Phase2 are what is allowed, in the server's order of preference. nil: those of [Compatible].
	Phase1 []Phase1Proposal
	Phase2 []Phase2Proposal

	// PFSGroups are the groups allowed when a client asks for perfect forward secrecy in Quick Mode. nil: those of [Compatible], and
	// the groups of Phase1.
	PFSGroups []dh.Group

	// MaxLifetime and MaxChildLifetime are the longest lives of ISAKMP SAs and of children, whatever a client asks for: at most
	// [MaxLifetime], which is the default of both.
	MaxLifetime, MaxChildLifetime time.Duration

	// ForceEncapsulation makes every client that supports RFC 3947 believe that it is behind a NAT, so that its ESP travels in UDP:
	// for networks that let ESP itself not pass. It holds for peers that we call, too.
	ForceEncapsulation bool

	SHA256Truncation SHA256Truncation

	// UnprovedMax bounds the handshakes of which only message 1 has come, which anybody can send in anybody's name; they take
	// 1.2 KB each. Beyond it the oldest gives way. So in a flood of n such messages in a second, a client has UnprovedMax/n seconds to
	// send message 3. HalfOpenMax bounds those that have sent it and are not authenticated yet; beyond it the network with the most of
	// them loses its oldest. HalfOpenPerAddr bounds both kinds of one IPv4 address or IPv6 /64, HalfOpenPerNetwork (zero: 4 times that)
	// of one IPv4 /24 or IPv6 /48: there the oldest without message 3 gives way, and if there is none, newcomers are refused.
	// HalfOpenTimeout is the life of them all, and of the exchanges that we begin.
	UnprovedMax        int
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

	// Records says that the owner keeps [Record] values, so that another engine can go on.
	Records bool
}

// withDefaults returns a copy in which every field has a usable value.
func (c Config) withDefaults() (Config, error) {
	if c.PSK == nil {
		if c.GroupPSK == nil && (len(c.Credentials) == 0 || c.Trust == nil) {
			return c, errors.New("ikev1: no way to authenticate: set Config.PSK, Config.GroupPSK, or Config.Credentials and Config.Trust")
		}
		c.PSK = func(netip.Addr, netip.Addr) []byte { return nil }
	}
	if c.Phase1 == nil {
		c.Phase1 = Compatible.Phase1()
	}
	if c.Phase2 == nil {
		c.Phase2 = Compatible.Phase2()
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
		c.PFSGroups = Compatible.PFSGroups()
		for _, p := range c.Phase1 {
			c.PFSGroups = append(c.PFSGroups, p.Group)
		}
	}
	for _, g := range c.PFSGroups {
		if !dh.Supported(g) {
			return c, fmt.Errorf("ikev1: PFS group %s is not supported", g)
		}
	}
	c.MaxLifetime = min(defaulted(c.MaxLifetime, MaxLifetime), MaxLifetime)
	c.MaxChildLifetime = min(defaulted(c.MaxChildLifetime, MaxLifetime), MaxLifetime)
	c.HalfOpenMax = defaulted(c.HalfOpenMax, DefaultHalfOpenMax)
	c.UnprovedMax = defaulted(c.UnprovedMax, DefaultUnprovedMax)
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
