package ikev1_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// What clients are known to do against expectation, numbered, and the test that shows each:
//
//	 1  Windows refuses a server behind a NAT           TestQuirk01, TestMessage5Lost, TestNoQuickMode
//	 2  vendor IDs that some Windows could not bear     TestQuirk02
//	 3  message IDs 1, 2, 3 in each ISAKMP SA           TestQuirk03, TestClientsBehindOneNAT
//	 4  message 2 without identities is refused         TestQuirk04, TestIdentities
//	 5  two Quick Modes at once, one for any port       TestQuirk05
//	 6  many behind one NAT, all with port 1701         TestClientsBehindOneNAT; concentrator: TestConnectManyBehindOneNAT
//	 7  IDcr is the server's public address             TestQuirk07
//	 8  IDci is a name                                  TestQuirk08
//	 9  empty NAT-OA, no IDci                           TestQuirk09
//	10  vendor AVPs                                     l2tp: TestScenarios
//	11  neither DPD nor INITIAL-CONTACT                 TestQuirk11; concentrator: TestReauthenticate, TestSuperseded
//	12  lifetimes in seconds and kilobytes              TestQuirk12
//	13  a storm of Quick Modes when L2TP is mute        TestQuirk13; the inbound SA first: TestOrderOfEffects
//	14  Delete of ESP, then of the ISAKMP SA            TestQuirk14, TestDeletesInAnyOrder
//	15  a fourth message of Quick Mode                  TestQuirk15
//	16  certificates make long messages                 TestFragmentsOfWindows, TestFragmentsOfCertificates, TestFragmentLengths, TestFragmentsExpire
//	17  two forms of the vendor ID of fragmentation     TestQuirk17, TestFragmentationVendorID
//	18  the encryption flag on fragments in the clear   TestFragments
//	19-22, 31-33, 40, 41, 43-46                         L2TP: l2tp: TestScenarios, TestClientsConnectAndLeave, TestSetupToleratesOddities,
//	                                                    TestFarewellIsUnderstoodInAnyForm, TestSetupRepeatedRequestGetsIdenticalReply
//	23  a second Main Mode after 48 minutes             TestSecondMainMode; concentrator: TestReauthenticate
//	24, 47-51                                           PPP: concentrator: TestEcho; the rest is pppd's
//	25  a NAT, but no NAT-OA                            TestQuirk25, TestNATOA
//	26  a non-ESP marker on port 500, keepalives        TestQuirk26
//	27  several versions of NAT traversal               TestQuirk27, TestNATTraversalDrafts
//	28  MODP1024 only                                   TestQuirk28, TestMatrix
//	29  HMAC-SHA2-256 cut off after 96 bits             TestQuirk29; concentrator: TestSHA256Truncation
//	30  SHA-384 and SHA-512 in phase 1                  TestQuirk30, TestEveryPhase1Proposal
//	34  no Delete at the end                            TestQuirk34, TestInitialContactAfterwards
//	35  unexpected payloads are refused                 TestQuirk35
//	36  many proposals                                  TestQuirk36
//	37  numbers that begin with 0                       TestQuirk37
//	38  IKEv1 switched off in Libreswan                 nothing to be done here
//	39  PFS with MODP1024                               TestQuirk39
//	42  low ports, ports that change                    TestConnectAndHangUp, TestNATRebinding
//	52  a weaker group when phase 1 is replaced         TestQuirk52
//	53  AES-GCM first; XAUTH that does not follow       TestQuirk53
//	54  belongs to IKEv2
//	55  a wrong pre-shared key                          TestQuirk55, TestWrongThenRightPSK, TestGarbageMessage5
//	56  encapsulation forced upon everybody             TestQuirk56, TestForcedEncapsulation
//	57  the server begins no rekeying                   TestQuirk57
//
// And the rules that follow from them for a responder:
//
//	attributes in any order and form, the choice repeated   TestOddEncodings, TestUnacceptableTransforms; every answer is compared
//	what is chosen of which offer                           TestMatrix, TestPhase1Selection, TestPhase2Selection
//	encapsulation modes                                     TestEncapsulationModes
//	identities                                              TestIdentities
//	NAT-OA for NAT-OA                                       TestQuirk04, TestQuirk25
//	three vendor IDs, and only those offered                TestQuirk02
//	DPD only with those who know it                         TestQuirk11, TestDPDAsks
//	no rekeying, but an answer to that of the client        TestQuirk57, TestSecondMainMode, TestQuirk12

var legacy = withProfile(ikev1.Legacy)

