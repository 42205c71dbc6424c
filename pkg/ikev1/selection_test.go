package ikev1

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// psk is the only method of most tests.
var psk = []pki.Method{pki.PSK}

// suite is one phase 1 transform in short: cipher (7 AES, 5 3DES), key bits, hash (1 MD5), group.
type suite struct{ cipher, bits, hash, group uint16 }

// offer1 builds a phase 1 offer of one proposal with transforms numbered from first.
func offer1(first uint8, suites ...suite) *wire.SA {
	p := wire.Proposal{Number: first, Protocol: wire.ProtocolISAKMP}
	for i, s := range suites {
		t := wire.Transform{Number: first + uint8(i), ID: wire.TransformKeyIKE}
		t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrEncryption, s.cipher))
		if s.bits != 0 {
			t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrKeyLength, s.bits))
		}
		t.Attributes = append(t.Attributes,
			wire.ShortAttribute(wire.AttrHash, s.hash), wire.ShortAttribute(wire.AttrGroup, s.group),
			wire.ShortAttribute(wire.AttrAuthMethod, uint16(pki.PSK)),
			wire.ShortAttribute(wire.AttrLifeType, lifeSeconds), wire.LongAttribute(wire.AttrLifeDuration, 28800))
		p.Transforms = append(p.Transforms, t)
	}
	return &wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: []wire.Proposal{p}}
}

// The phase 1 lists that clients send, in their order.
var (
	windowsPhase1 = []suite{{7, 256, 2, 20}, {7, 128, 2, 19}, {7, 256, 2, 14}, {5, 0, 2, 14}, {5, 0, 2, 2}}
	applePhase1   = []suite{
		{7, 256, 4, 14}, {7, 256, 2, 14}, {7, 256, 1, 14}, {7, 256, 6, 14}, {7, 256, 4, 5}, {7, 256, 2, 5}, {7, 256, 1, 5},
		{7, 256, 4, 2}, {7, 256, 2, 2}, {7, 256, 1, 2}, {7, 128, 2, 2}, {7, 128, 1, 2}, {5, 0, 2, 2}, {5, 0, 1, 2},
	}
	networkManagerPhase1 = []suite{
		{7, 256, 4, 14}, {7, 256, 4, 5}, {7, 256, 4, 2}, {7, 256, 2, 14}, {7, 256, 2, 5}, {7, 256, 2, 2}, {7, 256, 2, 20},
		{7, 128, 2, 2}, {7, 128, 2, 19}, {5, 0, 2, 14}, {5, 0, 2, 2},
	}
	chromeOSPhase1 = []suite{{7, 128, 4, 15}, {7, 128, 2, 14}, {5, 0, 2, 5}, {5, 0, 2, 2}}
	androidPhase1  = []suite{{7, 256, 5, 2}, {7, 256, 4, 2}, {7, 256, 6, 2}, {7, 256, 2, 2}, {7, 256, 1, 2}, {7, 128, 6, 2}, {5, 0, 4, 2}, {1, 0, 2, 2}}
)

