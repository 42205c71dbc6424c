package wire

// KE is the body of a Key Exchange payload: the Diffie-Hellman public value (RFC 2408 section 3.7).
type KE []byte

// Type returns PayloadKE.
func (KE) Type() PayloadType { return PayloadKE }

// AppendBody appends the public value.
func (k KE) AppendBody(dst []byte) []byte { return append(dst, k...) }
