package wire

import "fmt"

// TransformKeyIKE is the only transform of phase 1 (RFC 2407 section 4.4.2).
const TransformKeyIKE uint8 = 1

// Transform is one transform of a proposal (RFC 2408 section 3.6).
type Transform struct {
	Number     uint8
	ID         uint8
	Attributes []Attribute
}

// transformReader parses the transforms of one SA payload.
type transformReader struct {
	budget int // transforms still allowed

	// attributes are those of all transforms: one array for a whole offer.
	attributes []Attribute
}

func (r *transformReader) parse(b []byte) (Transform, error) {
	if len(b) < 4 {
		return Transform{}, ErrShort
	}
	first := len(r.attributes)
	for rest := b[4:]; len(rest) > 0; {
		if len(r.attributes)-first == MaxAttributes {
			return Transform{}, fmt.Errorf("attributes: %w", ErrLimit)
		}
		a, tail, err := parseAttribute(rest)
		if err != nil {
			return Transform{}, fmt.Errorf("attribute %d: %w", len(r.attributes)-first+1, err)
		}
		r.attributes = append(r.attributes, a)
		rest = tail
	}
	t := Transform{Number: b[0], ID: b[1]}
	if n := len(r.attributes); n > first {
		t.Attributes = r.attributes[first:n:n]
	}
	return t, nil
}

func (t Transform) appendBody(dst []byte) []byte {
	dst = append(dst, t.Number, t.ID, 0, 0)
	for _, a := range t.Attributes {
		dst = a.append(dst)
	}
	return dst
}