func TestPhase1Selection(t *testing.T) {
	withGroup2 := append(Compatible.Phase1(), Phase1Proposal{keymat.AES, 256, keymat.SHA256, dh.MODP1024})
	for _, c := range []struct {
		name    string
		allowed []Phase1Proposal
		offer   *wire.SA
		want    string
		number  uint8
	}{
		{"Windows", Compatible.Phase1(), offer1(1, windowsPhase1...), "aes256-sha1-modp2048", 3},
		{"Apple", Compatible.Phase1(), offer1(1, applePhase1...), "aes256-sha256-modp2048", 1},
		{"NetworkManager with strongSwan", Compatible.Phase1(), offer1(1, networkManagerPhase1...), "aes256-sha256-modp2048", 1},
		{"ChromeOS", Compatible.Phase1(), offer1(1, chromeOSPhase1...), "aes128-sha256-modp3072", 1},
		{"Android with group 2 allowed", withGroup2, offer1(1, androidPhase1...), "aes256-sha256-modp1024", 2},
		{"pluto counts from 0", Compatible.Phase1(), offer1(0, windowsPhase1...), "aes256-sha1-modp2048", 2},
		{"server's preference", []Phase1Proposal{{keymat.AES, 128, keymat.SHA1, dh.ECP256}, {keymat.AES, 256, keymat.SHA1, dh.MODP2048}}, offer1(1, windowsPhase1...), "aes128-sha1-ecp256", 2},
	} {
		choice, ok := choosePhase1(rank(c.allowed), psk, c.offer)
		if !ok {
			t.Errorf("%s: nothing chosen, want %s", c.name, c.want)
			continue
		}
		answer := choice.answer.Proposals[0]
		if got := choice.proposal.String(); got != c.want || answer.Transforms[0].Number != c.number || answer.Number != c.offer.Proposals[0].Number {
			t.Errorf("%s: %s as transform %d, want %s as %d", c.name, got, answer.Transforms[0].Number, c.want, c.number)
		}
		if choice.life.time != 8*time.Hour {
			t.Errorf("%s: lifetime %v", c.name, choice.life.time)
		}
		if offered, chosen := c.offer.AppendBody(nil), choice.answer.AppendBody(nil); !bytes.Contains(offered, chosen[len(chosen)-28:]) {
			t.Errorf("%s: the attributes are not those of the offer", c.name)
		}
	}
}

func TestPhase1Refused(t *testing.T) {
	auth := func(method uint16) *wire.SA {
		sa := offer1(1, suite{7, 256, 4, 14})
		sa.Proposals[0].Transforms[0].Attributes[4] = wire.ShortAttribute(wire.AttrAuthMethod, method)
		return sa
	}
	for _, c := range []struct {
		name          string
		cause         Cause
		hint, offered string
		offer         *wire.SA
		vendorID      string
	}{
		{"Android", CauseAndroidMODP1024, "set ike.profile to legacy", "aes256-sha384-modp1024", offer1(1, androidPhase1...), vendorDraft00},
		{"old client", CauseLegacyProposal, "set ike.profile to legacy", "aes256-sha384-modp1024", offer1(1, androidPhase1...), ""},
		{"3DES with a strong group", CauseLegacyProposal, "set ike.profile to legacy", "3des-sha1-modp2048", offer1(1, suite{5, 0, 1, 14}, suite{5, 0, 2, 14}), ""},
		{"old router", CauseNoProposal, "enable AES", "3des-md5-modp1024", offer1(1, suite{5, 0, 1, 2}), ""},
		{"certificate", CauseAuthMethod, "configure ike.certificates with an RSA key", "aes256-sha256-modp2048-rsa signature", auth(3), ""},
		{"ECDSA", CauseAuthMethod, "an ECDSA key on P-384", "aes256-sha256-modp2048-ecdsa384 signature", auth(10), ""},
		{"XAUTH", CauseAuthMethod, "nothing besides", "aes256-sha256-modp2048-xauth with a pre-shared key", auth(65001), ""},
		{"strong, but not allowed", CauseNoProposal, "allow aes256-sha256-modp8192 in phase 1", "aes256-sha256-modp8192", offer1(1, suite{7, 256, 4, 2}, suite{7, 256, 4, 18}), ""},
	} {
		if choice, ok := choosePhase1(rank(Compatible.Phase1()), psk, c.offer); ok {
			t.Errorf("%s: %s was chosen", c.name, choice.proposal)
		}
		x := explainPhase1(c.offer, Compatible.Phase1(), psk, recognise([][]byte{[]byte(c.vendorID)}, c.offer).kind)
		_, hint := x.cause.Explain(x.facts)
		if x.cause != c.cause || !strings.Contains(hint, c.hint) || !slices.Contains(x.offered, c.offered) || !slices.Contains(x.allowed, "aes256-sha256-modp2048") {
			t.Errorf("%s: %+v", c.name, x)
		}
	}
}

