package keymat

import (
	"bytes"
	"errors"
	"testing"
)

func TestCBCChaining(t *testing.T) {
	for _, keyLen := range []int{16, 24, 32} {
		c, err := NewCBC(bytes.Repeat([]byte{7}, keyLen))
		if err != nil {
			t.Fatal(err)
		}
		iv := Phase1IV(SHA256, []byte("gxi"), []byte("gxr"))
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
			if !bytes.Equal(opened[:n], plain) || !bytes.Equal(opened[n:], make([]byte, len(opened)-n)) || len(opened)-n >= BlockSize {
				t.Fatalf("%d octets come back as %x", n, opened)
			}
			if n > 0 && !bytes.Equal(next, sealed[len(sealed)-BlockSize:]) || n == 0 && !bytes.Equal(next, iv) {
				t.Fatal("the next IV is not the last block")
			}
			again, _, _ := c.Encrypt(iv, plain)
			if !bytes.Equal(again, sealed) {
				t.Fatal("the same message with the same IV differs: a retransmission would")
			}
			iv = next
		}
		if !bytes.Equal(first, Phase1IV(SHA256, []byte("gxi"), []byte("gxr"))) {
			t.Fatal("an IV was overwritten in place")
		}
	}
}

func TestCBCRefusesOddLengths(t *testing.T) {
	c, err := NewCBC(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		_, _, err := c.Decrypt(make([]byte, BlockSize), make([]byte, n))
		if (err != nil) != (n%BlockSize != 0) || err != nil && !errors.Is(err, ErrBlockLength) {
			t.Errorf("ciphertext of %d octets: %v", n, err)
		}
		if n == BlockSize {
			continue
		}
		if _, _, err := c.Decrypt(make([]byte, n), nil); !errors.Is(err, ErrBlockLength) {
			t.Errorf("decrypting with an IV of %d octets: %v", n, err)
		}
		if _, _, err := c.Encrypt(make([]byte, n), nil); !errors.Is(err, ErrBlockLength) {
			t.Errorf("encrypting with an IV of %d octets: %v", n, err)
		}
	}
	for _, n := range []int{0, 8, 15, 17, 33} {
		if _, err := NewCBC(make([]byte, n)); err == nil {
			t.Errorf("a key of %d octets was accepted", n)
		}
	}
}

func TestPhase2IVDiffersByMessageID(t *testing.T) {
	last := make([]byte, BlockSize)
	if bytes.Equal(Phase2IV(SHA1, last, 1), Phase2IV(SHA1, last, 2)) {
		t.Error("message ids 1 and 2 give the same IV")
	}
	for _, h := range []Hash{SHA1, SHA256, SHA384, SHA512} {
		if len(Phase2IV(h, last, 1)) != BlockSize || len(Phase1IV(h, last, last)) != BlockSize {
			t.Errorf("%v: wrong IV length", h)
		}
	}
}
