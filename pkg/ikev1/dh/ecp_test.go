package dh

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

func TestRFC5903(t *testing.T) {
	text, err := os.ReadFile("testdata/rfc5903-ecp.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors map[string]struct {
		I, R, KEi, KEr string
		GIR            string `json:"g_ir"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, g := range map[string]Group{"group19": ECP256, "group20": ECP384, "group21": ECP521} {
		v, ok := vectors[name]
		if !ok {
			t.Fatalf("no vector of %s", name)
		}
		for _, side := range []struct{ secret, own, peer string }{{v.I, v.KEi, v.KEr}, {v.R, v.KEr, v.KEi}} {
			public, shared, err := (&PrivateKey{group: g, secret: unhex(side.secret)}).Exchange(unhex(side.peer))
			if err != nil {
				t.Fatalf("%v: %v", g, err)
			}
			if !bytes.Equal(public, unhex(side.own)) {
				t.Errorf("%v: wrong KE body %x", g, public)
			}
			if !bytes.Equal(shared, unhex(v.GIR)) {
				t.Errorf("%v: wrong shared secret %x", g, shared)
			}
		}
	}
}

func TestBadPoints(t *testing.T) {
	for _, g := range []Group{ECP256, ECP384, ECP521} {
		k, err := GenerateKey(g, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		good, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		off := bytes.Clone(good)
		off[len(off)-1] ^= 1
		swapped := append(bytes.Clone(good[len(good)/2:]), good[:len(good)/2]...)
		for name, peer := range map[string][]byte{
			"(0,0)": make([]byte, len(good)), "off the curve": off, "y | x": swapped,
			"beyond the field": bytes.Repeat([]byte{0xff}, len(good)),
		} {
			public, shared, err := k.Exchange(peer)
			if !errors.Is(err, ErrBadPublicValue) || public != nil || shared != nil {
				t.Errorf("%v accepts %s: %v", g, name, err)
			}
		}
	}
}

func TestDrawRejectsOutOfRange(t *testing.T) {
	for _, g := range []Group{ECP256, ECP384, ECP521} {
		size := g.SharedLen()
		good := bytes.Repeat([]byte{0x11}, size)
		// All ones is beyond every order, zero is no scalar: both must be passed over.
		stream := append(bytes.Repeat([]byte{0xff}, size), make([]byte, size)...)
		k, err := GenerateKey(g, bytes.NewReader(append(stream, good...)))
		if err != nil {
			t.Fatalf("%v: %v", g, err)
		}
		if !bytes.Equal(k.secret[1:], good[1:]) {
			t.Errorf("%v: drew %x", g, k.secret)
		}
		if _, err := GenerateKey(g, zeros{}); err == nil {
			t.Errorf("%v: a reader of zeros gives a key", g)
		}
	}
}

func TestPositiveBelow(t *testing.T) {
	for _, c := range []struct {
		x, limit string
		want     bool
	}{
		{"00000000", "12345678", false}, {"00000001", "12345678", true}, {"12345677", "12345678", true}, {"12345678", "12345678", false},
		{"12345679", "12345678", false}, {"12350000", "12345678", false}, {"12340000", "12345678", true}, {"ffffffff", "12345678", false},
		{"11ffffff", "12000000", true}, {"12000000", "11ffffff", false}, {"fffffffe", "ffffffff", true}, {"00000000", "00000000", false},
	} {
		x, err1 := hex.DecodeString(c.x)
		limit, err2 := hex.DecodeString(c.limit)
		if got := positiveBelow(x, limit); err1 != nil || err2 != nil || got != c.want {
			t.Errorf("0 < %s < %s: %v", c.x, c.limit, got)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
