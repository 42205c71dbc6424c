package ikev1_test

import (
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestQuirk25NoNATOA: Android and old Apples propose ESP in UDP without saying their original addresses, and get none to hear either.
func TestQuirk25NoNATOA(t *testing.T) {
	for _, name := range []string{"macOS 10.11, iOS 9", "Android 8", "Android 4.3", "Android 4.0"} {
		k := kindNamed(t, name)
		w := newWorld(t, legacy)
		m, q := w.join(k, natted(k, 1)) // counts NAT-OA payloads
		want(t, len(q.NATOA), 0, name)
		want(t, w.inbound[q.Theirs].Encapsulated, true, name)
		w.leave(k, m, q)
	}
}

// TestQuirk26MarkerOnPort500: a non-ESP marker before messages on port 500 is skipped, an octet 0xff is a keepalive on either port.
func TestQuirk26MarkerOnPort500(t *testing.T) {
	k := kindNamed(t, "macOS 10.12, iOS 10")
	w := newWorld(t)
	p := clientOf(k, 1)
	marked := func(b []byte) []byte { return append(make([]byte, 4), b...) }
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, marked(m.Message1()), "message 1 with a marker")))
	w.ok(m.TakeMessage4(w.ask(p, marked(m.Message3()), "message 3 with a marker")))
	w.ok(m.TakeMessage6(w.ask(p, marked(k.Message5(m, true)), "message 5 with a marker")))
	q := k.QuickMode(m, 1)
	w.ok(q.TakeMessage2(w.ask(p, marked(q.Message1()), "Quick Mode message 1 with a marker")))
	w.say(p, marked(q.Message3()))
	w.ok(w.agree(q, true))

	far := natted(k, 2)
	w.connect(far)
	events := len(w.events)
	for _, at := range []*ikev1test.Peer{p, far} {
		want(t, w.silent(at, []byte{0xff}, "a keepalive"), "", "it is no failure")
	}
	want(t, len(w.events), events, "a keepalive is nothing to tell of")
}

// TestQuirk27OneNATTraversal: of the many versions that a client offers exactly one is agreed to, RFC 3947 if it is there.
func TestQuirk27OneNATTraversal(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		m, _ := w.join(k, natted(k, 1))
		agreed := 0
		for _, v := range m.AnsweredVendorIDs {
			switch string(v) {
			case string(ikev1test.VendorRFC3947), string(ikev1test.VendorNATT02n):
				agreed++
			case string(ikev1test.VendorDPD):
			default:
				want(t, ikev1test.HasVendorID([][]byte{v}, ikev1test.VendorFragmentation), true, "nothing else is sent")
			}
		}
		expected := 1
		if len(k.VendorIDs) == 0 {
			expected = 0
		}
		want(t, agreed, expected, "versions of NAT traversal")
	})
}

// TestQuirk28AndroidMODP1024: Android needs the legacy profile, or its group in a list, and the operator is told so.
func TestQuirk28AndroidMODP1024(t *testing.T) {
	for _, name := range []string{"Android 8", "Android 4.3", "Android 4.0"} {
		k := kindNamed(t, name)
		w := newWorld(t)
		_, _, outcome := w.dial(k, natted(k, 1))
		begins(t, outcome, android, name)
		failed := eventsOf[ikev1.Phase1Failed](w)
		want(t, failed[0].VendorKind, "android", name)
		want(t, len(failed[0].Offered) > 0 && len(failed[0].Allowed) > 0, true, "both lists are told")
		w.empty(name)

		w = newWorld(t, func(c *ikev1.Config) {
			c.Phase1 = append(ikev1.Compatible.Phase1(), ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA1, Group: dh.MODP1024})
		})
		m, q, outcome := w.dial(k, natted(k, 1))
		begins(t, outcome, "aes256-sha1-modp1024", name)
		w.leave(k, m, q)
	}
}

