package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// rawRSA raises a block to the private exponent: a signature of whatever block, as a holder of the key could make it.
func rawRSA(key *rsa.PrivateKey, block []byte) []byte {
	s := new(big.Int).Exp(new(big.Int).SetBytes(block), key.D, key.N)
	return s.FillBytes(make([]byte, key.Size()))
}

func TestVerifyRSA(t *testing.T) {
	for _, bits := range []int{2048, 2049, 3072, 4096} {
		for _, size := range hashSizes {
			t.Run(fmt.Sprintf("%d bits, %d octets", bits, size), func(t *testing.T) {
				key := rsaKey(t, bits)
				hash := bytes.Repeat([]byte{0xa5}, size)
				signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.Hash(0), hash)
				if err != nil {
					t.Fatal(err)
				}
				wantCause(t, Verify(RSASignature, &key.PublicKey, hash, signature), "")
				hash[size-1]++
				wantCause(t, Verify(RSASignature, &key.PublicKey, hash, signature), BadSignature)
			})
		}
	}
}

// TestVerifyRSAHashLength signs hashes that are too short or too long (the family of CVE-2026-50721).
func TestVerifyRSAHashLength(t *testing.T) {
	key := rsaKey(t, 2048)
	long := bytes.Repeat([]byte{0x5a}, 128)
	for _, size := range hashSizes {
		hash := long[:size]
		for n := 0; n <= size+40; n++ {
			signature := rawRSA(key, paddedBlock(key.Size(), long[:n]))
			want := BadSignature
			if n == size {
				want = ""
			}
			wantCause(t, Verify(RSASignature, &key.PublicKey, hash, signature), want)
			if !slices.Contains(hashSizes, n) { // what was signed, honestly, but of no length that IKE has
				wantCause(t, Verify(RSASignature, &key.PublicKey, long[:n], signature), BadSignature)
			}
		}
	}
}

func TestVerifyRSABlock(t *testing.T) {
	key := rsaKey(t, 2048)
	hash := testHash[:]
	good := paddedBlock(key.Size(), hash)
	change := func(f func(b []byte) []byte) []byte { return f(slices.Clone(good)) }
	// the head of the block, then the hash, then garbage: what a lax parser takes, and what makes forgery possible with exponent 3
	trailing := func(padding int) []byte {
		b := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, padding)...)
		b = append(append(b, 0), hash...)
		return append(b, bytes.Repeat([]byte{0x77}, key.Size()-len(b))...)
	}
	digestInfo := append([]byte{0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20}, hash...)
	for name, block := range map[string][]byte{
		"trailing garbage, 8 octets of padding":   trailing(8),
		"trailing garbage, no padding":            trailing(0),
		"trailing garbage, 1 octet":               trailing(key.Size() - len(hash) - 4),
		"DigestInfo":                              paddedBlock(key.Size(), digestInfo),
		"block type 2":                            change(func(b []byte) []byte { b[1] = 2; return b }),
		"block type 0":                            change(func(b []byte) []byte { b[1] = 0; return b }),
		"first octet set":                         change(func(b []byte) []byte { b[0] = 1; return b }),
		"wrong octet at the start of the padding": change(func(b []byte) []byte { b[2] = 0xfe; return b }),
		"wrong octet in the padding":              change(func(b []byte) []byte { b[100] = 0; return b }),
		"wrong octet at the end of the padding":   change(func(b []byte) []byte { b[len(b)-len(hash)-2] = 0; return b }),
		"no separator":                            change(func(b []byte) []byte { b[len(b)-len(hash)-1] = 0xff; return b }),
		"hash one octet early":                    change(func(b []byte) []byte { return append(b[:2], append(b[3:], 0)...) }),
		"nothing but zeros":                       make([]byte, key.Size()),
	} {
		t.Run(name, func(t *testing.T) {
			signature := rawRSA(key, block)
			// the signature must stand for the block, or nothing is tested
			back := new(big.Int).Exp(new(big.Int).SetBytes(signature), big.NewInt(int64(key.E)), key.N)
			if want := new(big.Int).Mod(new(big.Int).SetBytes(block), key.N); back.Cmp(want) != 0 {
				t.Fatal("the signature does not stand for the block")
			}
			wantCause(t, Verify(RSASignature, &key.PublicKey, hash, signature), BadSignature)
		})
	}
	wantCause(t, Verify(RSASignature, &key.PublicKey, hash, rawRSA(key, good)), "")
}

