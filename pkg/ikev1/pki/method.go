package pki

import (
	"crypto"
	_ "crypto/sha256" // links SHA-256, so that Hash().New() works
	_ "crypto/sha512" // links SHA-384 and SHA-512
	"fmt"
)

// Method is an authentication method of IKEv1 phase 1 (RFC 2409 Appendix A, RFC 4754 section 6).
type Method uint16

// The methods. Those with public-key encryption (4, 5) and DSS (2) are left out on purpose.
const (
	PSK          Method = 1
	RSASignature Method = 3
	ECDSA256     Method = 9  // P-256 with SHA-256
	ECDSA384     Method = 10 // P-384 with SHA-384
	ECDSA521     Method = 11 // P-521 with SHA-512
)

// String returns the name that configurations use, such as "rsa"; "method2" for a number without name.
func (m Method) String() string {
	switch m {
	case PSK:
		return "psk"
	case RSASignature:
		return "rsa"
	case ECDSA256:
		return "ecdsa256"
	case ECDSA384:
		return "ecdsa384"
	case ECDSA521:
		return "ecdsa521"
	}
	return fmt.Sprintf("method%d", uint16(m))
}

// Signature reports whether the method authenticates with a signature, and so with a certificate.
func (m Method) Signature() bool { return m == RSASignature || m.ecdsa() != nil }

// Hash returns the hash that has to take the place of the negotiated one in HASH_I and HASH_R; 0 if the negotiated one stays.
//
// The signatures of IKEv1 are over the octets of HASH_I or HASH_R, which are not hashed once more. A method tied to a hash computes
// them with the HMAC of that hash: HASH_I = HMAC-Hash()(SKEYID, g^xi | ...). SKEYID, its descendants, the phase 1 IV, NAT-D and the
// hashes of phase 2 stay with the negotiated hash (RFC 2409 section 5.1; strongSwan does the same). So with ecdsa384 and SHA-256
// negotiated, SKEYID has 32 octets and the signed HASH_I has 48.
func (m Method) Hash() crypto.Hash {
	if c := m.ecdsa(); c != nil {
		return c.hash
	}
	return 0
}
