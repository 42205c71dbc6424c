package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAuthenticate(t *testing.T) {
	ca := issue(t, nil, "Root", authority, nil)
	sub := issue(t, ca, "Sub CA", authority, nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(ca)})
	for _, key := range []crypto.Signer{rsaKey(t, 2048), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521())} {
		peer := issue(t, sub, "client", client, key)
		claim := claimOf(t, peer, sub)
		t.Run(claim.Method.String(), func(t *testing.T) {
			got, err := trust.Authenticate(t.Context(), claim)
			wantCause(t, err, "")
			if got.Subject != "CN=client,O=Example" || !slices.Equal(got.SANs, []string{"client.vpn.example.com", "alice@example.com"}) ||
				!got.NotAfter.Equal(peer.cert.NotAfter) || !got.RevocationUnknown {
				t.Errorf("peer %+v", got)
			}
			slices.Reverse(claim.Chain)
			_, err = trust.Authenticate(t.Context(), claim)
			wantCause(t, err, "") // whatever the order
			claim.Chain = append(claim.Chain, ca.cert.Raw, sub.cert.Raw, issue(t, nil, "stray", authority, nil).cert.Raw)
			_, err = trust.Authenticate(t.Context(), claim)
			wantCause(t, err, "") // root, repetition and what does not belong to it are no harm
			claim.Hash = bytes.Clone(claim.Hash)
			claim.Hash[3]++
			_, err = trust.Authenticate(t.Context(), claim)
			wantCause(t, err, BadSignature)
		})
	}
	if names := trust.Authorities(); len(names) != 1 || !bytes.Equal(names[0], ca.cert.RawSubject) {
		t.Errorf("authorities %x", names)
	}
}

// caWith returns the template of a CA with a change.
func caWith(change func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) { authority(c); change(c) }
}

// clientWith returns the template of a peer with a change.
func clientWith(change func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) { client(c); change(c) }
}