// TestCureFitsConfiguration: the setting that would help depends on whether a profile or a list of its own says what is allowed.
func TestCureFitsConfiguration(t *testing.T) {
	for _, c := range []struct {
		name    string
		allowed []Phase1Proposal
		kind    string
		offer   *wire.SA
		hint    string
	}{
		{"Windows, modern", Modern.Phase1(), "windows", offer1(1, windowsPhase1...), "set ike.profile to compatible to accept aes256-sha1-ecp384"},
		{"Windows, a list", Modern.Phase1()[:2], "windows", offer1(1, windowsPhase1...), "allow aes256-sha1-ecp384 in phase 1 (ike.proposals)"},
		{"MODP8192, modern", Modern.Phase1(), "", offer1(1, suite{7, 256, 4, 18}), "allow aes256-sha256-modp8192 in phase 1 (ike.proposals)"},
		{"Android, modern", Modern.Phase1(), "android", offer1(1, androidPhase1...), "set ike.profile to legacy"},
		{"Android, compatible", Compatible.Phase1(), "android", offer1(1, androidPhase1...), "set ike.profile to legacy"},
		{"Android, a list", Compatible.Phase1()[:2], "android", offer1(1, androidPhase1...), "add aes256-sha384-modp1024 to ike.proposals"},
		{"3DES, compatible", Compatible.Phase1(), "", offer1(1, suite{5, 0, 2, 14}), "set ike.profile to legacy"},
		{"3DES, a list", Compatible.Phase1()[:2], "", offer1(1, suite{5, 0, 2, 14}), "add 3des-sha1-modp2048 to ike.proposals"},
	} {
		x := explainPhase1(c.offer, c.allowed, psk, c.kind)
		if _, hint := x.cause.Explain(x.facts); !strings.HasPrefix(hint, c.hint) {
			t.Errorf("%s: %s", c.name, hint)
		}
	}
}

// TestPreSharedKeyUnknown: to a server that has certificates only, the client's pre-shared key is no cure.
func TestPreSharedKeyUnknown(t *testing.T) {
	x := explainPhase1(offer1(1, suite{7, 256, 4, 14}), Compatible.Phase1(), []pki.Method{pki.RSASignature}, "")
	if _, hint := x.cause.Explain(x.facts); x.cause != CauseAuthMethod || !strings.HasPrefix(hint, "configure ike.psk or ike.keys") {
		t.Errorf("%s: %s", x.cause, hint)
	}
}

// TestPhase2Cure: a profile where one is in use, as a list would shut out everybody else; otherwise the list.
func TestPhase2Cure(t *testing.T) {
	des3, sha1 := offer2(false, 2, 0, esp{3, 0, 2}), offer2(false, 2, 0, esp{12, 256, 2})
	pfs := phase2Terms{groups: Modern.PFSGroups(), keLen: 128}
	for _, c := range []struct {
		name    string
		allowed []Phase2Proposal
		terms   phase2Terms
		offer   *wire.SA
		hint    string
	}{
		{"3DES, compatible", Compatible.Phase2(), phase2Terms{}, des3, "set ike.profile to legacy to accept 3des-sha1"},
		{"3DES, modern", Modern.Phase2(), phase2Terms{}, des3, "set ike.profile to legacy to accept 3des-sha1"},
		{"3DES, a list", Modern.Phase2()[:2], phase2Terms{}, des3, "allow 3des-sha1 in phase 2 (ike.esp_proposals)"},
		{"SHA-1, modern", Modern.Phase2(), phase2Terms{}, sha1, "set ike.profile to compatible to accept aes256-sha1"},
		{"SHA-1, a list", Modern.Phase2()[:2], phase2Terms{}, sha1, "allow aes256-sha1 in phase 2 (ike.esp_proposals)"},
		{"PFS, modern", Compatible.Phase2(), pfs, offer2(false, 2, 2, esp{12, 256, 2}), "set ike.profile to compatible"},
		{"PFS, a list", Compatible.Phase2(), phase2Terms{keLen: 128}, offer2(false, 2, 2, esp{12, 256, 2}), "allow PFS with modp1024 (ike.pfs_groups)"},
	} {
		x := explainPhase2(c.offer, c.allowed, c.terms)
		if _, hint := x.cause.Explain(x.facts); !strings.HasPrefix(hint, c.hint) {
			t.Errorf("%s: %s", c.name, hint)
		}
	}
}

