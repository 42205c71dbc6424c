// Package revocation fetches what says that certificates were revoked: CRLs (RFC 5280) from files and by HTTP, and answers of OCSP
// responders (RFC 6960).
//
// It trusts nothing of what it fetches: who uses it verifies the signatures. Sizes, times and repetitions are bounded.
package revocation
