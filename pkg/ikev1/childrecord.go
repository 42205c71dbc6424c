package ikev1

import (
	"fmt"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// childRecord is a child whose inbound SA is installed and known to the peer.
type childRecord struct {
	ID            ChildID       `cbor:"1,keyasint"`
	Origin        uint64        `cbor:"2,keyasint"`
	State         childState    `cbor:"3,keyasint"`
	SPIIn         uint32        `cbor:"4,keyasint"`
	SPIOut        uint32        `cbor:"5,keyasint"`
	Path          *pathRecord   `cbor:"6,keyasint,omitempty"`
	Proposal      phase2Record  `cbor:"7,keyasint"`
	Name          string        `cbor:"8,keyasint"`
	ESN           bool          `cbor:"9,keyasint,omitempty"`
	Lifetime      time.Duration `cbor:"10,keyasint"`
	LifetimeBytes uint64        `cbor:"11,keyasint,omitempty"`
	Encryption    []byte        `cbor:"12,keyasint,omitempty"` // keys of the outbound SA until it is installed
	Integrity     []byte        `cbor:"13,keyasint,omitempty"`
	Terms         termsRecord   `cbor:"14,keyasint"`
	Initiator     bool          `cbor:"15,keyasint,omitempty"`
	RekeyAt       moment        `cbor:"16,keyasint,omitempty"`
	Replaces      ChildID       `cbor:"17,keyasint,omitempty"`
	SwitchAt      moment        `cbor:"18,keyasint,omitempty"`
	Retired       bool          `cbor:"19,keyasint,omitempty"`
	Established   moment        `cbor:"20,keyasint,omitempty"`
	Expires       moment        `cbor:"21,keyasint,omitempty"`
	Ends          moment        `cbor:"22,keyasint,omitempty"`
}

// phase2Record is a [Phase2Proposal].
type phase2Record struct {
	_          struct{} `cbor:",toarray"`
	Encryption Encryption
	KeyBits    int
	Integrity  Integrity
}

func phase2RecordOf(p Phase2Proposal) phase2Record {
	return phase2Record{Encryption: p.Encryption, KeyBits: p.KeyBits, Integrity: p.Integrity}
}

func (r phase2Record) read() (Phase2Proposal, error) {
	p := Phase2Proposal{Encryption: r.Encryption, KeyBits: r.KeyBits, Integrity: r.Integrity}
	whole := p
	if whole.Integrity == HMACSHA256_96 { // which is never configured, but may be what a client means
		whole.Integrity = HMACSHA256_128
	}
	if err := whole.validate(); err != nil {
		return p, fmt.Errorf("proposal %s: %w", p, err)
	}
	return p, nil
}

// termsRecord is [quickTerms].
type termsRecord struct {
	Proposals []phase2Record `cbor:"1,keyasint"`
	Group     dh.Group       `cbor:"2,keyasint,omitempty"`
	ESN       bool           `cbor:"3,keyasint,omitempty"`
	Lifetime  time.Duration  `cbor:"4,keyasint"`
	Bytes     uint64         `cbor:"5,keyasint,omitempty"`
	Selectors [][]byte       `cbor:"6,keyasint,omitempty"`
}

func (t quickTerms) record() termsRecord {
	r := termsRecord{Group: t.group, ESN: t.esn, Lifetime: t.life.time, Bytes: t.life.bytes}
	for _, p := range t.proposals {
		r.Proposals = append(r.Proposals, phase2RecordOf(p))
	}
	for _, s := range t.selectors {
		r.Selectors = append(r.Selectors, s.AppendBody(nil))
	}
	return r
}

func (r termsRecord) read() (quickTerms, error) {
	t := quickTerms{group: r.Group, esn: r.ESN, life: life{r.Lifetime, r.Bytes}}
	selectors := len(r.Selectors) <= 2 && !slices.ContainsFunc(r.Selectors, func(body []byte) bool {
		_, err := wire.ParseID(body)
		return err != nil || len(body) > maxDatagram
	})
	if !plausible(t.life.time) || t.group != 0 && !dh.Supported(t.group) || len(r.Proposals) == 0 || len(r.Proposals) > maxOffered || !selectors {
		return t, fmt.Errorf("implausible terms: a lifetime of %v, %s, %d proposals, %d selectors", t.life.time, t.group, len(r.Proposals), len(r.Selectors))
	}
	for _, s := range r.Proposals {
		p, err := s.read()
		if err != nil {
			return t, err
		}
		t.proposals = append(t.proposals, p)
	}
	for _, body := range r.Selectors {
		t.selectors = append(t.selectors, wire.Raw{Kind: wire.PayloadID, Body: body})
	}
	return t, nil
}

// recordable says whether the peer may be using the child.
func (ch *child) recordable() bool {
	if ch.state != childLarval {
		return true
	}
	for _, sa := range ch.client.sas {
		for _, q := range sa.quick {
			if q.child == ch {
				return q.recordable()
			}
		}
	}
	return false
}

// record writes ch down.
func (ch *child) record() childRecord {
	r := childRecord{
		ID: ch.id, Origin: ch.origin, State: ch.state, SPIIn: ch.spiIn, SPIOut: ch.spiOut,
		Path:     path{ch.local, ch.remote, ch.encapsulated}.unless(ch.client.path()),
		Proposal: phase2RecordOf(ch.proposal), Name: ch.name, ESN: ch.esn, Lifetime: ch.lifetime, LifetimeBytes: ch.lifetimeBytes,
		Terms: ch.terms.record(), Initiator: ch.initiator, RekeyAt: momentOf(ch.rekeyAt), SwitchAt: momentOf(ch.switchAt), Retired: ch.retired,
		Established: momentOf(ch.established), Expires: momentOf(ch.expires), Ends: momentOf(ch.ends),
	}
	if ch.replaces != nil {
		r.Replaces = ch.replaces.id
	}
	if ch.state != childEstablished {
		r.Encryption, r.Integrity = ch.out.encryption, ch.out.integrity
	}
	return r
}

func (r childRecord) read(c *client) (*child, error) {
	p, err := r.Path.readOr(c.path())
	if err != nil {
		return nil, err
	}
	proposal, err := r.Proposal.read()
	if err != nil {
		return nil, err
	}
	terms, err := r.Terms.read()
	if err != nil {
		return nil, err
	}
	ch := &child{
		id: r.ID, client: c, origin: r.Origin, state: r.State, spiIn: r.SPIIn, spiOut: r.SPIOut, local: p.local, remote: p.remote,
		encapsulated: p.encapsulated, proposal: proposal, name: r.Name, esn: r.ESN, lifetime: r.Lifetime, lifetimeBytes: r.LifetimeBytes,
		in: espKeys{asked: true}, out: espKeys{encryption: r.Encryption, integrity: r.Integrity, asked: true},
		terms: terms, initiator: r.Initiator, rekeyAt: r.RekeyAt.time(), switchAt: r.SwitchAt.time(), retired: r.Retired,
		established: r.Established.time(), expires: r.Expires.time(), ends: r.Ends.time(),
	}
	ch.timer.owner = ch
	keys := len(r.Encryption) == proposal.encryptionKeyLen() && len(r.Integrity) == proposal.Integrity.KeyLen()
	switch {
	case ch.id == 0 || ch.id > maxRecordedID || ch.origin > maxRecordedID || c.child(ch.id) != nil,
		ch.spiIn < minSPI || ch.spiOut < minSPI, !plausible(ch.lifetime):
		return nil, fmt.Errorf("number %d, SPIs %#x and %#x, lifetime %v", ch.id, ch.spiIn, ch.spiOut, ch.lifetime)
	case ch.state == childLarval && keys:
	case ch.state == childOutbound && keys && !ch.expires.IsZero():
	case ch.state == childEstablished && len(r.Encryption)+len(r.Integrity) == 0 && !ch.expires.IsZero():
	default:
		return nil, fmt.Errorf("it is in state %d, and has keys of %d and %d octets for %s", ch.state, len(r.Encryption), len(r.Integrity), proposal)
	}
	installed := ch.state == childEstablished
	switch {
	case ch.state == childLarval && (ch.initiator || r.Replaces != 0 || r.SwitchAt != 0 || r.Expires != 0):
		return nil, fmt.Errorf("it waits for the peer's message 3, and replaces child %d, is to be used from %v and ends at %v", r.Replaces, ch.switchAt, ch.expires)
	case installed && !ch.switchAt.IsZero():
		return nil, fmt.Errorf("it is installed, and waits for that until %v", ch.switchAt)
	case ch.retired && (!installed || ch.ends.IsZero() || !ch.rekeyAt.IsZero()):
		return nil, fmt.Errorf("another has taken its place, but it is in state %d, ends at %v and is to be replaced at %v", ch.state, ch.ends, ch.rekeyAt)
	case !ch.initiator && !ch.rekeyAt.IsZero():
		return nil, fmt.Errorf("the peer is to replace it, and we at %v", ch.rekeyAt)
	}
	return ch, nil
}
