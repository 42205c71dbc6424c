package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
)

// TestPartitionedCRL has a CA that spreads its revocations over several CRLs: each is about those certificates that name it.
func TestPartitionedCRL(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	at := func(n string) *entity {
		return issue(t, root, "client "+n, clientWith(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.example.com/" + n} }), nil)
	}
	one, two, gone := at("1"), at("2"), at("1")
	part := func(n string, number int64, revoked ...*entity) []byte {
		var point issuingDistributionPoint
		point.Point.FullName = []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte("http://crl.example.com/" + n)}}
		value, err := asn1.Marshal(point)
		if err != nil {
			t.Fatal(err)
		}
		return crlOf(t, root, number, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: value}}
		}, revoked...)
	}
	trust := newTrust(t, TrustConfig{Anchors: certs(root), Revocation: Strict, CRLs: [][]byte{part("1", 5, gone)}})
	for peer, want := range map[*entity]Cause{one: "", two: RevocationUnknown, gone: Revoked} {
		_, err := trust.Authenticate(t.Context(), claimOf(t, peer))
		wantCause(t, err, want)
	}
	if err := trust.AddCRL(part("2", 9)); err != nil {
		t.Fatal(err)
	}
	for peer, want := range map[*entity]Cause{one: "", two: "", gone: Revoked} {
		_, err := trust.Authenticate(t.Context(), claimOf(t, peer))
		wantCause(t, err, want)
	}
	directory, err := asn1.Marshal(struct {
		Point struct {
			FullName []asn1.RawValue `asn1:"tag:0"`
		} `asn1:"tag:0"`
	}{struct {
		FullName []asn1.RawValue `asn1:"tag:0"`
	}{[]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range [][]byte{directory, {0x30}, {0x30, 0, 0}, {0x31, 0}} {
		if s, err := parseScope(value); err == nil {
			t.Errorf("distribution point %x is read as %+v", value, s)
		}
	}
}

// TestCRLOrder compares CRLs by number, and by time if one has none.
func TestCRLOrder(t *testing.T) {
	older, newer := &list{thisUpdate: testNow}, &list{thisUpdate: testNow.Add(1)}
	if !newer.newer(older) || older.newer(newer) || older.newer(older) {
		t.Error("order by time")
	}
	older.number, newer.number = big.NewInt(2), big.NewInt(1)
	if newer.newer(older) || !older.newer(newer) {
		t.Error("order by number")
	}
}
