package ikev1_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

func TestEveryPhase1Proposal(t *testing.T) {
	groups := []dh.Group{dh.MODP1024, dh.MODP1536, dh.MODP2048, dh.MODP3072, dh.ECP256, dh.ECP384, dh.ECP521}
	hashes := []keymat.Hash{keymat.SHA1, keymat.SHA256, keymat.SHA384, keymat.SHA512}
	n := uint64(0)
	for i, g := range groups {
		for j, h := range hashes {
			for k, bits := range []int{128, 192, 256} {
				if i > 0 && i != 4 && (i+j+k)%3 != 0 { // the slow groups with a third of the combinations each
					continue
				}
				proposal := ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: bits, Hash: h, Group: g}
				n++
				t.Run(proposal.String(), func(t *testing.T) {
					w := newWorld(t, func(c *ikev1.Config) { c.Phase1 = []ikev1.Phase1Proposal{proposal} })
					p := newPeer(n).BehindNAT(500, 4500)
					p.Offer = []wire.Transform{ikev1test.Phase1Transform(1, uint16(bits), h, g)}
					m := w.connect(p)
					q := w.quick(m, 1)
					want(t, w.client().IKEProposal, proposal.String(), "the proposal in words")
					w.hangUp(m, q)
					w.empty("hung up")
				})
			}
		}
	}
}

// TestWindowsOffer plays the five transforms of Windows: the server's preference decides, and the chosen transform comes back
// octet for octet with the client's number.
func TestWindowsOffer(t *testing.T) {
	tripleDES := func(number uint8, g dh.Group) wire.Transform {
		tr := ikev1test.Phase1Transform(number, 0, keymat.SHA1, g)
		tr.Attributes[0] = wire.ShortAttribute(wire.AttrEncryption, 5)
		tr.Attributes = slices.Delete(tr.Attributes, 1, 2) // no key length
		return tr
	}
	p := newPeer(1).BehindNAT(64916, 64917)
	p.VendorIDs = [][]byte{ikev1test.VendorUnknown, ikev1test.VendorWindows, ikev1test.VendorRFC3947, ikev1test.VendorNATT02n, ikev1test.VendorFragmentation}
	p.Offer = []wire.Transform{
		ikev1test.Phase1Transform(1, 256, keymat.SHA1, dh.ECP384), ikev1test.Phase1Transform(2, 128, keymat.SHA1, dh.ECP256),
		ikev1test.Phase1Transform(3, 256, keymat.SHA1, dh.MODP2048), tripleDES(4, dh.MODP2048), tripleDES(5, dh.MODP1024),
	}
	w := newWorld(t)
	m := w.connect(p)
	want(t, m.Offer[m.Chosen].Number, 3, "AES-256, SHA-1, MODP-2048 comes before the ECP groups in the default list")
	want(t, ikev1test.HasVendorID(m.AnsweredVendorIDs, ikev1test.VendorDPD), false, "Windows did not offer DPD, so we do not either")
	want(t, w.client().VendorKind, "windows", "the vendor ID tells Windows")
	for id := uint32(1); id <= 3; id++ { // Windows counts
		w.quick(m, id)
	}
	want(t, len(w.client().Children), 3, "three Quick Modes, three children")
}

// TestOddEncodings plays transforms that are legal but unusual: attributes in any order, in the long form, number 0.
func TestOddEncodings(t *testing.T) {
	long := func(kind uint16, value uint32) wire.Attribute { return wire.LongAttribute(kind, value) }
	usual := ikev1test.Phase1Transform(0, 256, keymat.SHA256, dh.ECP256)
	reversed := ikev1test.Phase1Transform(7, 256, keymat.SHA256, dh.ECP256)
	slices.Reverse(reversed.Attributes[:5]) // the lifetime's two attributes belong together
	lifetimeFirst := ikev1test.Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)
	lifetimeFirst.Attributes = append(slices.Clone(lifetimeFirst.Attributes[5:]), lifetimeFirst.Attributes[:5]...)
	allLong := wire.Transform{Number: 1, ID: wire.TransformKeyIKE, Attributes: []wire.Attribute{
		long(wire.AttrEncryption, 7), long(wire.AttrKeyLength, 256), long(wire.AttrHash, 4), long(wire.AttrGroup, 19),
		long(wire.AttrAuthMethod, 1), long(wire.AttrLifeType, 1), {Type: wire.AttrLifeDuration, Value: []byte{0x70, 0x80}},
	}}
	noLifetime := ikev1test.Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)
	noLifetime.Attributes = noLifetime.Attributes[:5]
	for name, tr := range map[string]wire.Transform{
		"number 0": usual, "reversed": reversed, "lifetime first": lifetimeFirst, "long form": allLong, "no lifetime": noLifetime,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := newPeer(1)
			p.Offer = []wire.Transform{tr}
			m := w.connect(p)
			w.hangUp(m, w.quick(m, 0xfffffffe))
			w.empty("hung up")
		})
	}
}