// TestQuirk29SHA256Truncation: an Android that has no SHA-512 for ESP cuts HMAC-SHA2-256 off. It gets another algorithm, or with the
// switch the short form; one that has is not old.
func TestQuirk29SHA256Truncation(t *testing.T) {
	onlySHA256 := func(c *ikev1.Config) {
		c.Phase2 = []ikev1.Phase2Proposal{{Encryption: ikev1.AESCBC, KeyBits: 256, Integrity: ikev1.HMACSHA256_128}}
	}
	for _, c := range []struct {
		kind   string
		sha256 ikev1.SHA256Truncation
		only   bool
		want   ikev1.Integrity
	}{
		{"Android 4.3", ikev1.TruncateNever, false, ikev1.HMACSHA1_96},
		{"Android 4.3", ikev1.TruncateNever, true, 0},
		{"Android 4.3", ikev1.TruncateAndroid, true, ikev1.HMACSHA256_96},
		{"Android 4.0", ikev1.TruncateAndroid, true, ikev1.HMACSHA256_96},
		{"Android 8", ikev1.TruncateNever, true, ikev1.HMACSHA256_128},
		{"Android 8", ikev1.TruncateAndroid, true, ikev1.HMACSHA256_128},
		{"Android 8", ikev1.TruncateNever, false, ikev1.HMACSHA512_256},
		{"macOS 11, iOS 14", ikev1.TruncateAndroid, true, ikev1.HMACSHA256_128},
		{"ChromeOS", ikev1.TruncateAlways, true, 0}, // it has AES with 256 bits with nothing
		{"macOS 11, iOS 14", ikev1.TruncateAlways, true, ikev1.HMACSHA256_96},
	} {
		k := kindNamed(t, c.kind)
		w := newWorld(t, legacy, func(cfg *ikev1.Config) {
			cfg.SHA256Truncation = c.sha256
			if c.only {
				onlySHA256(cfg)
			}
		})
		_, q, outcome := w.dial(k, natted(k, 1))
		if q == nil {
			begins(t, outcome, noESP, c.kind)
			want(t, c.want, 0, c.kind+" is refused")
			continue
		}
		want(t, w.inbound[q.Theirs].Integrity, c.want, c.kind)
	}
}

// TestQuirk30LongHashes: Android 8 begins its list with SHA-384; that and SHA-512 make keys and proofs, too.
func TestQuirk30LongHashes(t *testing.T) {
	k := kindNamed(t, "Android 8")
	for _, h := range []keymat.Hash{keymat.SHA384, keymat.SHA512} {
		w := newWorld(t, legacy, func(c *ikev1.Config) {
			c.Phase1 = []ikev1.Phase1Proposal{{Cipher: keymat.AES, KeyBits: 256, Hash: h, Group: dh.MODP1024}}
		})
		m, q := w.join(k, natted(k, 1))
		want(t, m.Hash, h, "what was chosen")
		w.leave(k, m, q)
	}
}

// TestQuirk34NoDelete: an old Android says nothing when it goes. When it comes back its INITIAL-CONTACT removes what was left; if it does
// not, dead peer detection does.
func TestQuirk34NoDelete(t *testing.T) {
	for _, name := range []string{"Android 4.3", "Android 4.0"} {
		k := kindNamed(t, name)
		w := newWorld(t, legacy)
		_, before := w.join(k, natted(k, 1))
		w.elapse(20 * time.Second)
		again := natted(k, 1)
		again.Rand = newPeer(99).Rand
		w.join(k, again)
		if w.agree(before, true) == nil {
			t.Error("what was left is still there: " + name)
		}
		want(t, len(w.client().Children), 1, name)
		w.elapse(time.Hour) // it has gone for good
		w.take()
		w.empty(name)
	}
}

// TestQuirk35NothingUnexpected: racoon refuses answers with a payload that it does not expect, so no answer has more than it must.
func TestQuirk35NothingUnexpected(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		p := natted(k, 1)
		m := p.MainMode()
		two := w.ask(p, m.Message1(), "message 2")
		w.ok(m.TakeMessage2(two))
		vids := slices.Repeat([]wire.PayloadType{wire.PayloadVendorID}, len(m.AnsweredVendorIDs))
		check := func(what string, got []wire.PayloadType, expected ...wire.PayloadType) {
			if !slices.Equal(got, expected) {
				t.Errorf("%s has the payloads %v, want %v", what, got, expected)
			}
		}
		check("message 2", types(t, wire.PayloadSA, two[wire.HeaderLen:]), append([]wire.PayloadType{wire.PayloadSA}, vids...)...)
		four := w.ask(p, m.Message3(), "message 4")
		w.ok(m.TakeMessage4(four))
		expected := []wire.PayloadType{wire.PayloadKE, wire.PayloadNonce}
		switch v := m.NATTraversal(); {
		case string(v) == string(ikev1test.VendorNATT02n):
			expected = append(expected, wire.PayloadNATDDraft, wire.PayloadNATDDraft)
		case v != nil:
			expected = append(expected, wire.PayloadNATD, wire.PayloadNATD)
		}
		check("message 4", types(t, wire.PayloadKE, four[wire.HeaderLen:]), expected...)
		five := k.Message5(m, true)
		iv := m.IV
		six := w.ask(p, five, "message 6")
		plain, _, err := m.CBC.Decrypt(iv, six[wire.HeaderLen:])
		w.ok(err)
		check("message 6", types(t, wire.PayloadID, plain), wire.PayloadID, wire.PayloadHash)
		w.ok(m.TakeMessage6(six)) // and Quick Mode message 2 is in TestQuirk04IdentitiesComeBack
	})
}

