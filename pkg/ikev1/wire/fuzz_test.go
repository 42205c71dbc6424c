package wire

import (
	"bytes"
	"reflect"
	"testing"
)

// again checks that a value marshals to octets that parse to the same value.
func again(t *testing.T, p Payload, parse func([]byte) (Payload, error)) {
	t.Helper()
	b := p.AppendBody(nil)
	q, err := parse(b)
	if err != nil {
		t.Fatalf("%+v marshals to %x: %v", p, b, err)
	}
	if !reflect.DeepEqual(p, q) {
		t.Fatalf("%+v comes back as %+v", p, q)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(Message(Header{Exchange: ExchangeMain}, windowsSA()))
	f.Add(make([]byte, HeaderLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if got := h.Append(nil); !bytes.Equal(got, b[:HeaderLen]) {
			t.Fatalf("%x comes back as %x", b[:HeaderLen], got)
		}
	})
}

func FuzzChain(f *testing.F) {
	f.Add(byte(PayloadSA), AppendChain(nil, windowsSA(), VendorID("vendor")))
	f.Add(byte(PayloadKE), AppendChain(nil, KE("k"), Nonce("12345678"), Raw{Kind: PayloadNATD, Body: []byte("n")}, Raw{Kind: PayloadNATD, Body: []byte("m")}))
	f.Fuzz(func(t *testing.T, first byte, b []byte) {
		chain, n, err := ParseChain(PayloadType(first), b)
		if err != nil {
			return
		}
		payloads := make([]Payload, len(chain))
		for i, raw := range chain {
			payloads[i] = raw
		}
		out := AppendChain(nil, payloads...)
		again, m, err := ParseChain(First(payloads), out)
		if err != nil || m != n || !reflect.DeepEqual(chain, again) {
			t.Fatalf("%x comes back as %x: %v", b[:n], out, err)
		}
	})
}

func FuzzBodies(f *testing.F) {
	for i, c := range bodies {
		f.Add(byte(i), c.value.AppendBody(nil))
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		c := bodies[int(which)%len(bodies)]
		if p, err := c.parse(b); err == nil {
			again(t, p, c.parse)
		}
	})
}

func FuzzAttributes(f *testing.F) {
	f.Add(AppendAttributes(nil, ShortAttribute(AttrSALifeType, 1), LongAttribute(AttrSALifeDuration, 3600)))
	f.Add(AppendAttributes(nil, Attribute{Type: AttrLifeDuration, Value: []byte{}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseAttributes(b)
		if err != nil {
			return
		}
		if got := AppendAttributes(nil, list...); !bytes.Equal(got, b) || len(list) > MaxAttributes {
			t.Fatalf("%x comes back as %x", b, got)
		}
	})
}
