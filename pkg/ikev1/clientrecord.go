package ikev1

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// clientRecord is all that is recorded of a client. What only bounds or spares work (the counts of limiters, messages under reassembly, the
// time of the next keepalive) is not, nor is what the peer repeats or we begin anew: handshakes, and Quick Modes before the
// message that lets the other side use the SAs.
type clientRecord struct {
	Version     int               `cbor:"1,keyasint"`
	ID          ClientID          `cbor:"2,keyasint"`
	Path        pathRecord        `cbor:"3,keyasint"`
	KeyIdentity []byte            `cbor:"4,keyasint,omitempty"`
	By          authentication    `cbor:"5,keyasint,omitempty"`
	Identity    []byte            `cbor:"6,keyasint,omitempty"` // the peer chooses it, it need not be UTF-8
	NATHere     bool              `cbor:"7,keyasint,omitempty"`
	Failed      bool              `cbor:"8,keyasint,omitempty"`
	HadChild    bool              `cbor:"9,keyasint,omitempty"`
	Wait        moment            `cbor:"10,keyasint,omitempty"`
	Established moment            `cbor:"11,keyasint,omitempty"`
	Method      pki.Method        `cbor:"12,keyasint,omitempty"`
	VendorKind  string            `cbor:"13,keyasint,omitempty"`
	IKEProposal string            `cbor:"14,keyasint,omitempty"`
	Connection  *connectionRecord `cbor:"15,keyasint,omitempty"`
	SAs         []saRecord        `cbor:"16,keyasint,omitempty"`
	Children    []childRecord     `cbor:"17,keyasint,omitempty"`
}

// pathRecord is where a client is; what is where the client is has none of its own.
type pathRecord struct {
	Local        []byte `cbor:"1,keyasint"`
	Remote       []byte `cbor:"2,keyasint"`
	Encapsulated bool   `cbor:"3,keyasint,omitempty"`
}

// path is a pathRecord that was read.
type path struct {
	local, remote netip.AddrPort
	encapsulated  bool
}

func (p path) record() pathRecord {
	return pathRecord{Local: addrOctets(p.local), Remote: addrOctets(p.remote), Encapsulated: p.encapsulated}
}

// unless returns the record of p if it is another one than that of the client.
func (p path) unless(ofClient path) *pathRecord {
	if p == ofClient {
		return nil
	}
	r := p.record()
	return &r
}

func addrOctets(a netip.AddrPort) []byte {
	b, _ := a.AppendBinary(make([]byte, 0, 18)) // it has no errors
	return b
}

func (r pathRecord) read() (p path, err error) {
	if err := p.local.UnmarshalBinary(r.Local); err != nil {
		return p, fmt.Errorf("local address: %w", err)
	}
	if err := p.remote.UnmarshalBinary(r.Remote); err != nil {
		return p, fmt.Errorf("remote address: %w", err)
	}
	p.local, p.remote, p.encapsulated = unmapped(p.local), unmapped(p.remote), r.Encapsulated
	if !p.local.IsValid() || !p.remote.IsValid() || p.local.Addr().Is4() != p.remote.Addr().Is4() {
		return p, fmt.Errorf("%v and %v are no pair of addresses", p.local, p.remote)
	}
	return p, nil
}

// readOr reads a path that may be that of the client.
func (r *pathRecord) readOr(ofClient path) (path, error) {
	if r == nil {
		return ofClient, nil
	}
	return r.read()
}

func (c *client) path() path { return path{c.local, c.key.remote, c.encapsulated} }

// record writes c down.
func (c *client) record() clientRecord {
	r := clientRecord{
		Version: recordVersion, ID: c.id, Path: c.path().record(), KeyIdentity: []byte(c.key.identity), By: c.key.by, Identity: []byte(c.identity),
		NATHere: c.natHere, Failed: c.failed, HadChild: c.hadChild, Wait: momentOf(c.wait.at), Established: momentOf(c.established),
		Method: c.method, VendorKind: c.vendorKind, IKEProposal: c.ikeProposal,
	}
	if c.connection != nil {
		r.Connection = c.connection.record()
	}
	for _, sa := range c.sas {
		r.SAs = append(r.SAs, sa.record())
	}
	for _, ch := range c.children {
		if ch.recordable() {
			r.Children = append(r.Children, ch.record())
		}
	}
	return r
}

