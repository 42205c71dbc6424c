package wire

// Hash is the body of a Hash payload (RFC 2408 section 3.11).
type Hash []byte

// Type returns PayloadHash.
func (Hash) Type() PayloadType { return PayloadHash }

// AppendBody appends the hash.
func (h Hash) AppendBody(dst []byte) []byte { return append(dst, h...) }
