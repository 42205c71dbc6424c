package dh

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"testing"
)

func TestPrimes(t *testing.T) {
	text, err := os.ReadFile("testdata/modp-groups.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Group Group
		Bits  int
		P     string
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != 7 {
		t.Fatalf("%d vectors, want 7", len(vectors))
	}
	for _, v := range vectors {
		want, ok := new(big.Int).SetString(v.P, 16)
		if !ok {
			t.Fatalf("group %d: bad vector", v.Group)
		}
		m := groups[v.Group].(*modp)
		got := new(big.Int).SetBytes(m.modulus().Nat().Bytes(m.modulus()))
		if got.Cmp(want) != 0 || got.BitLen() != v.Bits || m.bits != v.Bits {
			t.Errorf("%v: the prime differs from the vector", v.Group)
		}
		// One round each proves no typing error; the vectors' source tested them thoroughly.
		if v.Bits <= 3072 && (!got.ProbablyPrime(1) || !new(big.Int).Rsh(got, 1).ProbablyPrime(1)) {
			t.Errorf("%v: not a safe prime", v.Group)
		}
	}
}

// TestAgainstBig compares with math/big, which shares no code with bigmod.
func TestAgainstBig(t *testing.T) {
	for _, g := range []Group{MODP1024, MODP2048} {
		m := groups[g].(*modp)
		p := new(big.Int).SetBytes(m.modulus().Nat().Bytes(m.modulus()))
		k, err := GenerateKey(g, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if len(k.secret)*8 != m.exponentBits || k.secret[0]&0x80 == 0 {
			t.Errorf("%v: exponent of %d octets, top %#x", g, len(k.secret), k.secret[0])
		}
		x := new(big.Int).SetBytes(k.secret)
		// A peer's value of p-2 is allowed, and 2 gives a power with leading zeros only by luck: take one known to be short.
		for _, y := range []*big.Int{big.NewInt(2), big.NewInt(3), new(big.Int).Sub(p, big.NewInt(2))} {
			peer := y.FillBytes(make([]byte, g.PublicLen()))
			public, shared, err := k.Exchange(peer)
			if err != nil {
				t.Fatalf("%v, peer %v: %v", g, y, err)
			}
			if want := new(big.Int).Exp(big.NewInt(2), x, p).FillBytes(make([]byte, g.PublicLen())); !bytes.Equal(public, want) {
				t.Errorf("%v: wrong public value", g)
			}
			if want := new(big.Int).Exp(y, x, p).FillBytes(make([]byte, g.PublicLen())); !bytes.Equal(shared, want) {
				t.Errorf("%v: wrong shared secret", g)
			}
		}
	}
}

func TestSharedSecretKeepsLeadingZeros(t *testing.T) {
	// With exponent 3 and y = 2 the shared secret is 8: all but the last octet are padding.
	_, shared, err := (&PrivateKey{group: MODP1024, secret: []byte{3}}).Exchange(big.NewInt(2).FillBytes(make([]byte, 128)))
	if err != nil {
		t.Fatal(err)
	}
	if want := big.NewInt(8).FillBytes(make([]byte, 128)); !bytes.Equal(shared, want) {
		t.Errorf("shared = %x", shared)
	}
}

func TestBadMODPValues(t *testing.T) {
	one := big.NewInt(1)
	for _, g := range []Group{MODP1024, MODP1536, MODP2048, MODP8192} {
		m := groups[g].(*modp)
		p := new(big.Int).SetBytes(m.modulus().Nat().Bytes(m.modulus()))
		k, err := GenerateKey(g, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for name, y := range map[string]*big.Int{
			"0": new(big.Int), "1": one, "p-1": new(big.Int).Sub(p, one), "p": p, "p+1": new(big.Int).Add(p, one),
			"2^n-1": new(big.Int).Sub(new(big.Int).Lsh(one, uint(m.bits)), one),
		} {
			public, shared, err := k.Exchange(y.FillBytes(make([]byte, g.PublicLen())))
			if !errors.Is(err, ErrBadPublicValue) || public != nil || shared != nil {
				t.Errorf("%v accepts %s: %v", g, name, err)
			}
		}
	}
}