func TestAuthenticatePath(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	sub := issue(t, root, "Sub CA", authority, nil)
	chain := func(n int) (issuer *entity, all []*entity) {
		issuer = root
		for level := range n {
			issuer = issue(t, issuer, fmt.Sprint("level ", level), authority, nil)
			all = append(all, issuer)
		}
		return issuer, all
	}
	past := func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Second) }
	future := func(c *x509.Certificate) { c.NotBefore = testNow.Add(time.Second) }
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	expiredSub, futureSub := issue(t, root, "Old Sub", caWith(past), nil), issue(t, root, "New Sub", caWith(future), nil)
	expiredRoot := issue(t, nil, "Old Root", caWith(past), nil)
	noCA := issue(t, root, "No CA", client, nil)
	zeroPath := issue(t, root, "Zero", caWith(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }), nil)
	belowZero := issue(t, zeroPath, "Below", authority, nil)
	constrained := issue(t, root, "Constrained", caWith(func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.org"}
	}), nil)
	excluded := issue(t, root, "Excluded", caWith(func(c *x509.Certificate) { c.ExcludedEmailAddresses = []string{"example.com"} }), nil)
	weakSub := issue(t, root, "Weak Sub", authority, weak)
	mail := issue(t, root, "Mail", caWith(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }), nil)
	vpn := issue(t, root, "VPN", caWith(func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ekuIPsecIKE} }), nil)
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	}
	criticalSub := issue(t, root, "Critical", caWith(critical), nil)
	foreign := issue(t, nil, "Foreign", authority, nil)
	namesake := issue(t, nil, "Root", authority, nil) // the name of the root, another key
	five, fiveAll := chain(5)
	six, sixAll := chain(6)
	trust := newTrust(t, TrustConfig{Anchors: certs(root, expiredRoot)})
	peerOf := func(issuer *entity) *entity { return issue(t, issuer, "client", client, nil) }
	with := func(change func(*x509.Certificate)) *entity { return issue(t, root, "client", clientWith(change), nil) }
	usage := func(u x509.KeyUsage) *entity { return with(func(c *x509.Certificate) { c.KeyUsage = u }) }
	extended := func(u ...x509.ExtKeyUsage) *entity { return with(func(c *x509.Certificate) { c.ExtKeyUsage = u }) }
	other := func(oid ...int) *entity {
		return with(func(c *x509.Certificate) { c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{oid} })
	}
	for name, c := range map[string]struct {
		claim Claim
		want  Cause
	}{
		"by the root":                       {claimOf(t, peerOf(root)), ""},
		"five intermediates":                {claimOf(t, peerOf(five), fiveAll...), ""},
		"six intermediates":                 {claimOf(t, peerOf(six), sixAll...), Limit},
		"intermediate missing":              {claimOf(t, peerOf(sub)), Untrusted},
		"expired":                           {claimOf(t, with(past)), Expired},
		"not yet valid":                     {claimOf(t, with(future)), NotYetValid},
		"intermediate expired":              {claimOf(t, peerOf(expiredSub), expiredSub), Expired},
		"intermediate not yet valid":        {claimOf(t, peerOf(futureSub), futureSub), NotYetValid},
		"anchor expired":                    {claimOf(t, peerOf(expiredRoot)), Expired},
		"self-signed":                       {claimOf(t, peerOf(nil)), Untrusted},
		"foreign CA":                        {claimOf(t, peerOf(foreign)), Untrusted},
		"foreign CA that is sent":           {claimOf(t, peerOf(foreign), foreign), Untrusted},
		"CA with the name of the root":      {claimOf(t, peerOf(namesake), namesake), Untrusted},
		"issuer is no CA":                   {claimOf(t, peerOf(noCA), noCA), Untrusted},
		"path length":                       {claimOf(t, peerOf(zeroPath), zeroPath), ""},
		"path length exceeded":              {claimOf(t, peerOf(belowZero), belowZero, zeroPath), Untrusted},
		"name outside the constraints":      {claimOf(t, peerOf(constrained), constrained), Untrusted},
		"name excluded":                     {claimOf(t, peerOf(excluded), excluded), Untrusted},
		"intermediate with RSA of 1024":     {claimOf(t, peerOf(weakSub), weakSub), Untrusted},
		"unknown critical extension":        {claimOf(t, with(critical)), Untrusted},
		"unknown critical extension of sub": {claimOf(t, peerOf(criticalSub), criticalSub), Untrusted},
		"issuer for email only":             {claimOf(t, peerOf(mail), mail), Untrusted},
		"issuer for IPsec":                  {claimOf(t, peerOf(vpn), vpn), ""},
		"key usage absent":                  {claimOf(t, usage(0)), ""},
		"key usage nonRepudiation":          {claimOf(t, usage(x509.KeyUsageContentCommitment)), ""},
		"extended usage absent":             {claimOf(t, extended()), ""},
		"extended usage any":                {claimOf(t, extended(x509.ExtKeyUsageAny)), ""},
		"extended usage server":             {claimOf(t, extended(x509.ExtKeyUsageServerAuth)), ""},
		"extended usage IPsec end system":   {claimOf(t, extended(x509.ExtKeyUsageIPSECEndSystem)), ""},
		"extended usage IPsec IKE":          {claimOf(t, other(1, 3, 6, 1, 5, 5, 7, 3, 17)), ""},
		"extended usage IKE intermediate":   {claimOf(t, other(1, 3, 6, 1, 5, 5, 8, 2, 2)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := trust.Authenticate(t.Context(), c.claim)
			wantCause(t, err, c.want)
		})
	}
	// those that no credential of ours could claim
	for name, peer := range map[string]*entity{
		"key usage without signatures": usage(x509.KeyUsageKeyEncipherment),
		"extended usage code signing":  extended(x509.ExtKeyUsageCodeSigning),
		"extended usage unknown":       other(1, 2, 3),
		"RSA of 1024":                  issue(t, root, "client", client, weak),
	} {
		t.Run(name, func(t *testing.T) {
			claim := claimOf(t, peerOf(root))
			claim.Chain, claim.Identity = [][]byte{peer.cert.Raw}, peer.cert.RawSubject
			if peer.key == weak {
				claim.Method = RSASignature
			}
			_, err := trust.Authenticate(t.Context(), claim)
			wantCause(t, err, Untrusted)
		})
	}
}

