package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// fixedKey returns the same key in every process, so that what one fuzzing process found is of use in the next.
func fixedKey(tb testing.TB, n byte) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{n}, 32))
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// fixedEntity returns the same certificate in every process.
func fixedEntity(tb testing.TB, n byte, issuer *entity, cn string, change func(*x509.Certificate)) *entity {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(n)), Subject: pkix.Name{CommonName: cn, Organization: []string{"Example"}},
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(time.Hour),
	}
	change(template)
	key := fixedKey(tb, n)
	parent, signer := template, crypto.Signer(key)
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), signer) // without randomness ECDSA is deterministic
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &entity{cert, key}
}

func fixedWorld(tb testing.TB) world {
	root := fixedEntity(tb, 1, nil, "Root", authority)
	sub := fixedEntity(tb, 2, root, "Sub CA", authority)
	return world{root: root, sub: sub, peer: fixedEntity(tb, 3, sub, "client", client)}
}

// FuzzVerify changes good signatures: none but the good one is one. xor is laid over it from offset on, resize makes it longer or
// shorter.
func FuzzVerify(f *testing.F) {
	f.Add(uint8(0), []byte{}, uint16(0), int8(0), testHash[:])
	f.Add(uint8(1), []byte{1}, uint16(63), int8(0), testHash[:])
	f.Add(uint8(0), []byte{0x80}, uint16(0), int8(1), testHash[:20])
	f.Add(uint8(2), bytes.Repeat([]byte{0xff}, 96), uint16(0), int8(-1), bytes.Repeat([]byte{7}, 48))
	f.Add(uint8(3), []byte{}, uint16(200), int8(0), bytes.Repeat([]byte{7}, 64))
	keys := []crypto.Signer{rsaKey(f, 2048), fixedKey(f, 1), ecKey(f, elliptic.P384()), ecKey(f, elliptic.P521())}
	methods := []Method{RSASignature, ECDSA256, ECDSA384, ECDSA521}
	f.Fuzz(func(t *testing.T, which uint8, xor []byte, offset uint16, resize int8, hash []byte) {
		m, key := methods[which%4], keys[which%4]
		other := Method(which) // whatever it is, it must not be confused
		c := &Credential{method: m, key: key, leaf: &x509.Certificate{PublicKey: key.Public()}}
		good, err := c.Sign(nil, hash)
		if m == RSASignature && !slices.Contains(hashSizes, len(hash)) || m != RSASignature && len(hash) != m.Hash().Size() {
			if err == nil {
				t.Fatalf("a hash of %d octets was signed", len(hash))
			}
			good = make([]byte, 64)
		} else if err != nil {
			t.Fatal(err)
		}
		signature := append(bytes.Clone(good), make([]byte, max(resize, 0))...)
		signature = signature[:max(0, len(signature)+min(int(resize), 0))]
		for i, x := range xor {
			if at := int(offset) + i; at < len(signature) {
				signature[at] ^= x
			}
		}
		ok := Verify(m, key.Public(), hash, signature) == nil
		if want := err == nil && bytes.Equal(signature, good); ok != want {
			t.Errorf("%s: verified %t, want %t", m, ok, want)
		}
		if other != m && Verify(other, key.Public(), hash, signature) == nil {
			t.Errorf("a signature of %s was taken for one of %s", m, other)
		}
		if pub, isRSA := key.Public().(*rsa.PublicKey); isRSA && len(xor) <= pub.Size() {
			n := append(make([]byte, pub.Size()-len(xor)), xor...)
			if err := Verify(m, pub, hash, n); err == nil && !bytes.Equal(n, good) {
				t.Error("a number out of the air was taken for a signature")
			}
		}
	})
}

