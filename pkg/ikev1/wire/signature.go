package wire

// Signature is the body of a Signature payload (RFC 2408 section 3.12). Its length is for the algorithm to check.
type Signature []byte

// Type returns PayloadSignature.
func (Signature) Type() PayloadType { return PayloadSignature }

// AppendBody appends the signature.
func (s Signature) AppendBody(dst []byte) []byte { return append(dst, s...) }
