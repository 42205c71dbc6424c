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

func parseTransform(b []byte) (Transform, error) {
	if len(b) < 4 {
		return Transform{}, ErrShort
	}
	t := Transform{Number: b[0], ID: b[1]}
	for rest := b[4:]; len(rest) > 0; {
		if len(t.Attributes) == MaxAttributes {
			return Transform{}, fmt.Errorf("attributes: %w", ErrLimit)
		}
		a, tail, err := parseAttribute(rest)
		if err != nil {
			return Transform{}, fmt.Errorf("attribute %d: %w", len(t.Attributes)+1, err)
		}
		t.Attributes = append(t.Attributes, a)
		rest = tail
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
