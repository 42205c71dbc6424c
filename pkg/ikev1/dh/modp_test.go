package dh

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"sync"
	"testing"

	"filippo.io/bigmod"
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
		got := toBig(m.field().p)
		if got.Cmp(want) != 0 || got.BitLen() != v.Bits || m.bits != v.Bits {
			t.Errorf("%v: the prime differs from the vector", v.Group)
		}
		// One round each proves no typing error; the vectors' source tested them thoroughly.
		if v.Bits <= 3072 && (!got.ProbablyPrime(1) || !new(big.Int).Rsh(got, 1).ProbablyPrime(1)) {
			t.Errorf("%v: not a safe prime", v.Group)
		}
	}
}

// exponents are of a number of octets: random ones, and those whose windows are all equal or all but one empty.
func exponents(t *testing.T, octets int) [][]byte {
	set := func(i int, v byte) []byte {
		e := make([]byte, octets)
		e[i] = v
		return e
	}
	all := [][]byte{
		make([]byte, octets), set(octets-1, 1), set(octets-1, 2), set(octets-1, 15), set(octets-1, 16), set(0, 0x80), set(0, 0x10), set(octets/2, 1),
		bytes.Repeat([]byte{0xff}, octets), bytes.Repeat([]byte{0xf0}, octets), bytes.Repeat([]byte{0x01}, octets), {}, {3}, {1, 0},
	}
	for range 3 {
		e := make([]byte, octets)
		if _, err := rand.Read(e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// TestAgainstBig compares with math/big and, where the exponent allows it, with bigmod. They share no code with this package.
func TestAgainstBig(t *testing.T) {
	for _, g := range modpGroups {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			m := groups[g].(*modp)
			p := toBig(m.field().p)
			modulus, err := bigmod.NewModulus(p.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			random, err := rand.Int(rand.Reader, p)
			if err != nil {
				t.Fatal(err)
			}
			// A peer's value of p-2 is allowed.
			peers := []*big.Int{big.NewInt(2), random, new(big.Int).Sub(p, big.NewInt(2))}
			for i, e := range exponents(t, m.exponentBits/8) {
				x := new(big.Int).SetBytes(e)
				y := peers[i%len(peers)]
				peer := y.FillBytes(make([]byte, g.PublicLen()))
				public, shared, err := m.exchange(e, peer)
				if err != nil {
					t.Fatalf("exponent %x, peer %v: %v", e, y, err)
				}
				if want := new(big.Int).Exp(big.NewInt(2), x, p).FillBytes(make([]byte, g.PublicLen())); !bytes.Equal(public, want) {
					t.Errorf("exponent %x: wrong public value", e)
				}
				if want := new(big.Int).Exp(y, x, p).FillBytes(make([]byte, g.PublicLen())); !bytes.Equal(shared, want) {
					t.Errorf("exponent %x: wrong shared secret", e)
				}
				base, err := bigmod.NewNat().SetBytes(peer, modulus)
				if err != nil {
					t.Fatal(err)
				}
				if i%4 == 0 && !bytes.Equal(bigmod.NewNat().Exp(base, e, modulus).Bytes(modulus), shared) {
					t.Errorf("exponent %x: bigmod has another shared secret", e)
				}
			}
		})
	}
}

func TestDrawnExponents(t *testing.T) {
	for _, g := range modpGroups {
		k, err := GenerateKey(g, zeros{})
		if err != nil {
			t.Fatal(err)
		}
		if bits := groups[g].(*modp).exponentBits; len(k.secret)*8 != bits || k.secret[0] != 0x80 {
			t.Errorf("%v: exponent of %d octets, the first %#x", g, len(k.secret), k.secret[0])
		}
		k.secret = append(k.secret, 1)
		if _, err := k.Public(); err == nil {
			t.Errorf("%v: an exponent longer than the comb gives a public value", g)
		}
	}
}

// TestConcurrentFirstUse makes tables and reads them from several goroutines at once.
func TestConcurrentFirstUse(t *testing.T) {
	m := newMODP(1024, 256, prime1024)
	e := bytes.Repeat([]byte{0xa5}, 32)
	want, err := groups[MODP1024].public(e)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			public, shared, err := m.exchange(e, want)
			if err != nil || !bytes.Equal(public, want) || len(shared) != len(want) {
				t.Errorf("%x, %v", public, err)
			}
		})
	}
	wg.Wait()
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
	for _, g := range modpGroups {
		m := groups[g].(*modp)
		p := toBig(m.field().p)
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
		// The neighbours of what is refused are good.
		for name, y := range map[string]*big.Int{"2": big.NewInt(2), "p-2": new(big.Int).Sub(p, big.NewInt(2))} {
			if _, _, err := k.Exchange(y.FillBytes(make([]byte, g.PublicLen()))); err != nil {
				t.Errorf("%v refuses %s: %v", g, name, err)
			}
		}
	}
}
