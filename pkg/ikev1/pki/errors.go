package pki

import (
	"errors"
	"fmt"
)

// Cause is why a peer was not authenticated.
type Cause string

// The causes.
const (
	Expired           Cause = "certificate-expired"
	NotYetValid       Cause = "certificate-not-yet-valid"
	Untrusted         Cause = "certificate-untrusted"
	Revoked           Cause = "certificate-revoked"
	RevocationUnknown Cause = "revocation-unknown"
	UnknownIdentity   Cause = "unknown-identity"
	BadSignature      Cause = "bad-signature"
	Malformed         Cause = "certificate-malformed"
	Limit             Cause = "certificate-limit"
)

// hints tell the operator what cures a cause.
var hints = map[Cause]string{
	Expired:           "renew the certificate, and compare the clocks",
	NotYetValid:       "compare the clocks of this host and of the host that issued the certificate",
	Untrusted:         "let a configured trust anchor issue the certificate, or add its CA to the trust anchors",
	Revoked:           "issue a new certificate if the peer is to come back",
	RevocationUnknown: "make the CRL or the OCSP responder reachable and fresh, or set revocation to soft",
	UnknownIdentity:   "let the peer send an identity of its certificate, and let the allow rules match the certificate",
	BadSignature:      "let the peer use the private key of the certificate that it sends",
	Malformed:         "install the peer's certificate anew; what it sends cannot be read",
	Limit:             "let the peer send fewer and smaller certificates: its own and its intermediates",
}

// Hint returns what the operator can do about the cause.
func (c Cause) Hint() string { return hints[c] }

// Error says why a peer was not authenticated. Find it with errors.As.
type Error struct {
	Cause Cause
	// Subject is the DN of the certificate that is to blame, printable; empty if none is.
	Subject string
	// Err is the detail. It has names and numbers of the certificate, made printable, and no secrets.
	Err error
}

// Error returns cause, certificate, detail and hint.
func (e *Error) Error() string {
	of := ""
	if e.Subject != "" {
		of = fmt.Sprintf(" (%s)", e.Subject)
	}
	return fmt.Sprintf("%s%s: %v: %s", e.Cause, of, e.Err, e.Cause.Hint())
}

// Unwrap returns the detail.
func (e *Error) Unwrap() error { return e.Err }

func fail(cause Cause, format string, args ...any) *Error {
	return &Error{Cause: cause, Err: fmt.Errorf(format, args...)}
}

// blame names the certificate that an error is about.
func blame(subject string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Subject == "" {
		return &Error{Cause: e.Cause, Subject: subject, Err: e.Err}
	}
	return err
}