// FuzzAuthenticate changes the certificates of an honest claim. Only one with the honest certificate may pass.
func FuzzAuthenticate(f *testing.F) {
	w := fixedWorld(f)
	config := TrustConfig{Anchors: certs(w.root)}
	f.Add(w.peer.cert.Raw, w.sub.cert.Raw, w.root.cert.Raw, uint8(idDERDN), w.peer.cert.RawSubject)
	f.Add(w.sub.cert.Raw, w.peer.cert.Raw, []byte{}, uint8(idFQDN), []byte("client.vpn.example.com"))
	f.Add(w.peer.cert.Raw, append(bytes.Clone(w.sub.cert.Raw), 0), []byte{0x30}, uint8(idUserFQDN), []byte("alice@example.com"))
	f.Add(w.peer.cert.Raw, w.peer.cert.Raw, w.sub.cert.Raw, uint8(idIPv4Addr), []byte{192, 0, 2, 1})
	honest := claimOf(f, w.peer)
	f.Fuzz(func(t *testing.T, first, second, third []byte, kind uint8, identity []byte) {
		trust := newTrust(t, config)
		claim := honest
		claim.Chain, claim.IdentityType, claim.Identity = [][]byte{first, second, third}, kind, identity
		if len(third) == 0 {
			claim.Chain = claim.Chain[:2]
		}
		peer, err := trust.Authenticate(t.Context(), claim)
		if err != nil {
			if s := err.Error(); strings.ContainsAny(s, "\n\x00\x1b") || !utf8.ValidString(s) {
				t.Errorf("error %q", s)
			}
			return
		}
		if !slices.ContainsFunc(claim.Chain, func(der []byte) bool { return bytes.Contains(der, w.peer.cert.RawTBSCertificate) }) {
			t.Errorf("%+v was authenticated without its certificate", peer)
		}
	})
}

// FuzzCRL changes a CRL. One that counts is one that the CA signed.
func FuzzCRL(f *testing.F) {
	w := fixedWorld(f)
	genuine := crlOf(f, w.root, 1, nil, w.sub)
	f.Add(genuine)
	f.Add(pemOf("X509 CRL", genuine))
	f.Add(crlOf(f, w.sub, 1, nil, w.peer))
	f.Add(genuine[:40])
	honest := claimOf(f, w.peer, w.sub)
	f.Fuzz(func(t *testing.T, crl []byte) {
		trust := newTrust(t, TrustConfig{Anchors: certs(w.root)})
		_ = trust.AddCRL(crl)
		for _, info := range trust.CRLs() {
			if info.Verified && info.Entries != 1 {
				t.Errorf("%+v was taken for a CRL of the CA", info)
			}
		}
		_, _ = trust.Authenticate(t.Context(), honest)
	})
}

// FuzzOCSP changes an OCSP response. Only what the CA signed says anything.
func FuzzOCSP(f *testing.F) {
	w := fixedWorld(f)
	responder := fixedEntity(f, 4, w.root, "Responder", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	})
	f.Add(ocspOf(f, w.root, nil, w.sub, ocspRevoked))
	f.Add(ocspOf(f, w.root, responder, w.sub, ocspRevoked))
	f.Add(ocspOf(f, w.sub, w.peer, w.sub, nil))
	f.Add([]byte{0x30, 3, 10, 1, 6})
	f.Fuzz(func(t *testing.T, response []byte) {
		trust := newTrust(t, TrustConfig{Anchors: certs(w.root)})
		if trust.addResponse(response, w.sub.cert, w.root.cert, testNow) != nil {
			return
		}
		if got := trust.responses.find(w.sub.cert, w.root.cert, testNow); got.status != revoked {
			t.Errorf("%+v: the CA never said so", got)
		}
	})
}

// FuzzName prints and compares names, and reads rules.
func FuzzName(f *testing.F) {
	f.Add(fixedWorld(f).peer.cert.RawSubject, "CN=*,O=Example")
	f.Add([]byte{0x30, 0}, `OU=a\,b,2.5.4.3=x*y`)
	f.Add([]byte{0x30, 0x0b, 0x31, 9, 0x30, 7, 6, 3, 0x55, 4, 3, 0x0c, 0}, "*@example.com")
	f.Fuzz(func(t *testing.T, der []byte, text string) {
		if s := printName(der); len(s) > 2*maxPrinted || strings.ContainsAny(s, "\n\r\x00\x1b") {
			t.Errorf("name %q", s)
		}
		if s := printable(text); len(s) > 2*maxPrinted || strings.ContainsAny(s, "\n\r\x00\x1b") {
			t.Errorf("text %q", s)
		}
		if _, err := parseName(der); err == nil && !sameName(der, bytes.Clone(der)) {
			t.Error("a name is not the same as itself")
		}
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		again, err := ParseRule(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("rule %q is not read again: %v", r, err)
		}
		r.allows(&x509.Certificate{RawSubject: der, DNSNames: []string{text}, EmailAddresses: []string{text}})
	})
}