// read makes a client of the record that stands in no table yet.
func (r clientRecord) read() (*client, error) {
	p, err := r.Path.read()
	switch {
	case err != nil:
		return nil, err
	case r.ID == 0 || r.ID > maxRecordedID:
		return nil, fmt.Errorf("client %d", r.ID)
	case len(r.SAs)+len(r.Children) == 0:
		return nil, fmt.Errorf("a client with nothing")
	}
	c := &client{
		id: r.ID, key: clientKey{local: p.local.Addr(), remote: p.remote, identity: string(r.KeyIdentity), by: r.By},
		identity: string(r.Identity), local: p.local, encapsulated: p.encapsulated, natHere: r.NATHere, failed: r.Failed, hadChild: r.HadChild,
		established: r.Established.time(), method: r.Method, vendorKind: r.VendorKind, ikeProposal: r.IKEProposal,
	}
	c.own()
	c.wait.at = r.Wait.time() // off, until the engine takes it
	if r.Connection != nil {
		if c.connection, err = r.Connection.read(); err != nil {
			return nil, fmt.Errorf("connection: %w", err)
		}
		c.connection.client = c
	}
	for i, s := range r.Children {
		ch, err := s.read(c)
		if err != nil {
			return nil, fmt.Errorf("child %d: %w", i, err)
		}
		c.children = append(c.children, ch)
	}
	for i, s := range r.SAs {
		sa, err := s.read(c)
		if err != nil {
			return nil, fmt.Errorf("ISAKMP SA %d: %w", i, err)
		}
		c.sas = append(c.sas, sa)
	}
	return c, r.link(c)
}

// link connects children with those whose place they take, and finds out whether each has what it waits for.
func (r clientRecord) link(c *client) error {
	for i, s := range r.Children {
		ch := c.children[i]
		if s.Replaces != 0 {
			if ch.replaces = c.child(s.Replaces); ch.replaces == nil || ch.replaces.id >= ch.id || ch.replaces.state != childEstablished {
				return fmt.Errorf("child %d replaces child %d, which is none that was there before", ch.id, s.Replaces)
			}
		}
		exchanges := 0
		for _, sa := range c.sas {
			for _, q := range sa.quick {
				if q.child == ch && q.state == quickAwaitMessage3 {
					exchanges++
				}
			}
		}
		if larval := ch.state == childLarval; larval && exchanges != 1 || !larval && exchanges != 0 {
			return fmt.Errorf("child %d in state %d has %d Quick Modes", ch.id, ch.state, exchanges)
		}
	}
	return nil
}

// child returns one of the children, nil if it is not there.
func (c *client) child(id ChildID) *child {
	i := slices.IndexFunc(c.children, func(ch *child) bool { return ch.id == id })
	if i < 0 {
		return nil
	}
	return c.children[i]
}

// connectionRecord is a [Connection].
type connectionRecord struct {
	ID         ConnectionID   `cbor:"1,keyasint"`
	Path       pathRecord     `cbor:"2,keyasint"`
	Method     pki.Method     `cbor:"3,keyasint"`
	Allow      []string       `cbor:"4,keyasint,omitempty"`
	Phase1     []phase1Record `cbor:"5,keyasint"`
	Terms      termsRecord    `cbor:"6,keyasint"`
	Lifetime   time.Duration  `cbor:"7,keyasint"`
	LocalPort  uint16         `cbor:"8,keyasint"`
	RemotePort uint16         `cbor:"9,keyasint"`
}

func (c *connection) record() *connectionRecord {
	r := &connectionRecord{
		ID: c.id, Path: path{local: c.Local, remote: c.Remote}.record(), Method: c.Method, Lifetime: c.Lifetime,
		Terms:     quickTerms{proposals: c.Phase2, group: c.PFS, esn: c.ESN, life: life{c.ChildLifetime, c.LifetimeBytes}}.record(),
		LocalPort: c.LocalPort, RemotePort: c.RemotePort,
	}
	for _, rule := range c.Allow {
		r.Allow = append(r.Allow, rule.String())
	}
	for _, p := range c.Phase1 {
		r.Phase1 = append(r.Phase1, phase1RecordOf(p))
	}
	return r
}

func (r *connectionRecord) read() (*connection, error) {
	p, err := r.Path.read()
	if err != nil {
		return nil, err
	}
	terms, err := r.Terms.read()
	if err != nil {
		return nil, err
	}
	c := &connection{id: r.ID, restored: true, Connection: Connection{
		Local: p.local, Remote: p.remote, Method: r.Method, Lifetime: r.Lifetime, Phase2: terms.proposals, PFS: terms.group, ESN: terms.esn,
		ChildLifetime: terms.life.time, LifetimeBytes: terms.life.bytes, LocalPort: r.LocalPort, RemotePort: r.RemotePort,
	}}
	for _, text := range r.Allow {
		rule, err := pki.ParseRule(text)
		if err != nil {
			return nil, err
		}
		c.Allow = append(c.Allow, rule)
	}
	for _, p := range r.Phase1 {
		c.Phase1 = append(c.Phase1, p.proposal())
	}
	switch {
	case c.id == 0 || c.id > maxRecordedID:
		return nil, fmt.Errorf("connection %d", c.id)
	case !plausible(c.Lifetime) || !plausible(c.ChildLifetime):
		return nil, fmt.Errorf("lifetimes of %v and %v", c.Lifetime, c.ChildLifetime)
	case c.PFS != 0 && !dh.Supported(c.PFS):
		return nil, fmt.Errorf("PFS group %s is not supported", c.PFS)
	}
	return c, c.validate()
}

// plausible says whether a lifetime is one that we agree to.
func plausible(lifetime time.Duration) bool { return lifetime > 0 && lifetime <= MaxLifetime }