// TestPhase1Attributes changes one attribute of an acceptable transform, which is followed by another one: whatever is wrong
// with the first, the second is still good.
func TestPhase1Attributes(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]wire.Attribute) []wire.Attribute
		want   uint8 // the number of the transform that is chosen
	}{
		{"as it is", func(a []wire.Attribute) []wire.Attribute { return a }, 1},
		{"reversed pairs last", func(a []wire.Attribute) []wire.Attribute { return append(slices.Clone(a[5:]), a[:5]...) }, 1},
		{"all in the long form", func(a []wire.Attribute) []wire.Attribute {
			for i := range a {
				n, _ := a[i].Uint()
				a[i] = wire.LongAttribute(a[i].Type, uint32(n))
			}
			return a
		}, 1},
		{"a limit in kilobytes too", func(a []wire.Attribute) []wire.Attribute {
			return append(a, wire.ShortAttribute(wire.AttrLifeType, lifeKilobytes), wire.LongAttribute(wire.AttrLifeDuration, 250000))
		}, 1},
		{"no lifetime", func(a []wire.Attribute) []wire.Attribute { return a[:5] }, 1},
		{"unknown attribute", func(a []wire.Attribute) []wire.Attribute { return append(a, wire.ShortAttribute(13, 1)) }, 2},
		{"twice the cipher", func(a []wire.Attribute) []wire.Attribute { return append(a, a[0]) }, 2},
		{"no key length", func(a []wire.Attribute) []wire.Attribute { return slices.Delete(a, 1, 2) }, 2},
		{"key length 0", func(a []wire.Attribute) []wire.Attribute { a[1] = wire.ShortAttribute(wire.AttrKeyLength, 0); return a }, 2},
		{"hash beyond 16 bits", func(a []wire.Attribute) []wire.Attribute { a[2] = wire.LongAttribute(wire.AttrHash, 0x10004); return a }, 2},
		{"life type without duration", func(a []wire.Attribute) []wire.Attribute { return a[:6] }, 2},
		{"life duration without type", func(a []wire.Attribute) []wire.Attribute { return slices.Delete(a, 5, 6) }, 2},
		{"lifetime 0 is no limit", func(a []wire.Attribute) []wire.Attribute {
			a[6] = wire.LongAttribute(wire.AttrLifeDuration, 0)
			return a
		}, 1},
	} {
		offer := offer1(1, suite{7, 256, 4, 14}, suite{7, 256, 4, 14})
		first := &offer.Proposals[0].Transforms[0]
		first.Attributes = c.change(first.Attributes)
		choice, ok := choosePhase1(rank(Compatible.Phase1()), psk, offer)
		if !ok || choice.answer.Proposals[0].Transforms[0].Number != c.want {
			t.Errorf("%s: chosen %v %+v, want transform %d", c.name, ok, choice.answer, c.want)
		}
	}
}

// TestPhase1AllowList tries every small value of every attribute: only what is allowed passes.
func TestPhase1AllowList(t *testing.T) {
	for _, profile := range []Profile{Modern, Compatible, Legacy} {
		allowed := profile.Phase1()
		for cipher := range uint16(12) {
			for _, bits := range []uint16{0, 1, 64, 128, 192, 256, 512, 65535} {
				for hash := range uint16(10) {
					for group := range uint16(33) {
						choice, ok := choosePhase1(rank(allowed), psk, offer1(1, suite{cipher, bits, hash, group}))
						want := slices.Contains(allowed, Phase1Proposal{keymat.Cipher(cipher), int(bits), keymat.Hash(hash), dh.Group(group)})
						if ok != want {
							t.Errorf("cipher %d, %d bits, hash %d, group %d: chosen %v: %+v", cipher, bits, hash, group, ok, choice.proposal)
						}
					}
				}
			}
		}
	}
}

// TestAuthenticationMethods tries every number of a method: those with public-key encryption are never taken, nor XAUTH, and of the
// others only what is configured.
func TestAuthenticationMethods(t *testing.T) {
	allowed := []pki.Method{pki.PSK, pki.RSASignature, pki.ECDSA384}
	for method := range 1 << 16 {
		offer := offer1(1, suite{7, 256, 4, 14})
		offer.Proposals[0].Transforms[0].Attributes[4] = wire.ShortAttribute(wire.AttrAuthMethod, uint16(method))
		want := method == 1 || method == 3 || method == 10
		if choice, ok := choosePhase1(rank(Compatible.Phase1()), allowed, offer); ok != want {
			t.Errorf("method %d: chosen %v: %+v", method, ok, choice)
		}
	}
}

