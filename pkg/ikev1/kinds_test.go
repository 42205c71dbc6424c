package ikev1_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// kindNamed returns the kind of clients of that name.
func kindNamed(t testing.TB, name string) *ikev1test.Kind {
	t.Helper()
	for _, k := range ikev1test.Kinds() {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("there is no kind %q", name)
	return nil
}

// eachKind runs a test for every kind that connects with the legacy profile.
func eachKind(t *testing.T, test func(t *testing.T, k *ikev1test.Kind)) {
	for _, k := range ikev1test.Kinds() {
		if k.Name == "DrayTek Vigor" || k.Name == "a client with 3DES and MD5 only" {
			continue
		}
		t.Run(k.Name, func(t *testing.T) { test(t, k) })
	}
}

// clientOf is client number n of a kind, without a NAT.
func clientOf(k *ikev1test.Kind, n uint64) *ikev1test.Peer {
	p := newPeer(n)
	return k.Peer(p.Addr, p.Server, p.PSK, p.Rand)
}

// natted is the same behind a NAT.
func natted(k *ikev1test.Kind, n uint64) *ikev1test.Peer {
	return clientOf(k, n).BehindNAT(64916, 64917)
}

// withProfile configures a profile.
func withProfile(p ikev1.Profile) func(*ikev1.Config) {
	return func(c *ikev1.Config) { c.Phase1, c.Phase2, c.PFSGroups = p.Phase1(), p.Phase2(), p.PFSGroups() }
}

// dial connects p as its kind does. What it comes to is the proposals of both phases, or the cause of its end and the cure.
func (w *world) dial(k *ikev1test.Kind, p *ikev1test.Peer) (m *ikev1test.MainMode, q *ikev1test.QuickMode, outcome string) {
	w.t.Helper()
	m = p.MainMode()
	two := w.say(p, m.Message1())
	if len(eventsOf[ikev1.Phase1Failed](w)) > 0 {
		return nil, nil, w.failure()
	}
	w.ok(m.TakeMessage2(w.one(p, two, "message 2")))
	if err := m.TakeMessage4(w.ask(p, m.Message3(), "message 4")); errors.Is(err, ikev1test.ErrServerBehindNAT) {
		w.elapse(time.Minute)
		return nil, nil, w.failure()
	} else {
		w.ok(err)
	}
	w.ok(m.TakeMessage6(w.ask(p, k.Message5(m, true), "message 6")))
	q = k.QuickMode(m, 1)
	two = w.say(p, q.Message1())
	if len(eventsOf[ikev1.Phase2Failed](w)) > 0 {
		return m, nil, w.failure()
	}
	w.ok(q.TakeMessage2(w.one(p, two, "Quick Mode message 2")))
	w.ok(w.agree(q, false))
	if k.Contact == ikev1test.ContactAfterwards {
		w.silent(p, m.Informational(m.InitialContact()), "INITIAL-CONTACT")
	}
	if sent := w.say(p, q.Message3()); len(sent) != 0 {
		w.t.Errorf("message 3 is answered with %d messages", len(sent))
	}
	w.ok(w.agree(q, true))
	info := w.client()
	want(w.t, info.VendorKind, k.Likely, "who the client seems to be")
	return m, q, info.IKEProposal + " " + info.Children[len(info.Children)-1].Proposal
}

// join connects p, which must come up.
func (w *world) join(k *ikev1test.Kind, p *ikev1test.Peer) (*ikev1test.MainMode, *ikev1test.QuickMode) {
	w.t.Helper()
	m, q, outcome := w.dial(k, p)
	if q == nil {
		w.t.Fatalf("%s does not connect: %s", k.Name, outcome)
	}
	return m, q
}

// failure returns the cause of the only failure, and its hint.
func (w *world) failure() string {
	w.t.Helper()
	var list []string
	for _, e := range eventsOf[ikev1.Phase1Failed](w) {
		list = append(list, string(e.Code)+": "+e.Hint)
	}
	for _, e := range eventsOf[ikev1.Phase2Failed](w) {
		list = append(list, string(e.Code)+": "+e.Hint)
	}
	if len(list) != 1 {
		w.t.Fatalf("the operator is told %q", list)
	}
	return list[0]
}

// begins fails the test unless an outcome begins as it should.
func begins(t testing.TB, outcome, beginning, why string) {
	t.Helper()
	if !strings.HasPrefix(outcome, beginning) {
		t.Errorf("got %q, want %q and so on: %s", outcome, beginning, why)
	}
}

// leave ends a client as its kind does. Whoever says nothing is ended here.
func (w *world) leave(k *ikev1test.Kind, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
	w.t.Helper()
	switch {
	case m == nil:
		w.elapse(time.Minute)
	case q == nil || k.Deletes == ikev1test.NoDelete:
		w.absorb(w.engine.CloseClient(w.now, w.client().ID, "enough"))
		w.take()
	default:
		w.hangUp(m, q)
	}
	w.empty("the client has left")
}

// What the clients that are refused come to.
const (
	noSHA1      = "no_proposal: set ike.profile to compatible to accept aes"
	onlyWeak    = "legacy_proposal: set ike.profile to legacy"
	android     = "android_modp1024: set ike.profile to legacy"
	unsupported = "no_proposal: the client offers only algorithms that are not supported"
	noESP       = "no_esp_proposal: "
	noESPSHA1   = noESP + "set ike.profile to compatible to accept aes256-sha1"
	error809    = `windows_behind_nat: on the client set the DWORD HKLM\SYSTEM\CurrentControlSet\Services\PolicyAgent\AssumeUDPEncapsulationContextOnSendRule to 2`
)

// matrix says what each kind of client comes to with each profile: the proposals of both phases, or the beginning of cause and cure.
// NATs make no difference, except to those who refuse a server behind one.
var matrix = []struct {
	kind                       string
	modern, compatible, legacy string
}{
	{"Windows 10", noSHA1, "aes256-sha1-modp2048 aes256-sha1", "aes256-sha1-modp2048 aes256-sha1"},
	{"Windows 7", noSHA1, "aes256-sha1-modp2048 aes256-sha1", "aes256-sha1-modp2048 aes256-sha1"},
	{"Windows XP", onlyWeak, onlyWeak, "3des-sha1-modp2048 3des-sha1"},
	{"macOS 11, iOS 14", "aes256-sha256-modp2048 aes256-sha256", "aes256-sha256-modp2048 aes256-sha256", "aes256-sha256-modp2048 aes256-sha256"},
	{"macOS 10.12, iOS 10", noESPSHA1, "aes256-sha256-modp2048 aes256-sha1", "aes256-sha256-modp2048 aes256-sha1"},
	{"macOS 10.11, iOS 9", onlyWeak, onlyWeak, "aes256-sha1-modp1024 aes256-sha1"},
	{"Android 8", android, android, "aes256-sha256-modp1024 aes256-sha512"},
	{"Android 4.3", android, android, "aes256-sha256-modp1024 aes256-sha1"},
	{"Android 4.0", android, android, "aes256-sha1-modp1024 aes256-sha1"},
	{"NetworkManager-l2tp with strongSwan", noESPSHA1, "aes256-sha256-modp2048 aes256-sha1", "aes256-sha256-modp2048 aes256-sha1"},
	{"NetworkManager-l2tp 1.2.10 with strongSwan", noSHA1, "aes128-sha1-modp2048 aes128-sha1", "aes128-sha1-modp2048 aes128-sha1"},
	{"NetworkManager-l2tp with Libreswan", noESPSHA1, "aes256-sha256-modp2048 aes256-sha1", "aes256-sha256-modp2048 aes256-sha1"},
	{"NetworkManager-l2tp with Libreswan and MODP1024", noESPSHA1, "aes256-sha256-modp2048 aes256-sha1", "aes256-sha256-modp2048 aes256-sha1"},
	{"ChromeOS", "aes128-sha256-modp3072 aes128gcm16", "aes128-sha256-modp3072 aes128gcm16", "aes128-sha256-modp3072 aes128gcm16"},
	{"ChromeOS before 2021", "aes128-sha256-modp3072 aes128gcm16", "aes128-sha256-modp3072 aes128gcm16", "aes128-sha256-modp3072 aes128gcm16"},
	{"MikroTik", noSHA1, "aes128-sha1-modp2048 aes256-sha1-modp1024", "aes128-sha1-modp2048 aes256-sha1-modp1024"},
	{"DrayTek Vigor", unsupported, unsupported, unsupported},
	{"TP-Link TL-R483G", onlyWeak, onlyWeak, "3des-sha1-modp1024 3des-sha1"},
	{"a client with 3DES and MD5 only", unsupported, unsupported, unsupported},
}

// TestMatrix plays every kind of client with every profile, on every path.
func TestMatrix(t *testing.T) {
	if len(matrix) != len(ikev1test.Kinds()) {
		t.Errorf("%d rows for %d kinds", len(matrix), len(ikev1test.Kinds()))
	}
	for _, row := range matrix {
		k := kindNamed(t, row.kind)
		for profile, expected := range map[ikev1.Profile]string{ikev1.Modern: row.modern, ikev1.Compatible: row.compatible, ikev1.Legacy: row.legacy} {
			for path, p := range map[string]*ikev1test.Peer{
				"no NAT": clientOf(k, 1), "behind a NAT": natted(k, 2), "server behind a NAT": serverBehindNAT(clientOf(k, 3)), "both": serverBehindNAT(natted(k, 4)),
			} {
				t.Run(row.kind+", "+string(profile)+", "+path, func(t *testing.T) {
					w := newWorld(t, withProfile(profile))
					expected := expected
					if k.RefusesServerBehindNAT && p.Target.Addr() != p.Server.Addr() && !strings.Contains(expected, ":") {
						expected = error809
					}
					m, q, outcome := w.dial(k, p)
					if outcome != expected && !(strings.Contains(expected, ":") && strings.HasPrefix(outcome, expected) && !strings.HasSuffix(outcome, ": ")) {
						t.Errorf("got %q, want %q", outcome, expected)
					}
					w.leave(k, m, q)
				})
			}
		}
	}
}

// TestLengths compares the messages of clients with the lengths that were seen on the wire.
func TestLengths(t *testing.T) {
	for _, c := range []struct {
		kind    string
		message string
		octets  int
	}{
		{"Windows 10", "Main Mode 1", 408},
		{"Windows 10", "Main Mode 3", 388},
		{"Windows 10", "Main Mode 5", 76},
		{"Windows 10", "Quick Mode 1", 444},
		{"Windows 7", "Main Mode 1", 384},
		{"DrayTek Vigor", "Main Mode 1", 296},
	} {
		k := kindNamed(t, c.kind)
		p := natted(k, 1)
		m := p.MainMode()
		lengths := map[string]int{"Main Mode 1": len(m.Message1())}
		if c.message != "Main Mode 1" {
			w := newWorld(t)
			w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
			three := m.Message3()
			w.ok(m.TakeMessage4(w.ask(p, three, "message 4")))
			five := k.Message5(m, true)
			w.ok(m.TakeMessage6(w.ask(p, five, "message 6")))
			lengths["Main Mode 3"], lengths["Main Mode 5"], lengths["Quick Mode 1"] = len(three), len(five), len(k.QuickMode(m, 1).Message1())
		}
		want(t, lengths[c.message], c.octets, c.kind+", "+c.message)
	}
}

// TestMessage1Octets compares the proposals of clients whose octets are known from a capture or a log of the router itself.
func TestMessage1Octets(t *testing.T) {
	_, payloads, err := ikev1test.Parse(clientOf(kindNamed(t, "DrayTek Vigor"), 1).MainMode().Message1())
	if err != nil {
		t.Fatal(err)
	}
	const vigor = "\x00\x00\x00\x01\x00\x00\x00\x01" + "\x00\x00\x00\x88\x00\x01\x00\x04" +
		"\x03\x00\x00\x20\x00\x01\x00\x00" + "\x80\x0b\x00\x01\x80\x0c\x03\x84\x80\x01\x00\x01\x80\x02\x00\x01\x80\x03\x00\x01\x80\x04\x00\x01" +
		"\x03\x00\x00\x20\x01\x01\x00\x00" + "\x80\x0b\x00\x01\x80\x0c\x03\x84\x80\x01\x00\x01\x80\x02\x00\x02\x80\x03\x00\x01\x80\x04\x00\x01" +
		"\x03\x00\x00\x20\x02\x01\x00\x00" + "\x80\x0b\x00\x01\x80\x0c\x03\x84\x80\x01\x00\x05\x80\x02\x00\x01\x80\x03\x00\x01\x80\x04\x00\x01" +
		"\x00\x00\x00\x20\x03\x01\x00\x00" + "\x80\x0b\x00\x01\x80\x0c\x03\x84\x80\x01\x00\x05\x80\x02\x00\x01\x80\x03\x00\x01\x80\x04\x00\x02"
	want(t, string(payloads[0].Body), vigor, "the SA payload of a Vigor")

	_, payloads, err = ikev1test.Parse(clientOf(kindNamed(t, "Windows 10"), 1).MainMode().Message1())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(payloads[0].Body), "\x80\x0b\x00\x01\x00\x0c\x00\x04\x00\x00\x70\x80") {
		t.Errorf("the SA payload of Windows: %x", payloads[0].Body)
	}
	want(t, payloads[0].Kind, wire.PayloadSA, "the first payload")
	want(t, len(payloads), 9, "an SA and eight vendor IDs")
}
