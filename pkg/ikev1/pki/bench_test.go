package pki

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
)

func benchKeys(b *testing.B) map[string]crypto.Signer {
	return map[string]crypto.Signer{
		"rsa2048": rsaKey(b, 2048), "rsa4096": rsaKey(b, 4096),
		"ecdsa256": ecKey(b, elliptic.P256()), "ecdsa384": ecKey(b, elliptic.P384()), "ecdsa521": ecKey(b, elliptic.P521()),
	}
}

func BenchmarkSign(b *testing.B) {
	for name, key := range benchKeys(b) {
		c, err := NewCredential(certs(issue(b, nil, "gateway", client, key)), key)
		if err != nil {
			b.Fatal(err)
		}
		hash := hashFor(c.Method())
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Sign(rand.Reader, hash); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, key := range benchKeys(b) {
		claim := claimOf(b, issue(b, nil, "gateway", client, key))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := Verify(claim.Method, key.Public(), claim.Hash, claim.Signature); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAuthenticate is an honest peer with one intermediate and CRLs at hand.
func BenchmarkAuthenticate(b *testing.B) {
	for name, key := range benchKeys(b) {
		root := issue(b, nil, "Root", authority, key)
		sub := issue(b, root, "Sub CA", authority, key)
		trust := newTrust(b, TrustConfig{Anchors: certs(root), Revocation: Strict, CRLs: [][]byte{crlOf(b, root, 1, nil), crlOf(b, sub, 1, nil)}})
		claim := claimOf(b, issue(b, sub, "client", client, key), sub)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := trust.Authenticate(b.Context(), claim); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAuthenticateMaze is the most that a stranger can make us do: certificates that all name an anchor with such a key as issuer.
func BenchmarkAuthenticateMaze(b *testing.B) {
	for name, key := range benchKeys(b) {
		trust := newTrust(b, TrustConfig{Anchors: certs(issue(b, nil, "Maze", authority, key))})
		claim := claimOf(b, issue(b, nil, "client", client, key))
		claim.Signature[len(claim.Signature)-1]++
		claim.Chain = nil
		issuer := issue(b, nil, "Maze", authority, nil)
		var cas []*entity
		for range maxCertificates - 1 {
			cas = append(cas, issue(b, issuer, "Maze", authority, nil))
		}
		for _, e := range append([]*entity{issue(b, issuer, "client", client, key)}, cas...) {
			claim.Chain = append(claim.Chain, e.cert.Raw)
		}
		b.Run(fmt.Sprint(name, "-refused"), func(b *testing.B) {
			for b.Loop() {
				if _, err := trust.Authenticate(b.Context(), claim); err == nil {
					b.Fatal("authenticated")
				}
			}
		})
	}
}
