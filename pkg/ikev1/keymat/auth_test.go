package keymat

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

// The wanted figures were computed with Python's hmac and hashlib from the formulas of RFC 2409 section 5.
func TestHashes(t *testing.T) {
	key, gxi, gxr := []byte("skeyid"), []byte("gxi"), []byte("gxr")
	i, r := [8]byte{1, 1, 1, 1, 1, 1, 1, 1}, [8]byte{2, 2, 2, 2, 2, 2, 2, 2}
	sa, id := []byte("SAi_b"), []byte("ID_b")
	const mid = 0x01020304
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"HASH_I", "2dd916d91595b7641a06cc1254bf83dd23f7d498",
			HashI(SHA1, key, gxi, gxr, i, r, sa, id)},
		{"HASH_R", "515ed88d391def46017fd99f7141aa88f6b82f212383e8f2ad5e17c906a914b4",
			HashR(SHA256, key, gxi, gxr, i, r, sa, id)},
		{"HASH(1)", "65339e40fe4e001d4432c5cab3142d361b8d8520edce99e02fcae49bdacac4d9",
			Hash1(SHA256, key, mid, []byte("rest"))},
		{"HASH(2)", "035dfaaab860bc95e4290cec05d9f2160c28ba989d37ef37794acb47dcdcd45b39a9141d7d6ce326855111e85abb1d7d",
			Hash2(SHA384, key, mid, []byte("Ni"), []byte("rest"))},
		{"HASH(3)", "c8595f6451e38d0af073ac65453bb83c718d0f4e",
			Hash3(SHA1, key, mid, []byte("Ni"), []byte("Nr"))},
		{"Informational", "7e5f057d4f86993c2f57ce1cbb716285323758f8",
			HashInfo(SHA1, key, mid, []byte("rest"))},
		{"NAT-D IPv4", "3ca7080caf618c11fe64bf2eb2d9795ba76b573d",
			NATD(SHA1, i, r, netip.MustParseAddrPort("192.0.2.1:500"))},
		{"NAT-D IPv6", "fc326d8c0be0dc44546924e901e85fc3bcd98b7a50c978369f2ed482bfa3c6f9",
			NATD(SHA256, i, r, netip.MustParseAddrPort("[2001:db8::1]:4500"))},
	} {
		want, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s = %x, want %x", c.name, c.got, want)
		}
	}
}

func TestNATDMappedAddress(t *testing.T) {
	var i, r [8]byte
	a := NATD(SHA1, i, r, netip.MustParseAddrPort("192.0.2.1:500"))
	if b := NATD(SHA1, i, r, netip.MustParseAddrPort("[::ffff:192.0.2.1]:500")); !bytes.Equal(a, b) {
		t.Error("an IPv4-mapped address hashes differently")
	}
}

func TestHashProperties(t *testing.T) {
	for h := range Hash(10) {
		switch h {
		case SHA1, SHA256, SHA384, SHA512:
			if !h.Supported() || h.New().Size() != h.Size() || len(prf(h, nil)) != h.Size() {
				t.Errorf("%v is inconsistent", h)
			}
		default:
			if h.Supported() || h.New() != nil || h.Size() != 0 {
				t.Errorf("%v must not be supported", h)
			}
		}
	}
}
