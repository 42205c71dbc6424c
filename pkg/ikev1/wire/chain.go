package wire

import "fmt"

// Raw is one payload of a message as it was found.
type Raw struct {
	Kind PayloadType
	Body []byte
}

// Type returns r.Kind.
func (r Raw) Type() PayloadType { return r.Kind }

// AppendBody appends r.Body.
func (r Raw) AppendBody(dst []byte) []byte { return append(dst, r.Body...) }

// ParseChain splits the payloads of a message, the first of which has type first. It returns how many octets they take; what
// follows in b is padding. Unknown types are kept, their order too.
func ParseChain(first PayloadType, b []byte) (payloads []Raw, consumed int, err error) {
	rest := b
	for kind := first; kind != PayloadNone; {
		if len(payloads) == MaxPayloads {
			return nil, 0, fmt.Errorf("payloads: %w", ErrLimit)
		}
		next, body, tail, err := splitSized(rest)
		if err != nil {
			return nil, 0, fmt.Errorf("payload %d of type %d: %w", len(payloads)+1, kind, err)
		}
		payloads = append(payloads, Raw{Kind: kind, Body: body})
		kind, rest = next, tail
	}
	return payloads, len(b) - len(rest), nil
}

// AppendChain appends payloads with their generic headers.
func AppendChain(dst []byte, payloads ...Payload) []byte {
	for i, p := range payloads {
		dst = appendSized(dst, First(payloads[i+1:]), p.AppendBody)
	}
	return dst
}

// First returns the type of the first payload, PayloadNone if there is none.
func First(payloads []Payload) PayloadType {
	if len(payloads) == 0 {
		return PayloadNone
	}
	return payloads[0].Type()
}
