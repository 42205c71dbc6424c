package wire

// NATD is the body of a NAT-D payload (RFC 3947 section 3.2): a hash of an address and port.
type NATD []byte

// Type returns PayloadNATD.
func (NATD) Type() PayloadType { return PayloadNATD }

// AppendBody appends the hash.
func (n NATD) AppendBody(dst []byte) []byte { return append(dst, n...) }