func TestVerifyRSANumbers(t *testing.T) {
	key := rsaKey(t, 2048)
	good := rawRSA(key, paddedBlock(key.Size(), testHash[:]))
	plusN := new(big.Int).Add(new(big.Int).SetBytes(good), key.N)
	over := plusN.Bytes()
	for name, signature := range map[string][]byte{
		"empty":               {},
		"zero":                make([]byte, key.Size()),
		"one":                 append(make([]byte, key.Size()-1), 1),
		"the modulus":         key.N.Bytes(),
		"all ones":            bytes.Repeat([]byte{0xff}, key.Size()),
		"s + n":               over,
		"a leading zero more": append([]byte{0}, good...),
		"an octet less":       good[1:],
		"a trailing octet":    append(slices.Clone(good), 0),
	} {
		t.Run(name, func(t *testing.T) {
			wantCause(t, Verify(RSASignature, &key.PublicKey, testHash[:], signature), BadSignature)
		})
	}
}

// TestVerifyRSALeadingZero finds a signature whose first octet is zero: it is good with that octet and bad without.
func TestVerifyRSALeadingZero(t *testing.T) {
	key := rsaKey(t, 2048)
	for i := range 100000 {
		hash := sha256.Sum256(fmt.Append(nil, i))
		signature := rawRSA(key, paddedBlock(key.Size(), hash[:]))
		if signature[0] != 0 {
			continue
		}
		wantCause(t, Verify(RSASignature, &key.PublicKey, hash[:], signature), "")
		wantCause(t, Verify(RSASignature, &key.PublicKey, hash[:], signature[1:]), BadSignature)
		return
	}
	t.Fatal("no signature with a leading zero")
}

func TestVerifyRSAKeys(t *testing.T) {
	key := rsaKey(t, 2048)
	signature := rawRSA(key, paddedBlock(key.Size(), testHash[:]))
	huge := new(big.Int).Lsh(big.NewInt(1), 4097)
	small, _ := new(big.Int).SetString(strings.Repeat("f", 1024/4), 16)
	for name, pub := range map[string]crypto.PublicKey{
		"1024 bits":           &rsa.PublicKey{N: small, E: 65537},
		"2047 bits":           &rsa.PublicKey{N: new(big.Int).Rsh(key.N, 1), E: 65537},
		"4098 bits":           &rsa.PublicKey{N: huge.Add(huge, big.NewInt(1)), E: 65537},
		"even modulus":        &rsa.PublicKey{N: new(big.Int).Sub(key.N, big.NewInt(1)), E: 65537},
		"exponent 1":          &rsa.PublicKey{N: key.N, E: 1},
		"exponent 3":          &rsa.PublicKey{N: key.N, E: 3},
		"exponent 65535":      &rsa.PublicKey{N: key.N, E: 65535},
		"even exponent":       &rsa.PublicKey{N: key.N, E: 65538},
		"negative exponent":   &rsa.PublicKey{N: key.N, E: -65537},
		"no modulus":          &rsa.PublicKey{E: 65537},
		"a key of ECDSA":      &ecKey(t, elliptic.P256()).PublicKey,
		"no key":              nil,
		"a value, no pointer": key.PublicKey,
	} {
		t.Run(name, func(t *testing.T) {
			wantCause(t, Verify(RSASignature, pub, testHash[:], signature), Untrusted)
		})
	}
	for _, m := range []Method{0, PSK, 2, 4, 5, ECDSA256, 65535} {
		wantCause(t, Verify(m, &key.PublicKey, testHash[:], signature), Untrusted)
	}
}

