package concentrator

import (
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

func TestAlgorithmNames(t *testing.T) {
	key := func(octets int) []byte { return make([]byte, octets) }
	for _, c := range []struct {
		st                    xfrm.State
		encryption, integrity string
	}{
		{xfrm.State{Crypt: xfrm.AESCBC(key(16)), Auth: xfrm.HMACSHA1(key(20))}, "aes128", "sha1"},
		{xfrm.State{Crypt: xfrm.AESCBC(key(24)), Auth: xfrm.HMACSHA256(key(32))}, "aes192", "sha256"},
		{xfrm.State{Crypt: xfrm.TripleDESCBC(key(24)), Auth: xfrm.HMACSHA256Trunc96(key(32))}, "3des", "sha256_96"},
		{xfrm.State{Crypt: xfrm.AESCBC(key(32)), Auth: xfrm.HMACSHA384(key(48))}, "aes256", "sha384"},
		{xfrm.State{Crypt: xfrm.AESCBC(key(32)), Auth: xfrm.HMACSHA512(key(64))}, "aes256", "sha512"},
		{xfrm.State{AEAD: xfrm.AESGCM8(key(20))}, "aes128gcm8", ""},
		{xfrm.State{AEAD: xfrm.AESGCM12(key(28))}, "aes192gcm12", ""},
		{xfrm.State{AEAD: xfrm.AESGCM16(key(36))}, "aes256gcm16", ""},
	} {
		if e, i := algorithms(c.st); e != c.encryption || i != c.integrity {
			t.Errorf("%v is named %q %q, want %q %q", c.st, e, i, c.encryption, c.integrity)
		}
	}
}