func TestAuthenticateConfiguredIntermediate(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	sub := issue(t, root, "Sub CA", authority, nil)
	peer := issue(t, sub, "client", client, nil)
	_, err := newTrust(t, TrustConfig{Anchors: certs(root), Intermediates: certs(sub)}).Authenticate(t.Context(), claimOf(t, peer))
	wantCause(t, err, "")
	// an intermediate is not an anchor
	_, err = newTrust(t, TrustConfig{Anchors: certs(issue(t, nil, "Other", authority, nil)), Intermediates: certs(sub, root)}).Authenticate(t.Context(), claimOf(t, peer))
	wantCause(t, err, Untrusted)
	// and a certificate of a peer can be one
	pinned := issue(t, nil, "site", client, nil)
	_, err = newTrust(t, TrustConfig{Anchors: certs(pinned)}).Authenticate(t.Context(), claimOf(t, pinned))
	wantCause(t, err, "")
}

func TestAuthenticateLimits(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	peer := issue(t, root, "client", client, nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(root)})
	big := issue(t, root, "big", clientWith(func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "https", Host: "example.com", Path: strings.Repeat("a", 64<<10)}}
	}), nil)
	for name, c := range map[string]struct {
		change func(*Claim)
		want   Cause
	}{
		"eight":                {func(c *Claim) { c.Chain = slices.Repeat(c.Chain, 8) }, ""},
		"nine":                 {func(c *Claim) { c.Chain = slices.Repeat(c.Chain, 9) }, Limit},
		"none":                 {func(c *Claim) { c.Chain = nil }, Malformed},
		"empty":                {func(c *Claim) { c.Chain = [][]byte{{}} }, Malformed},
		"64 KB":                {func(c *Claim) { c.Chain = append(c.Chain, big.cert.Raw) }, Limit},
		"64 KB of zeros":       {func(c *Claim) { c.Chain = [][]byte{make([]byte, 64<<10)} }, Limit},
		"trailing garbage":     {func(c *Claim) { c.Chain[0] = append(bytes.Clone(c.Chain[0]), 0) }, Malformed},
		"truncated":            {func(c *Claim) { c.Chain[0] = c.Chain[0][:len(c.Chain[0])-1] }, Malformed},
		"indefinite length":    {func(c *Claim) { c.Chain[0] = append([]byte{0x30, 0x80}, append(c.Chain[0][4:], 0, 0)...) }, Malformed},
		"second malformed":     {func(c *Claim) { c.Chain = append(c.Chain, []byte{0x30}) }, Malformed},
		"method psk":           {func(c *Claim) { c.Method = PSK }, Malformed},
		"method of encryption": {func(c *Claim) { c.Method = 4 }, Malformed},
		"method of other key":  {func(c *Claim) { c.Method = RSASignature }, Untrusted},
		"method of long curve": {func(c *Claim) { c.Method = ECDSA521 }, Untrusted},
		"no time":              {func(c *Claim) { c.Now = time.Time{} }, Malformed},
		"no signature":         {func(c *Claim) { c.Signature = nil }, BadSignature},
		"no hash":              {func(c *Claim) { c.Hash = nil }, BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			claim := claimOf(t, peer)
			c.change(&claim)
			_, err := trust.Authenticate(t.Context(), claim)
			wantCause(t, err, c.want)
		})
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := trust.Authenticate(canceled, claimOf(t, peer)); err != context.Canceled {
		t.Errorf("error %v of a cancelled context", err)
	}
}