func TestUnacceptableTransforms(t *testing.T) {
	change := func(i int, a wire.Attribute) wire.Transform {
		tr := ikev1test.Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)
		tr.Attributes[i] = a
		return tr
	}
	more := ikev1test.Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)
	more.Attributes = append(more.Attributes, wire.ShortAttribute(16384, 1))
	for name, tr := range map[string]wire.Transform{
		"DES":                    change(0, wire.ShortAttribute(wire.AttrEncryption, 1)),
		"AES-GCM number":         change(0, wire.ShortAttribute(wire.AttrEncryption, 20)),
		"no key length":          change(1, wire.ShortAttribute(wire.AttrLifeType, 1)),
		"key length 0":           change(1, wire.ShortAttribute(wire.AttrKeyLength, 0)),
		"key length 512":         change(1, wire.ShortAttribute(wire.AttrKeyLength, 512)),
		"MD5":                    change(2, wire.ShortAttribute(wire.AttrHash, 1)),
		"Tiger":                  change(2, wire.ShortAttribute(wire.AttrHash, 3)),
		"group 1":                change(3, wire.ShortAttribute(wire.AttrGroup, 1)),
		"group 2 not allowed":    change(3, wire.ShortAttribute(wire.AttrGroup, 2)),
		"group 24":               change(3, wire.ShortAttribute(wire.AttrGroup, 24)),
		"RSA signatures":         change(4, wire.ShortAttribute(wire.AttrAuthMethod, 3)),
		"RSA encryption":         change(4, wire.ShortAttribute(wire.AttrAuthMethod, 4)),
		"revised RSA encryption": change(4, wire.ShortAttribute(wire.AttrAuthMethod, 5)),
		"XAUTH":                  change(4, wire.ShortAttribute(wire.AttrAuthMethod, 65001)),
		"unknown attribute":      more,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := newPeer(1)
			p.Offer = []wire.Transform{tr}
			sent := w.say(p, p.MainMode().Message1())
			failed := eventsOf[ikev1.Phase1Failed](w)
			if len(failed) != 1 || len(failed[0].Offered) != 1 || len(failed[0].Allowed) == 0 || failed[0].Cause == "" || failed[0].Hint == "" {
				t.Fatalf("the operator is told %+v", failed)
			}
			if len(sent) > 1 {
				t.Fatalf("%d answers", len(sent))
			}
			for _, d := range sent {
				h, payloads, err := ikev1test.Parse(d.Payload)
				w.ok(err)
				want(t, h.Exchange, wire.ExchangeInformational, "the refusal is an Informational")
				n, err := wire.ParseNotification(payloads[0].Body)
				w.ok(err)
				want(t, n.Kind, wire.NotifyNoProposalChosen, "the refusal says what is wrong")
			}
			w.empty("nothing is kept of a refused client")

			// The same transform among others does not spoil the offer.
			p.Offer = append(p.Offer, ikev1test.Phase1Transform(2, 256, keymat.SHA256, dh.ECP256))
			want(t, w.connect(p).Chosen, 1, "the acceptable transform is taken")
		})
	}
}

func TestServerPreferenceDecides(t *testing.T) {
	weak, strong := ikev1test.Phase1Transform(1, 128, keymat.SHA1, dh.ECP256), ikev1test.Phase1Transform(2, 256, keymat.SHA256, dh.MODP2048)
	for _, offer := range [][]wire.Transform{{weak, strong}, {strong, weak}} {
		w := newWorld(t)
		p := newPeer(1)
		p.Offer = offer
		w.connect(p)
		want(t, w.client().IKEProposal, "aes256-sha256-modp2048", "the order of the client's offer does not matter")
	}
}