func TestVerifyECDSA(t *testing.T) {
	for _, m := range []Method{ECDSA256, ECDSA384, ECDSA521} {
		t.Run(m.String(), func(t *testing.T) {
			c := m.ecdsa()
			key, hash := ecKey(t, c.Curve), hashFor(m)
			r, s, err := ecdsa.Sign(rand.Reader, key, hash)
			if err != nil {
				t.Fatal(err)
			}
			size := c.size()
			join := func(r, s *big.Int) []byte {
				return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
			}
			good := join(r, s)
			wantCause(t, Verify(m, &key.PublicKey, hash, good), "")
			n, zero, one := c.Params().N, new(big.Int), big.NewInt(1)
			all := new(big.Int).SetBytes(bytes.Repeat([]byte{0xff}, size))
			der, err := ecdsa.SignASN1(rand.Reader, key, hash)
			if err != nil {
				t.Fatal(err)
			}
			for name, signature := range map[string][]byte{
				"empty": {}, "DER": der, "r alone": good[:size], "an octet less": good[:2*size-1],
				"an octet more": append(slices.Clone(good), 0), "a leading octet more": append([]byte{0}, good...),
				"r zero": join(zero, s), "s zero": join(r, zero), "both zero": join(zero, zero), "both one": join(one, one),
				"r = n": join(n, s), "s = n": join(r, n), "r of ones": join(all, s), "s of ones": join(r, all), "swapped": join(s, r),
			} {
				t.Run(name, func(t *testing.T) {
					wantCause(t, Verify(m, &key.PublicKey, hash, signature), BadSignature)
				})
			}
			for _, other := range [][]byte{hash[:len(hash)-1], append(slices.Clone(hash), 0), hash[:20], nil} {
				wantCause(t, Verify(m, &key.PublicKey, other, good), BadSignature)
			}
			hash[0]++
			wantCause(t, Verify(m, &key.PublicKey, hash, good), BadSignature)
			for _, other := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
				if other != c.Curve {
					wantCause(t, Verify(m, &ecKey(t, other).PublicKey, hash, good), Untrusted)
				}
			}
		})
	}
}

// TestRFC4754Vector verifies the example of RFC 4754 section 8.1.
func TestRFC4754Vector(t *testing.T) {
	number := func(s string) *big.Int {
		n, ok := new(big.Int).SetString(strings.ReplaceAll(s, " ", ""), 16)
		if !ok {
			t.Fatal(s)
		}
		return n
	}
	pub := &ecdsa.PublicKey{
		Curve: elliptic.P256(),
		X:     number("2442A5CC 0ECD015F A3CA31DC 8E2BBC70 BF42D60C BCA20085 E0822CB0 4235E970"),
		Y:     number("6FC98BD7 E50211A4 A27102FA 3549DF79 EBCB4BF2 46B80945 CDDFE7D5 09BBFD7D"),
	}
	signature, err := hex.DecodeString(strings.ReplaceAll("CB28E099 9B9C7715 FD0A80D8 E47A7707 9716CBBF 917DD72E 97566EA1 C066957C"+
		"86FA3BB4 E26CAD5B F90B7F81 899256CE 7594BB1E A0C89212 748BFF3B 3D5B0315", " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("abc"))
	wantCause(t, Verify(ECDSA256, pub, hash[:], signature), "")
}

func TestMethods(t *testing.T) {
	for m, want := range map[Method]string{PSK: "psk", 2: "method2", RSASignature: "rsa", ECDSA256: "ecdsa256", ECDSA384: "ecdsa384", ECDSA521: "ecdsa521"} {
		if m.String() != want {
			t.Errorf("%d is %s, want %s", m, m, want)
		}
	}
	for m, want := range map[Method]int{ECDSA256: 32, ECDSA384: 48, ECDSA521: 64} {
		if got := m.Hash().Size(); got != want || !m.Signature() {
			t.Errorf("%s: hash of %d octets, want %d", m, got, want)
		}
	}
	if RSASignature.Hash() != 0 || PSK.Hash() != 0 || !RSASignature.Signature() || PSK.Signature() {
		t.Error("rsa and psk use the negotiated hash; psk is no signature")
	}
}
