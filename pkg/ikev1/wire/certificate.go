package wire

import "fmt"

// The certificate encodings of RFC 2408 section 3.9 that are in use with IPsec (RFC 4945 section 3.3.4); the others are ignored.
const (
	EncodingPKCS7           uint8 = 1
	EncodingX509Signature   uint8 = 4
	EncodingX509KeyExchange uint8 = 5
	EncodingCRL             uint8 = 7
)

// Certificate is the body of a Certificate payload (RFC 2408 section 3.9).
type Certificate struct {
	Encoding uint8

	// Data is at most [MaxCertificate] octets: one certificate in DER for EncodingX509Signature. It is not looked into.
	Data []byte
}

// ParseCertificate reads the body of a Certificate payload.
func ParseCertificate(b []byte) (Certificate, error) {
	if len(b) < 1 {
		return Certificate{}, fmt.Errorf("certificate: no encoding: %w", ErrShort)
	}
	if len(b)-1 > MaxCertificate {
		return Certificate{}, fmt.Errorf("certificate of %d octets: %w", len(b)-1, ErrLimit)
	}
	return Certificate{Encoding: b[0], Data: b[1:]}, nil
}

// Type returns PayloadCert.
func (Certificate) Type() PayloadType { return PayloadCert }

// AppendBody appends the encoding and the data.
func (c Certificate) AppendBody(dst []byte) []byte { return append(append(dst, c.Encoding), c.Data...) }