// contents returns the types of the payloads of Quick Mode message 2.
func contents(t *testing.T, q *ikev1test.QuickMode, two []byte) []wire.PayloadType {
	t.Helper()
	plain, _, err := q.CBC.Decrypt(q.IV, two[wire.HeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	return types(t, wire.PayloadHash, plain)
}

// types returns the types of the payloads in b.
func types(t *testing.T, first wire.PayloadType, b []byte) (list []wire.PayloadType) {
	t.Helper()
	all, _, err := wire.ParseChain(first, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		list = append(list, p.Kind)
	}
	return list
}

func TestQuirk01WindowsRefusesServerBehindNAT(t *testing.T) {
	for _, name := range []string{"Windows 10", "Windows 7", "Windows XP"} {
		for _, willing := range []bool{false, true} {
			k := *kindNamed(t, name)
			k.RefusesServerBehindNAT = !willing // the registry value
			w := newWorld(t, legacy)
			m, q, outcome := w.dial(&k, serverBehindNAT(natted(&k, 1)))
			if strings.HasPrefix(outcome, error809) == willing {
				t.Errorf("%s, registry value %v: %s", name, willing, outcome)
			}
			w.leave(&k, m, q)
		}
	}
}

// TestQuirk02MinimalVendorIDs: there are three vendor IDs that we send, each only to those who sent it; who sends none is served.
func TestQuirk02MinimalVendorIDs(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		m, _ := w.join(k, natted(k, 1))
		for _, v := range m.AnsweredVendorIDs {
			switch {
			case bytes.Equal(v, m.NATTraversal()), bytes.HasPrefix(v, ikev1test.VendorFragmentation), bytes.Equal(v, ikev1test.VendorDPD):
			default:
				t.Errorf("we send the vendor ID %x", v)
			}
		}
		for _, vid := range [][]byte{ikev1test.VendorFragmentation, ikev1test.VendorDPD} {
			want(t, ikev1test.HasVendorID(m.AnsweredVendorIDs, vid), ikev1test.HasVendorID(k.VendorIDs, vid), fmt.Sprintf("vendor ID %x", vid))
		}
		mute := *k
		mute.VendorIDs, mute.Likely = nil, ""
		w = newWorld(t, legacy)
		m, q := w.join(&mute, clientOf(&mute, 1))
		want(t, len(m.AnsweredVendorIDs), 0, "no vendor IDs for none")
		w.leave(&mute, m, q)
	})
}

func TestQuirk03MessageIDsCount(t *testing.T) {
	k := kindNamed(t, "Windows 10")
	w := newWorld(t)
	var all []*ikev1test.QuickMode
	for n := range uint16(2) { // two behind one NAT
		p := clientOf(k, 1).BehindNAT(1000+n, 2000+n)
		p.Rand = newPeer(uint64(100 + n)).Rand
		for range 2 { // each of them replaces its ISAKMP SA once
			m := w.connect(p)
			for id := uint32(1); id <= 3; id++ {
				q := k.QuickMode(m, id)
				w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
				w.say(p, q.Message3())
				all = append(all, q)
			}
		}
	}
	want(t, len(w.inbound), len(all), "a child of each Quick Mode")
	for _, q := range all {
		w.ok(w.agree(q, true))
	}
	want(t, len(w.engine.Clients()), 2, "two clients")
}

// TestQuirk04IdentitiesComeBack: the identities come back octet for octet, whatever they are, and NAT-OA for NAT-OA, in the order that
// Windows knows from others.
func TestQuirk04IdentitiesComeBack(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		p := natted(k, 1)
		m := w.connect(p)
		q := k.QuickMode(m, 1)
		two := w.ask(p, q.Message1(), "message 2")
		got := contents(t, q, two)
		w.ok(q.TakeMessage2(two)) // compares the octets
		expected := []wire.PayloadType{wire.PayloadHash, wire.PayloadSA, wire.PayloadNonce}
		if q.PFS != 0 {
			expected = append(expected, wire.PayloadKE)
		}
		if q.IDci != nil {
			expected = append(expected, wire.PayloadID)
		}
		expected = append(expected, wire.PayloadID)
		for _, oa := range q.NATOA {
			expected = append(expected, oa.Type())
		}
		if !slices.Equal(got, expected) {
			t.Errorf("message 2 has %v, want %v", got, expected)
		}
	})
}

func TestQuirk05TwoQuickModesAtOnce(t *testing.T) {
	k := kindNamed(t, "Windows 10")
	w := newWorld(t)
	p := natted(k, 1)
	m := w.connect(p)
	anyPort := k.QuickMode(m, 1, func(q *ikev1test.QuickMode) { q.IDci = wire.AddrID(m.Inner.Addr(), 17, 0) })
	port1701 := k.QuickMode(m, 2)
	first, second := w.ask(p, anyPort.Message1(), "message 2"), w.ask(p, port1701.Message1(), "message 2")
	w.ok(anyPort.TakeMessage2(first))
	w.ok(port1701.TakeMessage2(second))
	w.say(p, anyPort.Message3())
	w.say(p, port1701.Message3())
	w.ok(w.agree(anyPort, true))
	w.ok(w.agree(port1701, true))
	children := w.client().Children
	if len(children) != 2 || children[1].SPIIn != port1701.Theirs {
		t.Errorf("children %+v, want two and the newest last", children)
	}
	w.hangUp(m, anyPort, port1701)
	w.empty("hung up")
}