func TestWrongThenRightPSK(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(500, 4500)
	p.PSK = []byte("correct horse battery stapl")
	m := w.greet(p)
	bad := m.Message5()
	w.silent(p, bad, "a message 5 that does not prove the key is not answered")
	failed := eventsOf[ikev1.Phase1Failed](w)
	if len(failed) != 1 || !strings.Contains(failed[0].Cause, "PSK") || failed[0].Hint == "" {
		t.Fatalf("the operator is told %+v", failed)
	}
	for _, e := range w.events {
		if strings.Contains(e.String(), "correct horse") {
			t.Fatal("an event contains the key")
		}
	}
	for range 5 {
		w.silent(p, bad, "nor are its repetitions")
	}
	want(t, len(eventsOf[ikev1.Phase1Failed](w)), 1, "repetitions are not reported again")
	want(t, len(w.engine.Clients()), 0, "nobody is connected")

	// The user corrects the key and tries again from the same address and port.
	p2 := newPeer(1).BehindNAT(500, 4500)
	p2.Rand = rand.NewChaCha8([32]byte{9})
	m2 := w.connect(p2)
	w.quick(m2, 1)
	w.elapse(time.Minute)
	want(t, len(w.client().Children), 1, "the failed attempt's end does not touch the client")
	w.hangUp(m2)
}

func TestGarbageMessage5(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.greet(p)
	iv := m.IV
	good := m.Message5()
	for n := range 6 {
		garbage := bytes.Clone(good)
		copy(garbage[wire.HeaderLen:], p.Random(len(good)-wire.HeaderLen))
		w.silent(p, garbage, fmt.Sprintf("garbage number %d is not answered", n))
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	w.silent(p, flipped, "one changed bit is not accepted")
	clear := wire.Message(wire.Header{InitiatorCookie: m.CookieI, ResponderCookie: m.CookieR, Exchange: wire.ExchangeMain}, m.Identity, wire.Hash(make([]byte, 32)))
	w.silent(p, clear, "a message 5 in the clear is not accepted")
	for n := wire.HeaderLen; n < len(good); n++ {
		short := bytes.Clone(good[:n])
		short[24], short[25], short[26], short[27] = 0, 0, byte(n>>8), byte(n)
		w.say(p, short)
	}
	want(t, len(w.engine.Clients()), 0, "nobody is connected")
	if !bytes.Equal(iv, keymat.Phase1IV(m.Hash, m.CBC.BlockSize(), m.GXI, m.GXR)) {
		t.Fatal("the test's own IV moved")
	}
	// Sixteen bad attempts end a handshake; the good message may still come before that.
	w2 := newWorld(t)
	p2 := newPeer(1)
	m2 := w2.greet(p2)
	good = m2.Message5()
	for range 5 {
		garbage := bytes.Clone(good)
		copy(garbage[wire.HeaderLen:], p2.Random(len(good)-wire.HeaderLen))
		w2.silent(p2, garbage, "garbage")
	}
	w2.ok(m2.TakeMessage6(w2.ask(p2, good, "forged messages 5 cannot spoil a handshake")))
}

func TestBadPublicValues(t *testing.T) {
	for name, ke := range map[string][]byte{
		"zero": make([]byte, 64), "short": make([]byte, 63), "long": make([]byte, 65), "empty": {}, "off the curve": bytes.Repeat([]byte{3}, 64),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := newPeer(1)
			m := p.MainMode()
			w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
			w.silent(p, wire.Message(m.Header(), wire.KE(ke), wire.Nonce(m.NonceI)), "a bad public value is not answered")
			w.elapse(time.Minute)
			w.empty("the handshake is over")
			// The peer, if it was it, can try again.
			w.connect(newPeer(1))
		})
	}
}

func TestNoPSK(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.PSK = func(_, remote netip.Addr) []byte { return nil } })
	for n := range uint64(100) {
		w.silent(newPeer(n), newPeer(n).MainMode().Message1(), "no key for this peer")
	}
	failed, dropped := eventsOf[ikev1.Phase1Failed](w), eventsOf[ikev1.Dropped](w)
	if len(failed) == 0 || len(failed) > 20 || failed[0].Hint == "" {
		t.Fatalf("a flood of 100 is reported as %+v", failed)
	}
	if len(dropped) < 100-len(failed) {
		t.Fatalf("%d of 100 are counted", len(dropped))
	}
	want(t, dropped[0].Reason, ikev1.DropNoPSK, "the reason")
	w.empty("nothing is kept")
}

func TestDHFailureOfTheOwner(t *testing.T) {
	w := newWorld(t)
	w.fault = func(a ikev1.Action) error {
		if _, ok := a.(ikev1.ComputeDH); ok {
			return errors.New("the worker is gone")
		}
		return nil
	}
	p := newPeer(1)
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
	w.silent(p, m.Message3(), "no message 4 without a result")
	w.empty("nothing is kept")
	want(t, len(eventsOf[ikev1.Phase1Failed](w)), 1, "the failure is reported")
}