// TestPathSearchIsBounded: what a stranger signed himself costs nothing, and what he says that an anchor signed costs little.
func TestPathSearchIsBounded(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	// who calls himself and his key by the names of the anchor
	other := issue(t, nil, "Root", caWith(func(c *x509.Certificate) { c.SubjectKeyId = root.cert.SubjectKeyId }), nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(root)})
	checks := func(leaf *entity, sent ...*entity) (int, error) {
		s := newPathSearch(trust, leaf.cert, certs(append(sent, leaf)...))
		_, err := s.run()
		return s.checks, err
	}
	maze := func(issuer *entity, name string) (leaf *entity, all []*entity) {
		for range 7 {
			issuer = issue(t, issuer, name, caWith(func(c *x509.Certificate) { c.SubjectKeyId = root.cert.SubjectKeyId }), nil)
			all = append(all, issuer)
		}
		return issue(t, issuer, "client", client, nil), all
	}
	own, ownAll := maze(issue(t, nil, "Maze", authority, nil), "Maze")
	n, err := checks(own, ownAll...)
	wantCause(t, err, Untrusted)
	if n != 0 {
		t.Errorf("%d signatures were checked of a chain that leads to no anchor", n)
	}
	chain, chainAll := maze(other, "Root")
	n, err = checks(chain, chainAll...)
	wantCause(t, err, Limit)
	if n > maxForged {
		t.Errorf("%d signatures were checked of those that all say to be of the anchor", n)
	}
	below := issue(t, other, "A", authority, nil)
	long := issue(t, below, "B", authority, nil)
	n, err = checks(issue(t, long, "client", client, nil), below, long)
	wantCause(t, err, Untrusted)
	if n != 1 {
		t.Errorf("%d signatures were checked of a chain whose top is forged", n)
	}
	_, err = trust.Authenticate(t.Context(), claimOf(t, chain, chainAll...))
	wantCause(t, err, Limit)
	n, err = checks(issue(t, issue(t, nil, "Root", authority, nil), "client", client, nil))
	wantCause(t, err, Untrusted)
	if n != 0 {
		t.Errorf("%d signatures were checked of one that names another key", n)
	}
}

// TestPathAmongNamesakes: authorities of one name are told apart by their keys, and a certificate by a second authority, with another key
// or not trusted, is no dead end.
func TestPathAmongNamesakes(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	old, stranger := issue(t, nil, "Old Root", authority, nil), issue(t, nil, "Stranger", authority, nil)
	sub := issue(t, root, "Sub", authority, nil)
	bySecond := func(issuer *entity) *entity { return issue(t, issuer, "Sub", authority, sub.key) }
	var namesakes []*entity
	for range 2 * maxForged {
		namesakes = append(namesakes, issue(t, nil, "Root", authority, nil))
	}
	peer := issue(t, sub, "client", client, nil)
	for name, c := range map[string]struct {
		trust *Trust
		sent  []*entity
	}{
		"signed by a stranger too": {newTrust(t, TrustConfig{Anchors: certs(root)}), []*entity{bySecond(stranger), stranger, sub}},
		"signed by an old root":    {newTrust(t, TrustConfig{Anchors: certs(old)}), []*entity{sub, bySecond(old)}},
		"root renewed often":       {newTrust(t, TrustConfig{Anchors: certs(append(namesakes, root)...)}), []*entity{sub}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.trust.Authenticate(t.Context(), claimOf(t, peer, c.sent...))
			wantCause(t, err, "")
		})
	}
}

// TestOneIdentityTwoCertificates: the old certificate for an identity is no harm, a third one is not looked at.
func TestOneIdentityTwoCertificates(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(root)})
	past := clientWith(func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Second) })
	peer, expired, third := issue(t, root, "client", client, nil), issue(t, root, "client", past, nil), issue(t, root, "client", client, nil)
	for want, order := range map[Cause][]*entity{"": {expired, peer}, BadSignature: {third, expired, peer}} {
		claim := claimOf(t, peer)
		claim.Chain = nil
		for _, e := range order {
			claim.Chain = append(claim.Chain, e.cert.Raw)
		}
		_, err := trust.Authenticate(t.Context(), claim)
		wantCause(t, err, want)
	}
}

func TestNewTrustRefuses(t *testing.T) {
	if _, err := NewTrust(TrustConfig{}); err == nil {
		t.Error("a trust without anchor")
	}
	if _, err := NewTrust(TrustConfig{Anchors: certs(issue(t, nil, "CA", authority, ecKey(t, elliptic.P224())))}); err == nil {
		t.Error("an anchor on P-224")
	}
}