// esp is one phase 2 transform in short.
type esp struct {
	id         uint8
	bits, auth uint16
}

// offer2 builds a phase 2 offer: one proposal, or one for each transform as Windows does.
func offer2(separate bool, mode, group uint16, list ...esp) *wire.SA {
	sa := &wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly}
	for i, s := range list {
		t := wire.Transform{Number: uint8(i + 1), ID: s.id, Attributes: []wire.Attribute{
			wire.ShortAttribute(wire.AttrSALifeType, lifeSeconds), wire.ShortAttribute(wire.AttrSALifeDuration, 3600),
			wire.ShortAttribute(wire.AttrSALifeType, lifeKilobytes), wire.LongAttribute(wire.AttrSALifeDuration, 250000),
			wire.ShortAttribute(wire.AttrEncapsulation, mode),
		}}
		if s.bits != 0 {
			t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrSAKeyLength, s.bits))
		}
		if s.auth != 0 {
			t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrAuthAlgorithm, s.auth))
		}
		if group != 0 {
			t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrSAGroup, group))
		}
		if separate || i == 0 {
			sa.Proposals = append(sa.Proposals, wire.Proposal{Number: uint8(i + 1), Protocol: wire.ProtocolESP, SPI: []byte{9, 8, 7, 6}})
		}
		last := &sa.Proposals[len(sa.Proposals)-1]
		last.Transforms = append(last.Transforms, t)
	}
	return sa
}

// The phase 2 lists that clients send, in their order.
var (
	windowsPhase2        = []esp{{12, 256, 2}, {12, 128, 2}, {3, 0, 2}, {2, 0, 2}, {11, 0, 2}}
	applePhase2          = []esp{{12, 256, 5}, {12, 256, 2}, {12, 256, 1}, {12, 128, 5}, {12, 128, 2}, {12, 128, 1}, {3, 0, 5}, {3, 0, 2}, {3, 0, 1}}
	networkManagerPhase2 = []esp{{12, 256, 2}, {12, 128, 2}, {3, 0, 2}}
	chromeOSPhase2       = []esp{{20, 128, 0}, {12, 128, 5}, {12, 128, 2}, {3, 0, 2}, {3, 0, 1}}
	mikroTikPhase2       = []esp{{12, 256, 2}, {12, 192, 2}, {12, 128, 2}}
)

