package dh

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"testing"

	"filippo.io/bigmod"
)

var all = []Group{MODP1024, MODP1536, MODP2048, MODP3072, MODP4096, MODP6144, MODP8192, ECP256, ECP384, ECP521}

func TestAgreement(t *testing.T) {
	if len(all) != len(groups) {
		t.Fatal("the test's list of groups is not the package's")
	}
	for _, g := range all {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			a, err := GenerateKey(g, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			b, err := GenerateKey(g, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			pubA, err := a.Public()
			if err != nil {
				t.Fatal(err)
			}
			pubB, sharedB, err := b.Exchange(pubA)
			if err != nil {
				t.Fatal(err)
			}
			pubA2, sharedA, err := a.Exchange(pubB)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(sharedA, sharedB) {
				t.Error("the two sides do not agree")
			}
			if !bytes.Equal(pubA, pubA2) {
				t.Error("Public and Exchange give different public values")
			}
			if len(pubA) != g.PublicLen() || len(sharedA) != g.SharedLen() {
				t.Errorf("lengths %d and %d, want %d and %d", len(pubA), len(sharedA), g.PublicLen(), g.SharedLen())
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	for _, g := range []Group{0, 1, 3, 4, 22, 23, 24, 25, 26, 27, 31, 65535} {
		if Supported(g) || g.PublicLen() != 0 || g.SharedLen() != 0 || g.String() != fmt.Sprintf("group%d", g) {
			t.Errorf("%v must not be supported", g)
		}
		if _, err := GenerateKey(g, rand.Reader); !errors.Is(err, ErrUnsupportedGroup) {
			t.Errorf("GenerateKey(%v): %v", g, err)
		}
	}
}

func TestWrongLengths(t *testing.T) {
	for _, g := range all {
		k, err := GenerateKey(g, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		n := g.PublicLen()
		for _, l := range []int{0, 1, n / 2, n - 1, n + 1, 2 * n, 65535} {
			if _, _, err := k.Exchange(make([]byte, l)); !errors.Is(err, ErrBadPublicValue) {
				t.Errorf("%v with %d octets: %v", g, l, err)
			}
		}
	}
}

func TestGenerateKeyIsAFunctionOfItsReader(t *testing.T) {
	for _, g := range all {
		a, err1 := GenerateKey(g, bytes.NewReader(bytes.Repeat([]byte{0x17}, 4096)))
		b, err2 := GenerateKey(g, bytes.NewReader(bytes.Repeat([]byte{0x17}, 4096)))
		if err1 != nil || err2 != nil || !bytes.Equal(a.secret, b.secret) {
			t.Errorf("%v: %v, %v, or different secrets", g, err1, err2)
		}
		if _, err := GenerateKey(g, bytes.NewReader([]byte{1, 2, 3})); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v with an exhausted reader: %v", g, err)
		}
	}
}

func TestSecretsStayHidden(t *testing.T) {
	k, err := GenerateKey(ECP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, k); s != "dh.PrivateKey(ecp256, hidden)" {
			t.Errorf("%s prints %q", verb, s)
		}
	}
	k.Destroy()
	if !bytes.Equal(k.secret, make([]byte, 32)) {
		t.Error("Destroy left something")
	}
}

func TestDestroyedKeysComputeNothing(t *testing.T) {
	for _, g := range all {
		peer, err := GenerateKey(g, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		value, err := peer.Public()
		if err != nil {
			t.Fatal(err)
		}
		k, err := GenerateKey(g, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k.Destroy()
		if public, err := k.Public(); !errors.Is(err, ErrDestroyed) || public != nil {
			t.Errorf("%v: public value %x, %v", g, public, err)
		}
		if public, shared, err := k.Exchange(value); !errors.Is(err, ErrDestroyed) || public != nil || shared != nil {
			t.Errorf("%v: public value %x, shared secret %x, %v", g, public, shared, err)
		}
	}
}

// BenchmarkPublic is g^x.
func BenchmarkPublic(b *testing.B) {
	for _, g := range all {
		b.Run(g.String(), func(b *testing.B) {
			k, err := GenerateKey(g, rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := k.Public(); err != nil { // makes the tables
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := k.Public(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkExchange is g^x and g^xy: what one side of a handshake costs.
func BenchmarkExchange(b *testing.B) {
	for _, g := range all {
		k, err := GenerateKey(g, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		peer, err := k.Public()
		if err != nil {
			b.Fatal(err)
		}
		measure := func(name string) {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					if _, _, err := k.Exchange(peer); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		if _, ok := groups[g].(*modp); !ok {
			measure(g.String())
			continue
		}
		eachWay(func(way string) { measure(g.String() + "/" + way) })
	}
}

// BenchmarkBaseline is BenchmarkExchange with what the groups could be made of instead: bigmod, which is constant-time, and math/big.
func BenchmarkBaseline(b *testing.B) {
	for _, g := range modpGroups {
		k, err := GenerateKey(g, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		peer, err := k.Public()
		if err != nil {
			b.Fatal(err)
		}
		p, two := toBig(groups[g].(*modp).field().p), big.NewInt(2)
		m, err := bigmod.NewModulus(p.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(g.String()+"/bigmod", func(b *testing.B) {
			generator := bigmod.NewNat().SetUint(2).ExpandFor(m)
			for b.Loop() {
				y, err := bigmod.NewNat().SetBytes(peer, m)
				if err != nil {
					b.Fatal(err)
				}
				bigmod.NewNat().Exp(generator, k.secret, m).Bytes(m)
				bigmod.NewNat().Exp(y, k.secret, m).Bytes(m)
			}
		})
		b.Run(g.String()+"/big", func(b *testing.B) {
			x := new(big.Int).SetBytes(k.secret)
			for b.Loop() {
				new(big.Int).Exp(two, x, p).Bytes()
				new(big.Int).Exp(new(big.Int).SetBytes(peer), x, p).Bytes()
			}
		})
	}
}

// BenchmarkTable is what the first public value of a group costs on top.
func BenchmarkTable(b *testing.B) {
	for _, g := range modpGroups {
		m := groups[g].(*modp)
		b.Run(g.String(), func(b *testing.B) {
			for b.Loop() {
				newComb(m.field(), 2, m.exponentBits)
			}
		})
	}
}
