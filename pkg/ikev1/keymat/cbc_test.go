package keymat

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// allCiphers has every cipher with every length of its keys, in octets.
var allCiphers = []struct {
	cipher Cipher
	keyLen int
}{{TripleDES, 24}, {AES, 16}, {AES, 24}, {AES, 32}}

// TestCBCVectors: AES of NIST SP 800-38A appendix F.2, 3DES of NIST's cryptographic toolkit examples.
func TestCBCVectors(t *testing.T) {
	const (
		plain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
		aesIV = "000102030405060708090a0b0c0d0e0f"
	)
	for _, v := range []struct {
		cipher            Cipher
		key, iv, wantNext string
		want              string
	}{
		{TripleDES, "0123456789abcdef23456789abcdef01456789abcdef0123", "f69f2445df4f9b17", "73c0bda85c8e0da7",
			"2079c3d53aa763e193b79e2569ab5262516570481f25b50f73c0bda85c8e0da7"},
		// The same key without its parity bits.
		{TripleDES, "0022446688aaccee22446688aaccee00446688aaccee0022", "f69f2445df4f9b17", "73c0bda85c8e0da7",
			"2079c3d53aa763e193b79e2569ab5262516570481f25b50f73c0bda85c8e0da7"},
		{AES, "2b7e151628aed2a6abf7158809cf4f3c", aesIV, "5086cb9b507219ee95db113a917678b2",
			"7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"},
		{AES, "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", aesIV, "b4d9ada9ad7dedf4e5e738763f69145a",
			"4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"},
		{AES, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", aesIV, "9cfc4e967edb808d679f777bc6702c7d",
			"f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"},
	} {
		c, err := NewCBC(v.cipher, unhex(t, v.key))
		if err != nil {
			t.Fatal(err)
		}
		sealed, next, err := c.Encrypt(unhex(t, v.iv), unhex(t, plain))
		if err != nil || !bytes.Equal(sealed, unhex(t, v.want)) || !bytes.Equal(next, unhex(t, v.wantNext)) {
			t.Errorf("%v with a key of %d digits: %x, next IV %x, %v", v.cipher, len(v.key), sealed, next, err)
		}
		opened, next, err := c.Decrypt(unhex(t, v.iv), unhex(t, v.want))
		if err != nil || !bytes.Equal(opened, unhex(t, plain)) || !bytes.Equal(next, unhex(t, v.wantNext)) {
			t.Errorf("%v with a key of %d digits opens as %x, next IV %x, %v", v.cipher, len(v.key), opened, next, err)
		}
	}
}

// TestCipherProperties proves that nothing but 3DES and AES is a cipher, whatever its number.
func TestCipherProperties(t *testing.T) {
	for n := range 1 << 16 {
		c := Cipher(n)
		want := map[Cipher]struct {
			name  string
			block int
		}{TripleDES: {"3des", 8}, AES: {"aes", 16}}[c]
		if c.BlockSize() != want.block || c.Supported() != (want.block != 0) || want.block != 0 && c.String() != want.name {
			t.Fatalf("%v: block of %d octets, supported: %v", c, c.BlockSize(), c.Supported())
		}
		if want.block != 0 {
			continue
		}
		for _, bits := range []int{0, 64, 128, 192, 256} {
			if _, err := NewCBC(c, make([]byte, bits/8)); err == nil || c.KeyLen(bits) != 0 {
				t.Fatalf("%v has keys of %d bits", c, bits)
			}
		}
	}
	if s := Cipher(1).String(); s != "cipher1" {
		t.Errorf("DES is called %q", s)
	}
	for bits := -8; bits <= 520; bits++ {
		want := map[int]int{128: 16, 192: 24, 256: 32}[bits]
		if got := AES.KeyLen(bits); got != want {
			t.Errorf("aes with a Key Length of %d: %d octets", bits, got)
		}
		want = map[int]int{0: 24}[bits]
		if got := TripleDES.KeyLen(bits); got != want {
			t.Errorf("3des with a Key Length of %d: %d octets", bits, got)
		}
	}
}