func TestPhase2Selection(t *testing.T) {
	nat := phase2Terms{encapsulated: true, groups: []dh.Group{dh.MODP2048}}
	plain := phase2Terms{groups: []dh.Group{dh.MODP2048}}
	pfs := phase2Terms{groups: []dh.Group{dh.MODP2048}, keLen: 256}
	ah := offer2(true, 2, 0, windowsPhase2...)
	ah.Proposals[0].Protocol = wire.ProtocolAH
	bundle := offer2(true, 2, 0, windowsPhase2...)
	bundle.Proposals[1].Number = 1
	spi := offer2(false, 2, 0, windowsPhase2...)
	spi.Proposals[0].SPI = []byte{0, 0, 0, 255}
	shortSPI := offer2(false, 2, 0, windowsPhase2...)
	shortSPI.Proposals[0].SPI = []byte{1, 2}
	esn := offer2(false, 2, 0, esp{12, 256, 2}, esp{12, 128, 2})
	esn.Proposals[0].Transforms[0].Attributes = append(esn.Proposals[0].Transforms[0].Attributes, wire.ShortAttribute(wire.AttrSAExtendedSequence, 1))
	otherESN := offer2(false, 2, 0, esp{12, 256, 2}, esp{12, 128, 2})
	otherESN.Proposals[0].Transforms[0].Attributes = append(otherESN.Proposals[0].Transforms[0].Attributes, wire.ShortAttribute(wire.AttrSAExtendedSequence, 2))
	for _, c := range []struct {
		name  string
		offer *wire.SA
		terms phase2Terms
		want  string // empty: nothing
	}{
		{"Windows", offer2(true, 2, 0, windowsPhase2...), plain, "aes256-sha1"},
		{"Windows behind a NAT", offer2(true, 4, 0, windowsPhase2...), nat, "aes256-sha1"},
		{"Apple", offer2(false, 4, 0, applePhase2...), nat, "aes256-sha256"},
		{"Apple with a draft's mode", offer2(false, 61444, 0, applePhase2...), nat, "aes256-sha256"},
		{"NetworkManager", offer2(true, 4, 0, networkManagerPhase2...), nat, "aes256-sha1"},
		{"ChromeOS", offer2(true, 4, 0, chromeOSPhase2...), nat, "aes128gcm16"},
		{"MikroTik without PFS", offer2(false, 2, 0, mikroTikPhase2...), plain, "aes256-sha1"},
		{"PFS", offer2(false, 2, 14, mikroTikPhase2...), pfs, "aes256-sha1-modp2048"},
		{"PFS with a group that is not allowed", offer2(false, 2, 2, mikroTikPhase2...), phase2Terms{groups: pfs.groups, keLen: 128}, ""},
		{"PFS group without a public value", offer2(false, 2, 14, mikroTikPhase2...), plain, ""},
		{"public value without a group", offer2(false, 2, 0, mikroTikPhase2...), pfs, ""},
		{"public value of another length", offer2(false, 2, 14, mikroTikPhase2...), phase2Terms{groups: pfs.groups, keLen: 255}, ""},
		{"tunnel mode", offer2(false, 1, 0, applePhase2...), plain, ""},
		{"UDP tunnel mode", offer2(false, 3, 0, applePhase2...), nat, ""},
		{"transport mode behind a NAT", offer2(false, 2, 0, applePhase2...), nat, "aes256-sha256"},
		{"a draft's UDP tunnel mode", offer2(false, 61443, 0, applePhase2...), nat, ""},
		{"tunnel mode behind a NAT", offer2(false, 1, 0, applePhase2...), nat, ""},
		{"a draft's UDP without a NAT", offer2(false, 61444, 0, applePhase2...), plain, ""},
		{"no mode", offer2(false, 0, 0, applePhase2...), nat, ""},
		{"UDP without a NAT", offer2(false, 4, 0, applePhase2...), plain, ""},
		{"AES-GCM with an integrity algorithm", offer2(false, 2, 0, esp{20, 128, 5}), plain, ""},
		{"AES-GCM without a key length", offer2(false, 2, 0, esp{20, 0, 0}), plain, ""},
		{"AES-CBC without integrity", offer2(false, 2, 0, esp{12, 256, 0}), plain, ""},
		{"AES-CBC without a key length", offer2(false, 2, 0, esp{12, 0, 2}), plain, "aes128-sha1"},
		{"3DES, DES, NULL, GMAC", offer2(false, 2, 0, esp{3, 0, 2}, esp{2, 0, 2}, esp{11, 0, 2}, esp{23, 128, 0}), plain, ""},
		{"MD5", offer2(false, 2, 0, esp{3, 0, 1}, esp{12, 256, 1}), plain, ""},
		{"AH first", ah, plain, "aes128-sha1"},
		{"a bundle first", bundle, plain, ""},
		{"a reserved SPI", spi, plain, ""},
		{"an SPI of 2 octets", shortSPI, plain, ""},
		{"extended sequence numbers", esn, plain, "aes256-sha1-esn"},
		{"another value for sequence numbers", otherESN, plain, "aes128-sha1"},
	} {
		choice, ok := choosePhase2(rank(Compatible.Phase2()), c.offer, c.terms)
		switch {
		case ok != (c.want != ""):
			t.Errorf("%s: chosen %v: %s, want %q", c.name, ok, choice, c.want)
		case ok && (choice.String() != c.want || choice.life.time != time.Hour || choice.spi != 0x09080706):
			t.Errorf("%s: %s for %v, want %s", c.name, choice, choice.life.time, c.want)
		}
		if !ok {
			x := explainPhase2(c.offer, Compatible.Phase2(), c.terms)
			if text, hint := x.cause.Explain(x.facts); hint == "" || len(x.offered) == 0 || strings.Contains(x.offered[0], "auth1") || strings.Contains(text+hint, "{") {
				t.Errorf("%s: explained as %+v: %s; %s", c.name, x, text, hint)
			}
		}
	}
}
