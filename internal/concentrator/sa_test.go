package concentrator

import (
	"bytes"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const saPort = slot.Port(0x4005)

var saBlock = slot.Block{Tag: 0x1701, Base: 0x4000, Mask: 0xfff0}

// childSA is one direction of a client behind a NAT.
func childSA(change func(*ikev1.ChildSA)) ikev1.ChildSA {
	sa := ikev1.ChildSA{
		SPI: 0xc0ffee01, Local: netip.MustParseAddrPort("203.0.113.1:4500"), Remote: netip.MustParseAddrPort("198.51.100.7:1011"),
		Encapsulated: true, Encryption: ikev1.AESCBC, Integrity: ikev1.HMACSHA1_96,
		EncryptionKey: bytes.Repeat([]byte{1}, 32), IntegrityKey: bytes.Repeat([]byte{2}, 20), Lifetime: time.Hour,
	}
	change(&sa)
	return sa
}

func TestKernelAlgorithms(t *testing.T) {
	type algorithms struct {
		Crypt *xfrm.Crypt
		Auth  *xfrm.Auth
		AEAD  *xfrm.AEAD
	}
	e, i := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 20) // the lengths do not matter here
	aes, sha1 := xfrm.AESCBC(e), xfrm.HMACSHA1(i)
	for _, c := range []struct {
		encryption ikev1.Encryption
		integrity  ikev1.Integrity
		want       algorithms
	}{
		{ikev1.TripleDES, ikev1.HMACSHA1_96, algorithms{Crypt: &xfrm.Crypt{Name: "cbc(des3_ede)", Key: e}, Auth: sha1}},
		{ikev1.AESCBC, ikev1.HMACSHA1_96, algorithms{Crypt: aes, Auth: &xfrm.Auth{Name: "hmac(sha1)", Key: i, TruncBits: 96}}},
		{ikev1.AESCBC, ikev1.HMACSHA256_96, algorithms{Crypt: aes, Auth: &xfrm.Auth{Name: "hmac(sha256)", Key: i, TruncBits: 96}}},
		{ikev1.AESCBC, ikev1.HMACSHA256_128, algorithms{Crypt: aes, Auth: &xfrm.Auth{Name: "hmac(sha256)", Key: i, TruncBits: 128}}},
		{ikev1.AESCBC, ikev1.HMACSHA384_192, algorithms{Crypt: aes, Auth: &xfrm.Auth{Name: "hmac(sha384)", Key: i, TruncBits: 192}}},
		{ikev1.AESCBC, ikev1.HMACSHA512_256, algorithms{Crypt: aes, Auth: &xfrm.Auth{Name: "hmac(sha512)", Key: i, TruncBits: 256}}},
		{ikev1.AESGCM8, 0, algorithms{AEAD: &xfrm.AEAD{Name: "rfc4106(gcm(aes))", Key: e, ICVBits: 64}}},
		{ikev1.AESGCM12, 0, algorithms{AEAD: &xfrm.AEAD{Name: "rfc4106(gcm(aes))", Key: e, ICVBits: 96}}},
		{ikev1.AESGCM16, 0, algorithms{AEAD: &xfrm.AEAD{Name: "rfc4106(gcm(aes))", Key: e, ICVBits: 128}}},
	} {
		sa := childSA(func(sa *ikev1.ChildSA) { sa.Encryption, sa.Integrity = c.encryption, c.integrity })
		for _, describe := range []func(ikev1.ChildSA, slot.Block, slot.Port) (*xfrm.State, error){inboundSA, outboundSA} {
			st, err := describe(sa, saBlock, saPort)
			if err != nil {
				t.Fatalf("%v with %v: %v", c.encryption, c.integrity, err)
			}
			if diff := cmp.Diff(c.want, algorithms{st.Crypt, st.Auth, st.AEAD}); diff != "" {
				t.Errorf("%v with %v:\n%s", c.encryption, c.integrity, diff)
			}
		}
	}
	for name, change := range map[string]func(*ikev1.ChildSA){
		"DES":             func(sa *ikev1.ChildSA) { sa.Encryption = 2 },
		"NULL":            func(sa *ikev1.ChildSA) { sa.Encryption = 11 },
		"MD5":             func(sa *ikev1.ChildSA) { sa.Integrity = 1 },
		"CBC without MAC": func(sa *ikev1.ChildSA) { sa.Integrity = 0 },
	} {
		if st, err := inboundSA(childSA(change), saBlock, saPort); err == nil {
			t.Errorf("%s became %v", name, st)
		}
	}
}

// The rest of an SA: where it leads, its sequence numbers and its limits.
func TestKernelSA(t *testing.T) {
	server, client := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.7")
	sa := childSA(func(sa *ikev1.ChildSA) { sa.ESN, sa.LifetimeBytes = true, 250_000_000 })
	in, err := inboundSA(sa, saBlock, saPort)
	if err != nil {
		t.Fatal(err)
	}
	out, err := outboundSA(sa, saBlock, saPort)
	if err != nil {
		t.Fatal(err)
	}
	soft, hard := xfrm.Limit{Bytes: 250_000_000}, xfrm.Limit{Bytes: 312_500_000, Time: time.Hour + 5*time.Minute}
	want := &xfrm.State{
		ID: xfrm.ID{Dst: server, SPI: 0xc0ffee01}, Src: client, ReqID: 0x17014005, Direction: xfrm.In, ESN: true, ReplayWindow: 1024,
		Selector: xfrm.Selector{
			Src: netip.PrefixFrom(client, 32), Dst: netip.PrefixFrom(server, 32), Proto: 17, DstPort: 0x4005, DstPortMask: 0xffff,
		},
		OutputMark: xfrm.Mark{Value: 0x17014005, Mask: 0xffffffff}, Encap: &xfrm.Encap{SrcPort: 1011, DstPort: 4500},
		MappingThreshold: 5 * time.Second, Soft: soft, Hard: hard, Crypt: in.Crypt, Auth: in.Auth,
	}
	compare := cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.IgnoreUnexported(xfrm.State{})}
	if diff := cmp.Diff(want, in, compare); diff != "" {
		t.Errorf("inbound:\n%s", diff)
	}
	want = &xfrm.State{
		ID: xfrm.ID{Dst: client, SPI: 0xc0ffee01}, Src: server, ReqID: 0x17014005, Direction: xfrm.Out, ESN: true,
		Encap: &xfrm.Encap{SrcPort: 4500, DstPort: 1011}, Soft: soft, Hard: hard, Crypt: out.Crypt, Auth: out.Auth,
	}
	if diff := cmp.Diff(want, out, compare); diff != "" {
		t.Errorf("outbound:\n%s", diff)
	}
}

func TestByteLimits(t *testing.T) {
	for soft, hard := range map[uint64]uint64{0: 0, 1: 1, 1 << 10: 1<<10 + 1<<8, 250_000_000: 312_500_000, math.MaxUint64 - 1: 0} {
		st, err := outboundSA(childSA(func(sa *ikev1.ChildSA) { sa.LifetimeBytes = soft }), saBlock, saPort)
		if err != nil || st.Soft.Bytes != soft || st.Hard.Bytes != hard || st.ESN {
			t.Errorf("%d octets give %+v and %+v (%v), want a hard limit of %d", soft, st.Soft, st.Hard, err, hard)
		}
	}
}