func TestCBCChaining(t *testing.T) {
	for _, k := range allCiphers {
		size := k.cipher.BlockSize()
		c, err := NewCBC(k.cipher, bytes.Repeat([]byte{7}, k.keyLen))
		if err != nil {
			t.Fatal(err)
		}
		if c.BlockSize() != size {
			t.Fatalf("%v: blocks of %d octets", k.cipher, c.BlockSize())
		}
		iv := Phase1IV(SHA256, size, []byte("gxi"), []byte("gxr"))
		first := iv
		for n := range 50 {
			plain := bytes.Repeat([]byte{byte(n)}, n)
			sealed, next, err := c.Encrypt(iv, plain)
			if err != nil {
				t.Fatal(err)
			}
			opened, nextIn, err := c.Decrypt(iv, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(next, nextIn) {
				t.Fatal("the two sides chain differently")
			}
			if !bytes.Equal(opened[:n], plain) || !bytes.Equal(opened[n:], make([]byte, len(opened)-n)) || len(opened)-n >= size {
				t.Fatalf("%d octets come back as %x", n, opened)
			}
			if n > 0 && !bytes.Equal(next, sealed[len(sealed)-size:]) || n == 0 && !bytes.Equal(next, iv) {
				t.Fatal("the next IV is not the last block")
			}
			again, _, _ := c.Encrypt(iv, plain)
			if !bytes.Equal(again, sealed) {
				t.Fatal("the same message with the same IV differs: a retransmission would")
			}
			iv = next
		}
		if !bytes.Equal(first, Phase1IV(SHA256, size, []byte("gxi"), []byte("gxr"))) {
			t.Fatal("an IV was overwritten in place")
		}
	}
}

func TestCBCRefusesOddLengths(t *testing.T) {
	for _, k := range allCiphers {
		c, err := NewCBC(k.cipher, make([]byte, k.keyLen))
		if err != nil {
			t.Fatal(err)
		}
		size := k.cipher.BlockSize()
		for n := range 40 {
			_, _, err := c.Decrypt(make([]byte, size), make([]byte, n))
			if (err != nil) != (n%size != 0) || err != nil && !errors.Is(err, ErrBlockLength) {
				t.Errorf("%v: ciphertext of %d octets: %v", k.cipher, n, err)
			}
			if n == size {
				continue
			}
			if _, _, err := c.Decrypt(make([]byte, n), nil); !errors.Is(err, ErrBlockLength) {
				t.Errorf("%v: decrypting with an IV of %d octets: %v", k.cipher, n, err)
			}
			if _, _, err := c.Encrypt(make([]byte, n), nil); !errors.Is(err, ErrBlockLength) {
				t.Errorf("%v: encrypting with an IV of %d octets: %v", k.cipher, n, err)
			}
		}
		for n := range 65 {
			good := n != 0 && (k.cipher.KeyLen(n*8) == n || k.cipher.KeyLen(0) == n)
			if _, err := NewCBC(k.cipher, make([]byte, n)); (err == nil) != good {
				t.Errorf("%v: a key of %d octets: %v", k.cipher, n, err)
			}
		}
	}
}

func TestZeroCBC(t *testing.T) {
	var c CBC
	for _, n := range []int{0, 8, 16} {
		_, _, errEncrypt := c.Encrypt(make([]byte, n), make([]byte, n))
		_, _, errDecrypt := c.Decrypt(make([]byte, n), make([]byte, n))
		if c.BlockSize() != 0 || !errors.Is(errEncrypt, ErrBlockLength) || !errors.Is(errDecrypt, ErrBlockLength) {
			t.Errorf("without a key: %v, %v", errEncrypt, errDecrypt)
		}
	}
}

// The wanted figures were computed with Python's hashlib.
func TestIVs(t *testing.T) {
	full := unhex(t, "b49fc71be72ae812278eda3d41504bc1d9f60a27")
	for _, k := range allCiphers {
		size := k.cipher.BlockSize()
		if got := Phase1IV(SHA1, size, []byte("gxi"), []byte("gxr")); !bytes.Equal(got, full[:size]) {
			t.Errorf("%v: IV of phase 1 %x", k.cipher, got)
		}
	}
	got := Phase2IV(SHA1, TripleDES.BlockSize(), full[:8], 0x01020304)
	if want := unhex(t, "9b49aecf3c3f299c"); !bytes.Equal(got, want) {
		t.Errorf("3des: IV of phase 2 %x, want %x", got, want)
	}
	for _, h := range []Hash{SHA1, SHA256, SHA384, SHA512} {
		for _, size := range []int{8, 16} {
			last := make([]byte, size)
			if len(Phase2IV(h, size, last, 1)) != size || len(Phase1IV(h, size, last, last)) != size {
				t.Errorf("%v: wrong IV length", h)
			}
			if bytes.Equal(Phase2IV(h, size, last, 1), Phase2IV(h, size, last, 2)) {
				t.Errorf("%v: message ids 1 and 2 give the same IV", h)
			}
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