// TestQuirk07ServersPublicAddressInIDcr: who calls the server by an address that is not its own gets that back, and SAs between the
// addresses that packets really have.
func TestQuirk07ServersPublicAddressInIDcr(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		willing := *k
		willing.RefusesServerBehindNAT = false
		w := newWorld(t, legacy)
		p := serverBehindNAT(natted(&willing, 1))
		m, q := w.join(&willing, p)
		id, err := wire.ParseID(q.IDcr.AppendBody(nil))
		w.ok(err)
		if a, _ := id.Addr(); a != p.Target.Addr() || a == p.Server.Addr() {
			t.Fatalf("the client names the server %v", a)
		}
		want(t, w.inbound[q.Theirs].Local.Addr(), p.Server.Addr(), "the SA has the server's own address")
		want(t, w.inbound[q.Theirs].Remote, p.Addr, "and the NAT's address of the client")
		w.leave(&willing, m, q)
	})
}

func TestQuirk08NameInIDci(t *testing.T) {
	k := kindNamed(t, "Windows XP")
	w := newWorld(t, legacy)
	p := clientOf(k, 1)
	m := w.connect(p)
	w.ok(w.agree(w.quick(m, 1), true))
	q := k.QuickMode(m, 2, func(q *ikev1test.QuickMode) {
		q.IDci = wire.ID{Kind: wire.IDFQDN, Protocol: 17, Port: 1701, Data: []byte("pc.example.net")}
	})
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2 when rekeying (KB818043)")))
	w.say(p, q.Message3())
	w.ok(w.agree(q, true))
}

func TestQuirk09EmptyNATOAOrNoIDci(t *testing.T) {
	k := kindNamed(t, "Windows XP")
	kind := wire.PayloadNATOADraft
	for name, oa := range map[string][]wire.Payload{
		"two zero addresses": {wire.NATOA{Kind: kind, Addr: netip.IPv4Unspecified()}, wire.NATOA{Kind: kind, Addr: netip.IPv4Unspecified()}},
		"nothing at all":     {wire.Raw{Kind: kind}, wire.Raw{Kind: kind}},
	} {
		w := newWorld(t, legacy)
		p := natted(k, 1)
		m := w.connect(p)
		q := k.QuickMode(m, 1, func(q *ikev1test.QuickMode) { q.NATOA = oa })
		if q.IDci != nil {
			t.Fatal("behind a NAT Windows XP has no IDci")
		}
		w.ok(q.TakeMessage2(w.ask(p, q.Message1(), name)))
		w.say(p, q.Message3())
		w.ok(w.agree(q, true)) // to the peer's address
		w.hangUp(m, q)
		w.empty(name)
	}
}

// TestQuirk11NeitherDPDNorContact: Windows vanishes and comes back. It is not asked whether it lives, for it could not answer; what is
// left of before goes with its lifetime at the latest, or when the owner says so.
func TestQuirk11NeitherDPDNorContact(t *testing.T) {
	k := kindNamed(t, "Windows 10")
	w := newWorld(t)
	p := natted(k, 1)
	_, before := w.join(k, p)
	id := w.client().ID
	w.elapse(20 * time.Minute)
	for _, d := range w.take() {
		if !bytes.Equal(d.Payload, []byte{0xff}) {
			t.Errorf("sent to a Windows that says nothing: %x", d.Payload)
		}
	}
	again := natted(k, 1)
	again.Rand = newPeer(77).Rand
	m, q := w.join(k, again)
	want(t, w.client().ID, id, "the same client")
	w.ok(w.agree(before, true))
	w.say(again, m.Informational(m.DeleteISAKMP()))
	w.elapse(3 * time.Hour)
	w.take()
	if w.agree(before, true) == nil || w.agree(q, true) == nil {
		t.Error("a child has outlived its lifetime")
	}
}

// TestQuirk12BothLifetimes: the limits of one hour and 250000 kilobytes come back as they are and count; the client rekeys, then deletes
// what it replaced, and until then both are there.
func TestQuirk12BothLifetimes(t *testing.T) {
	k := kindNamed(t, "Windows 10")
	w := newWorld(t)
	m, old := w.join(k, natted(k, 1)) // compares the transform
	for _, sa := range []ikev1.ChildSA{w.inbound[old.Theirs], w.outbound[w.inbound[old.Theirs].Child]} {
		want(t, sa.Lifetime, time.Hour, "seconds")
		want(t, sa.LifetimeBytes, 250000*1000, "octets")
	}
	w.elapse(5 * time.Minute)
	q := k.QuickMode(m, 2)
	w.ok(q.TakeMessage2(w.ask(m.Peer, q.Message1(), "message 2")))
	w.say(m.Peer, q.Message3())
	w.elapse(10 * time.Minute)
	w.ok(w.agree(old, true))
	w.ok(w.agree(q, true))
	w.say(m.Peer, m.Informational(old.DeleteESP()))
	w.ok(w.agree(q, true))
	want(t, len(w.inbound), 1, "the old one goes when the client deletes it")
}
