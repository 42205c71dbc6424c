package wire

import "fmt"

// Nonce is the body of a Nonce payload (RFC 2408 section 3.13).
type Nonce []byte

// ParseNonce checks the length of a nonce: 8 to 256 octets (RFC 2409 section 5).
func ParseNonce(b []byte) (Nonce, error) {
	if len(b) < 8 || len(b) > 256 {
		return nil, fmt.Errorf("nonce of %d octets: %w", len(b), ErrValue)
	}
	return Nonce(b), nil
}

// Type returns PayloadNonce.
func (Nonce) Type() PayloadType { return PayloadNonce }

// AppendBody appends the nonce.
func (n Nonce) AppendBody(dst []byte) []byte { return append(dst, n...) }
