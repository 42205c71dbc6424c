package wire

import (
	"encoding/binary"
	"fmt"
)

// SituationIdentityOnly is the only situation in use (RFC 2407 section 4.2.1).
const SituationIdentityOnly uint32 = 1

// SA is the body of a Security Association payload (RFC 2408 section 3.4).
type SA struct {
	DOI       uint32
	Situation uint32
	Proposals []Proposal
}

// ParseSA reads the body of an SA payload.
func ParseSA(b []byte) (*SA, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("SA payload: %d octets: %w", len(b), ErrShort)
	}
	sa := &SA{DOI: binary.BigEndian.Uint32(b), Situation: binary.BigEndian.Uint32(b[4:])}
	if sa.DOI != DOIIPsec {
		return nil, fmt.Errorf("SA payload: DOI %d: %w", sa.DOI, ErrValue)
	}
	if sa.Situation != SituationIdentityOnly {
		return nil, fmt.Errorf("SA payload: situation %#x: %w", sa.Situation, ErrValue)
	}
	r := transformReader{budget: MaxTransforms, attributes: make([]Attribute, 0, min(len(b)/4, 128))} // an attribute has 4 octets or more
	for rest, more := b[8:], true; more; {
		if len(sa.Proposals) == MaxProposals {
			return nil, fmt.Errorf("SA payload: proposals: %w", ErrLimit)
		}
		next, body, tail, err := splitSized(rest)
		if err != nil {
			return nil, fmt.Errorf("SA payload: proposal %d: %w", len(sa.Proposals)+1, err)
		}
		p, err := r.parseProposal(body)
		if err != nil {
			return nil, fmt.Errorf("SA payload: proposal %d: %w", len(sa.Proposals)+1, err)
		}
		sa.Proposals = append(sa.Proposals, p)
		switch {
		case next == PayloadProposal:
			rest = tail
		case next == PayloadNone && len(tail) == 0:
			more = false
		default:
			return nil, fmt.Errorf("SA payload: after proposal %d: %w", len(sa.Proposals), ErrValue)
		}
	}
	return sa, nil
}

// Type returns PayloadSA.
func (*SA) Type() PayloadType { return PayloadSA }

// AppendBody appends the body of the payload.
func (sa *SA) AppendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, sa.DOI)
	dst = binary.BigEndian.AppendUint32(dst, sa.Situation)
	for i, p := range sa.Proposals {
		next := PayloadProposal
		if i == len(sa.Proposals)-1 {
			next = PayloadNone
		}
		dst = appendSized(dst, next, p.appendBody)
	}
	return dst
}
