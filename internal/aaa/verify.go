package aaa

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"layeh.com/radius"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/vendors/microsoft"
)

// errWrong is returned for credentials that do not fit the password.
var errWrong = errors.New("wrong password")

// methodOf tells which kind of credentials a request has.
func methodOf(p *radius.Packet) Method {
	switch {
	case len(microsoft.MSCHAP2Response_Get(p)) > 0:
		return MethodMSCHAPv2
	case len(rfc2865.CHAPPassword_Get(p)) > 0:
		return MethodCHAP
	case len(p.Get(rfc2865.UserPassword_Type)) > 0:
		return MethodPAP
	}
	return MethodNone
}

// verify compares the credentials in p with password. For MS-CHAPv2 it returns the value of MS-CHAP2-Success, by which
// the server proves to the peer that it knows the password too.
func verify(p *radius.Packet, method Method, name, password string) (success []byte, err error) {
	if password == "" {
		return nil, errWrong
	}
	switch method {
	case MethodPAP:
		return nil, verifyPAP(p, password)
	case MethodCHAP:
		return nil, verifyCHAP(p, password)
	case MethodMSCHAPv2:
		return verifyMSCHAPv2(p, name, password)
	}
	return nil, errWrong
}

// verifyPAP also accepts the password as pppd writes it when it has characters beyond ASCII.
func verifyPAP(p *radius.Packet, password string) error {
	sent, err := rfc2865.UserPassword_Lookup(p)
	if err != nil {
		return errWrong
	}
	// Not &&: both comparisons always take place.
	if subtle.ConstantTimeCompare(sent, []byte(password))|subtle.ConstantTimeCompare(sent, []byte(visible(password))) != 1 {
		return errWrong
	}
	return nil
}

// verifyCHAP: RFC 1994 section 4.1, RFC 2865 section 5.3. The challenge is in CHAP-Challenge or is the authenticator.
func verifyCHAP(p *radius.Packet, password string) error {
	response := rfc2865.CHAPPassword_Get(p)
	if len(response) != 1+md5.Size {
		return errWrong
	}
	challenge := rfc2865.CHAPChallenge_Get(p)
	if len(challenge) == 0 {
		challenge = p.Authenticator[:]
	}
	h := md5.New()
	h.Write(response[:1])
	h.Write([]byte(password))
	h.Write(challenge)
	if subtle.ConstantTimeCompare(h.Sum(nil), response[1:]) != 1 {
		return errWrong
	}
	return nil
}

// verifyMSCHAPv2: RFC 2548 section 2.3.2 has the layout: Ident, Flags, Peer-Challenge (16), Reserved (8), Response (24).
func verifyMSCHAPv2(p *radius.Packet, name, password string) ([]byte, error) {
	challenge, response := microsoft.MSCHAPChallenge_Get(p), microsoft.MSCHAP2Response_Get(p)
	if len(challenge) != 16 || len(response) != 50 {
		return nil, errWrong
	}
	peerChallenge, sent := response[2:18], response[26:50]
	// RFC 2759 section 8.2: "Only the user name (as presented by the peer and excluding any prepended domain name) is
	// used as input". Some clients hash the domain all the same.
	for _, user := range []string{name[strings.LastIndexByte(name, '\\')+1:], name} {
		want, err := rfc2759.GenerateNTResponse(challenge, peerChallenge, []byte(user), []byte(password))
		if err != nil {
			return nil, fmt.Errorf("compute the MS-CHAPv2 response: %w", err)
		}
		if subtle.ConstantTimeCompare(want, sent) != 1 {
			continue
		}
		proof, err := rfc2759.GenerateAuthenticatorResponse(challenge, peerChallenge, want, []byte(user), []byte(password))
		if err != nil {
			return nil, fmt.Errorf("compute the MS-CHAPv2 authenticator response: %w", err)
		}
		return append([]byte{response[0]}, proof...), nil
	}
	return nil, errWrong
}

// mschapFailure is the text of an MS-CHAPv2 Failure packet, RFC 2759 section 6: authentication failure, no retry on this
// connection, a challenge because the format has one.
func mschapFailure() string {
	var c [16]byte
	_, _ = rand.Read(c[:]) // never fails, and nobody uses it: R=0
	return "E=691 R=0 C=" + strings.ToUpper(hex.EncodeToString(c[:])) + " V=3 M=Access denied"
}
