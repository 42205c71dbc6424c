package wire

// VendorID is the body of a Vendor ID payload (RFC 2408 section 3.16).
type VendorID []byte

// Type returns PayloadVendorID.
func (VendorID) Type() PayloadType { return PayloadVendorID }

// AppendBody appends the vendor ID.
func (v VendorID) AppendBody(dst []byte) []byte { return append(dst, v...) }
