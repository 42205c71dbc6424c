package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// TestSameNameOfMultipleValues compares RDNs of several attributes, whose order depends on their encoding.
func TestSameNameOfMultipleValues(t *testing.T) {
	name := func(attributes ...pkix.AttributeTypeAndValue) []byte {
		der, err := asn1.Marshal([]asn1.RawValue{set(t, attributes)})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	cn := func(s string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: s}
	}
	uid := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "a"}
	one := name(cn("Alice  Liddell"), cn("B"), uid)
	for _, other := range [][]byte{name(cn("alice liddell"), cn("B"), uid), name(uid, cn("b"), cn("Alice Liddell"))} {
		if !sameName(one, other) {
			t.Errorf("%s is not %s", printName(one), printName(other))
		}
	}
	for _, other := range [][]byte{name(cn("Alice Liddell"), uid), name(cn("AliceLiddell"), cn("B"), uid), {0x30, 0}, {1}} {
		if sameName(one, other) {
			t.Errorf("%s is %s", printName(one), printName(other))
		}
	}
	if s := printName(one); s != "CN=Alice  Liddell+CN=B+UID=a" {
		t.Error(s)
	}
}

// TestNamesThatAreNoText: values of types that have no text here are told apart all the same.
func TestNamesThatAreNoText(t *testing.T) {
	universal := func(s string) []byte {
		const tagUniversalString = 28
		value := asn1.RawValue{Tag: tagUniversalString, Bytes: []byte(s)}
		attribute := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value}
		der, err := asn1.Marshal([]asn1.RawValue{set(t, []pkix.AttributeTypeAndValue{attribute})})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	alice, bob := universal("\x00\x00\x00a"), universal("\x00\x00\x00b")
	if sameName(alice, bob) || !sameName(alice, alice) {
		t.Error("alice and bob are taken for one, or alice for two")
	}
	if got := printName(alice); got != "CN=#1c0400000061" {
		t.Error(got)
	}
	rule, err := ParseRule("CN=#1c0400000061")
	if err != nil || rule.allowsName(alice) {
		t.Errorf("a text stands for what is none, or %v", err)
	}
}

// set returns the SET OF attributes in the order given.
func set(t *testing.T, attributes []pkix.AttributeTypeAndValue) asn1.RawValue {
	t.Helper()
	var content []byte
	for _, a := range attributes {
		der, err := asn1.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, der...)
	}
	return asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: content}
}
