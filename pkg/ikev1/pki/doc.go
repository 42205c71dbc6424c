// Package pki authenticates IKEv1 peers with signatures and X.509 certificates: the signature methods of RFC 2409 section 5.1 (RSA) and
// RFC 4754 (ECDSA), the path from a peer's certificate to a trust anchor (RFC 5280, RFC 4945), the identity that the certificate must
// vouch for, and revocation by CRL and OCSP (RFC 6960).
//
// The package has no network, no files and no clock: time and octets are arguments, and what has to be fetched is asked of the
// caller's [TrustConfig] function.
package pki