// TestQuirk36ManyProposals: message 1 may be long, and its repetitions as often as the client makes them do no harm.
func TestQuirk36ManyProposals(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		p := natted(k, 1)
		m := p.MainMode()
		one := m.Message1()
		two := w.ask(p, one, "message 2, which is lost")
		for i, pause := range k.Pauses {
			w.elapse(pause)
			if again := w.say(p, one); i < maxAnswersBefore-1 && (len(again) != 1 || string(again[0].Payload) != string(two)) {
				t.Errorf("repetition %d after %v gets %d answers, or another one", i+1, pause, len(again))
			}
		}
		w.ok(m.TakeMessage2(two)) // it was only late
		w.ok(m.TakeMessage4(w.ask(p, m.Message3(), "message 4")))
		w.ok(m.TakeMessage6(w.ask(p, k.Message5(m, true), "message 6")))
	})
}

// TestQuirk37NumbersFromZero: proposals and transforms may be numbered from 0; the number of the chosen one comes back.
func TestQuirk37NumbersFromZero(t *testing.T) {
	for name, numbers := range map[string][2]uint8{ // of the proposal and of the transform in phase 1
		"NetworkManager-l2tp with Libreswan": {0, 0}, "NetworkManager-l2tp with strongSwan": {1, 1}, "ChromeOS": {1, 1},
	} {
		k := kindNamed(t, name)
		w := newWorld(t)
		m, q := w.join(k, natted(k, 1)) // compares the octets
		want(t, m.Offer[m.Chosen].Number, numbers[1], name)
		w.leave(k, m, q)
	}
	// A Vigor with one more transform, which can be taken.
	k := *kindNamed(t, "DrayTek Vigor")
	good := k.Offer[3]
	good.Number, good.Attributes = 4, slices.Clone(good.Attributes)
	good.Attributes[3] = wire.ShortAttribute(wire.AttrHash, uint16(keymat.SHA1))
	k.Offer = append(slices.Clone(k.Offer), good)
	k.Likely = "libreswan"
	w := newWorld(t, legacy)
	m, q, outcome := w.dial(&k, natted(&k, 1))
	want(t, outcome, "3des-sha1-modp1024 aes128-sha1", "the fifth transform")
	want(t, m.Offer[m.Chosen].Number, 4, "its number")
	want(t, q.Chosen.Number, 0, "the number of the ESP proposal")
	w.leave(&k, m, q)
}

func TestQuirk39PFSWithMODP1024(t *testing.T) {
	k := kindNamed(t, "MikroTik")
	w := newWorld(t)
	m, q, outcome := w.dial(k, natted(k, 1))
	want(t, outcome, "aes128-sha1-modp2048 aes256-sha1-modp1024", "MODP1024 is good enough on top of another group")
	w.leave(k, m, q)
	w = newWorld(t, func(c *ikev1.Config) { c.PFSGroups = []dh.Group{dh.MODP2048} })
	m, q, outcome = w.dial(k, natted(k, 1))
	want(t, outcome, "pfs_group: allow PFS with modp1024 (ike.pfs_groups) beside what others need, or switch PFS off in the client", "and where it is not")
	w.leave(k, m, q)
}

// TestQuirk53ChromeOS: AES-GCM comes without an integrity algorithm; the vendor ID of XAUTH is no reason to begin with it.
func TestQuirk53ChromeOS(t *testing.T) {
	for _, name := range []string{"ChromeOS", "ChromeOS before 2021", "NetworkManager-l2tp with strongSwan"} {
		k := kindNamed(t, name)
		w := newWorld(t)
		m, q := w.join(k, natted(k, 1))
		if name != "NetworkManager-l2tp with strongSwan" {
			want(t, w.inbound[q.Theirs].Encryption, ikev1.AESGCM16, name)
			want(t, w.inbound[q.Theirs].Integrity, ikev1.None, name)
		}
		w.elapse(20 * time.Second)
		want(t, len(w.take()), 0, "nothing is begun by us: "+name)
		w.leave(k, m, q)
	}
}

// TestQuirk56ForcedEncapsulation: every kind of client can be made to believe in a NAT in front of itself, if it knows of NATs at all.
func TestQuirk56ForcedEncapsulation(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy, forced)
		p := clientOf(k, 1)
		p.Forced = len(k.VendorIDs) > 0
		m, q := w.join(k, p)
		want(t, w.inbound[q.Theirs].Encapsulated, p.Forced, "ESP in UDP")
		w.leave(k, m, q)
	})
}

// TestQuirk57ServerNeverRekeys: a day long the server begins neither a Main Mode nor a Quick Mode with a client, whatever ends.
func TestQuirk57ServerNeverRekeys(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		w.join(k, natted(k, 1))
		for range 24 {
			w.elapse(time.Hour)
			for _, d := range w.take() {
				if len(d.Payload) == 1 {
					continue // a keepalive
				}
				h, err := wire.ParseHeader(d.Payload)
				w.ok(err)
				want(t, h.Exchange, wire.ExchangeInformational, "all that a server begins")
			}
		}
		w.elapse(time.Hour)
		w.take()
		w.empty("all has expired")
	})
}
