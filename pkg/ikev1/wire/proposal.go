package wire

import "fmt"

// Proposal is one proposal of an SA payload (RFC 2408 section 3.5). Those with the same number belong together.
type Proposal struct {
	Number     uint8
	Protocol   Protocol
	SPI        []byte
	Transforms []Transform
}

// parseProposal reads what follows the generic header.
func (r *transformReader) parseProposal(b []byte) (Proposal, error) {
	if len(b) < 4 {
		return Proposal{}, ErrShort
	}
	p := Proposal{Number: b[0], Protocol: Protocol(b[1])}
	spiLen, count := int(b[2]), int(b[3])
	b = b[4:]
	if len(b) < spiLen {
		return Proposal{}, fmt.Errorf("SPI of %d octets: %w", spiLen, ErrShort)
	}
	p.SPI, b = b[:spiLen:spiLen], b[spiLen:]
	if count == 0 {
		return Proposal{}, fmt.Errorf("no transforms: %w", ErrValue)
	}
	if r.budget -= count; r.budget < 0 {
		return Proposal{}, fmt.Errorf("transforms: %w", ErrLimit)
	}
	p.Transforms = make([]Transform, 0, count)
	for i := range count {
		next, body, tail, err := splitSized(b)
		if err != nil {
			return Proposal{}, fmt.Errorf("transform %d: %w", i+1, err)
		}
		want := PayloadTransform
		if i == count-1 {
			want = PayloadNone
		}
		if next != want {
			return Proposal{}, fmt.Errorf("transform %d of %d followed by payload type %d: %w", i+1, count, next, ErrValue)
		}
		t, err := r.parse(body)
		if err != nil {
			return Proposal{}, fmt.Errorf("transform %d: %w", i+1, err)
		}
		p.Transforms = append(p.Transforms, t)
		b = tail
	}
	if len(b) != 0 {
		return Proposal{}, fmt.Errorf("%d octets after the transforms: %w", len(b), ErrValue)
	}
	return p, nil
}

func (p Proposal) appendBody(dst []byte) []byte {
	dst = append(dst, p.Number, byte(p.Protocol), byte(len(p.SPI)), byte(len(p.Transforms)))
	dst = append(dst, p.SPI...)
	for i, t := range p.Transforms {
		next := PayloadTransform
		if i == len(p.Transforms)-1 {
			next = PayloadNone
		}
		dst = appendSized(dst, next, t.appendBody)
	}
	return dst
}
