package wire

import "fmt"

// CertificateRequest is the body of a Certificate Request payload (RFC 2408 section 3.10).
type CertificateRequest struct {
	// Encoding is one of those of [Certificate].
	Encoding uint8

	// Authority is the distinguished name of an acceptable authority in DER, at most [MaxCertificate] octets; empty, as from
	// Windows, for any authority.
	Authority []byte
}

// ParseCertificateRequest reads the body of a Certificate Request payload.
func ParseCertificateRequest(b []byte) (CertificateRequest, error) {
	if len(b) < 1 {
		return CertificateRequest{}, fmt.Errorf("certificate request: no encoding: %w", ErrShort)
	}
	if len(b)-1 > MaxCertificate {
		return CertificateRequest{}, fmt.Errorf("certificate request of %d octets: %w", len(b)-1, ErrLimit)
	}
	return CertificateRequest{Encoding: b[0], Authority: b[1:]}, nil
}

// Type returns PayloadCertRequest.
func (CertificateRequest) Type() PayloadType { return PayloadCertRequest }

// AppendBody appends the encoding and the authority.
func (c CertificateRequest) AppendBody(dst []byte) []byte {
	return append(append(dst, c.Encoding), c.Authority...)
}
