package xfrm

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	server4 = netip.MustParseAddr("192.0.2.1")
	client4 = netip.MustParseAddr("198.51.100.7")
	server6 = netip.MustParseAddr("2001:db8::1")
	client6 = netip.MustParseAddr("2001:db8:1::7")
)

func key(n int) []byte { return bytes.Repeat([]byte{0xa5}, n) }

// inbound is the SA that a client behind a NAT gets.
func inbound() *State {
	return &State{
		ID: ID{Dst: server4, SPI: 0xc0ffee01}, Src: client4, ReqID: 0x17014005,
		Selector: Selector{
			Src: netip.PrefixFrom(client4, 32), Dst: netip.PrefixFrom(server4, 32),
			Proto: 17, DstPort: 0x4005, DstPortMask: 0xffff,
		},
		Crypt: AESCBC(key(32)), Auth: HMACSHA256(key(32)),
		Encap:        &Encap{SrcPort: 1011, DstPort: 4500},
		OutputMark:   Mark{Value: 0x17014005, Mask: 0xffffffff},
		ReplayWindow: 128, MappingThreshold: 5 * time.Second, Hard: Limit{Time: time.Hour}, Direction: In,
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStateBytes compares with the structures of linux/xfrm.h, field by field. Little-endian only, as the numbers show.
func TestStateBytes(t *testing.T) {
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Log("big-endian machine: the expected octets are little-endian")
		return
	}
	zeros := func(n int) string { return strings.Repeat("00", n) }
	want := unhex(t, strings.Join([]string{
		// selector
		"c0000201", zeros(12), "c6336407", zeros(12), "4005 ffff 0000 0000 0200 20 20 11 000000 00000000 00000000",
		// id, saddr
		"c0000201", zeros(12), "c0ffee01 32 000000", "c6336407", zeros(12),
		// lifetime_cfg, lifetime_cur, stats
		strings.Repeat("ff", 32), zeros(8), "100e000000000000", zeros(16), zeros(32), zeros(12),
		// seq, reqid, family, mode, replay_window, flags, padding
		"00000000 05400117 0200 00 00 00", zeros(7),
		// ALG_CRYPT
		"6800 0200", hex.EncodeToString([]byte("cbc(aes)")), zeros(56), "00010000", strings.Repeat("a5", 32),
		// ALG_AUTH_TRUNC
		"6c00 1400", hex.EncodeToString([]byte("hmac(sha256)")), zeros(52), "00010000 80000000", strings.Repeat("a5", 32),
		// ENCAP
		"1c00 0400 0200 03f3 1194 0000", zeros(16),
		// REPLAY_ESN_VAL
		"2c00 1700 04000000", zeros(16), "80000000", zeros(16),
		// SET_MARK, SET_MARK_MASK, MTIMER_THRESH, SA_DIR
		"0800 1d00 05400117", "0800 1e00 ffffffff", "0800 2000 05000000", "0500 2100 01 000000",
	}, ""))
	got := inbound().appendTo(nil)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name string
		got  int
		want int
	}{
		{"xfrm_usersa_info", len((&State{ID: ID{Dst: server4}}).info()), 224},
		{"xfrm_usersa_id", len(ID{Dst: server4}.marshal()), 24},
		{"xfrm_userpolicy_info", len(appendPolicy(nil, false, In)), 168},
		{"xfrm_userpolicy_info and xfrm_user_tmpl", len(appendTemplate(appendPolicy(nil, true, In), true, 1)), 232},
		{"stats end where seq begins", offSAStats + 12, 204},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d octets, want %d", c.name, c.got, c.want)
		}
	}
}

// TestReplayBytes: where the halves of the sequence numbers go, and the limits.
func TestReplayBytes(t *testing.T) {
	in, out := states()["esn inbound"], states()["esn outbound"]
	if b := in.info(); b[216] != 128 {
		t.Errorf("flags are %#x, want XFRM_STATE_ESN", b[216])
	}
	words := func(b []byte) (out []uint32) {
		for ; len(b) > 0; b = b[4:] {
			out = append(out, native.Uint32(b))
		}
		return out
	}
	// Attribute header (28 or 36 octets of kind 23), bmp_len, oseq, seq, oseq_hi, seq_hi, replay_window, bitmap
	if got := words(in.appendReplay(nil))[1:]; !slices.Equal(got, []uint32{2, 0, 0xffff_fff0, 0, 1, 64, 0, 0}) {
		t.Errorf("replay state of the inbound SA: %x", got)
	}
	if got := words(out.appendReplay(nil))[1:]; !slices.Equal(got, []uint32{0, 0xffff_fff0, 0, 0, 0, 0}) {
		t.Errorf("replay state of the outbound SA: %x", got)
	}
	limits := make([]byte, sizeLifetimeCfg)
	putLimits(limits, in.Soft, out.Hard)
	var got []uint64
	for i := range 8 {
		got = append(got, native.Uint64(limits[8*i:]))
	}
	if want := []uint64{250_000_000, infinite, infinite, infinite, 60, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("limits %x, want %x", got, want)
	}
}

// TestLegacyReplay reads the replay state of an SA that has no window and no ESN.
func TestLegacyReplay(t *testing.T) {
	v := native.AppendUint32(native.AppendUint32(native.AppendUint32(nil, 7), 9), 0xffff)
	b := appendAttribute(states()["gcm outbound"].appendTo(nil), attrReplay, v)
	s, err := parseState(b)
	if err != nil || s.Sequence != (Sequence{Sent: 7, Received: 9}) {
		t.Errorf("got %+v, %v", s.Sequence, err)
	}
}

// states are one of each kind.
func states() map[string]*State {
	out := map[string]*State{"cbc inbound encapsulated": inbound()}
	out["gcm outbound"] = &State{
		ID: ID{Dst: client4, SPI: 0x100}, Src: server4, ReqID: 1, AEAD: AESGCM16(key(36)), Direction: Out,
	}
	out["v6"] = &State{
		ID: ID{Dst: server6, SPI: 0xffffffff}, Src: client6, Crypt: AESCBC(key(16)), Auth: HMACSHA1(key(20)), Direction: In,
		Selector:     Selector{Src: netip.PrefixFrom(client6, 128), Proto: 17, SrcPort: 0x4000, SrcPortMask: 0xc000},
		ReplayWindow: 33, Offload: Offload{Device: 7, Mode: OffloadPacket},
	}
	out["sha384"] = &State{ID: ID{Dst: server4, SPI: 256}, Src: client4, Crypt: TripleDESCBC(key(24)), Auth: HMACSHA384(key(48))}
	out["esn inbound"] = &State{
		ID: ID{Dst: server4, SPI: 0x1008}, Src: client4, Crypt: TripleDESCBC(key(24)), Auth: HMACSHA256Trunc96(key(32)),
		Direction: In, ESN: true, ReplayWindow: 64, Sequence: Sequence{Received: 0x1_ffff_fff0},
		Soft: Limit{Bytes: 250_000_000, Time: time.Minute}, Hard: Limit{Bytes: 1 << 40, Time: time.Hour},
	}
	out["esn outbound"] = &State{
		ID: ID{Dst: client4, SPI: 0x1009}, Src: server4, AEAD: AESGCM8(key(20)), Direction: Out, ESN: true,
		Sequence: Sequence{Sent: 0xffff_fff0}, Soft: Limit{Bytes: 1},
	}
	out["esn of a kernel without directions"] = &State{
		ID: ID{Dst: client4, SPI: 0x100a}, Src: server4, AEAD: AESGCM12(key(28)), ESN: true, ReplayWindow: 1, Hard: Limit{Bytes: 2},
	}
	out["far on"] = &State{
		ID: ID{Dst: client4, SPI: 0x100b}, Src: server4, AEAD: AESGCM16(key(28)), Direction: Out, Sequence: Sequence{Sent: 0xffff_fff0},
	}
	out["sha512"] = &State{ID: ID{Dst: server4, SPI: 256}, Src: client4, Crypt: AESCBC(key(24)), Auth: HMACSHA512(key(64))}
	return out
}

// sameState compares but for what the kernel fills in and what it makes explicit.
func sameState(a, b State) string {
	return cmp.Diff(a, b, cmpopts.IgnoreFields(State{}, "Stats"), cmp.AllowUnexported(State{}), cmp.Comparer(func(x, y netip.Addr) bool { return x == y }),
		cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }))
}

func TestStateRoundTrip(t *testing.T) {
	for name, s := range states() {
		t.Run(name, func(t *testing.T) {
			if err := s.validate(); err != nil {
				t.Fatal(err)
			}
			got, err := parseState(s.appendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			want := *s
			want.Selector.Family = family(s.Dst)
			unspecified := netip.IPv4Unspecified()
			if s.Dst.Is6() {
				unspecified = netip.IPv6Unspecified()
			}
			for _, p := range []*netip.Prefix{&want.Selector.Src, &want.Selector.Dst} {
				if !p.IsValid() {
					*p = netip.PrefixFrom(unspecified, 0)
				}
			}
			if d := sameState(want, got); d != "" {
				t.Errorf("decoded state differs:\n%s", d)
			}
		})
	}
}

// TestStatePrefixes cuts a message everywhere: each prefix must give an error or a state, and never a panic.
func TestStatePrefixes(t *testing.T) {
	whole := inbound().appendTo(nil)
	for n := range len(whole) {
		_, err := parseState(whole[:n])
		if n < sizeUserSAInfo && err == nil {
			t.Errorf("%d octets were taken for an SA", n)
		}
	}
}

func TestStateStats(t *testing.T) {
	b := inbound().appendTo(nil)
	for i, v := range []uint64{1000, 10, 1700000000, 1700000060} {
		native.PutUint64(b[offSACurrent+8*i:], v)
	}
	for i, v := range []uint32{1, 2, 3} {
		native.PutUint32(b[offSAStats+4*i:], v)
	}
	s, err := parseState(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Stats{
		Bytes: 1000, Packets: 10, AddTime: time.Unix(1700000000, 0), UseTime: time.Unix(1700000060, 0),
		WindowFailed: 1, ReplayFailed: 2, IntegrityFailed: 3,
	}
	if d := cmp.Diff(want, s.Stats); d != "" {
		t.Error(d)
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*State){
		"one family":             func(s *State) { s.Src = client6 },
		"unmapped":               func(s *State) { s.Dst = netip.AddrFrom16(server4.As16()); s.Src = s.Dst },
		"reserved":               func(s *State) { s.SPI = 255 },
		"cipher with a MAC":      func(s *State) { s.Auth = nil },
		"no other algorithm":     func(s *State) { s.AEAD = AESGCM16(key(20)) },
		"above 4096":             func(s *State) { s.ReplayWindow = 4097 },
		"threshold is for inbou": func(s *State) { s.Direction = Out },
		"cannot be negative":     func(s *State) { s.Soft.Time = -1 },
		"need a replay window":   func(s *State) { s.ESN, s.ReplayWindow = true, 0 },
		"needs ESN":              func(s *State) { s.Sequence.Received = 1 << 32 },
		"own direction only":     func(s *State) { s.Sequence.Sent = 1 },
		"is for inbound SAs":     func(s *State) { s.Direction, s.MappingThreshold = Out, 0 },
		"needs UDP encap":        func(s *State) { s.Encap = nil },
		"SA's address family":    func(s *State) { s.Selector.Dst = netip.PrefixFrom(server6, 128) },
		"needs a direction":      func(s *State) { s.Direction = 0; s.Offload = Offload{Device: 1, Mode: OffloadCrypto} },
		"index of no device":     func(s *State) { s.Offload = Offload{Mode: OffloadPacket} },
		"offload mode none":      func(s *State) { s.Offload = Offload{Device: 1} },
		"must be addresses of o": func(s *State) { s.Dst = netip.Addr{} },
	} {
		s := inbound()
		change(s)
		err := s.validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestKeysStayHidden(t *testing.T) {
	s := *inbound()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{s.Crypt, *s.Auth, s.Crypt.Key, &s} {
			out := fmt.Sprintf(format, v)
			if strings.Contains(out, "a5a5") || strings.Contains(out, "165 165") || strings.Contains(out, "0xa5") {
				t.Errorf("%s of %T shows the key: %s", format, v, out)
			}
		}
	}
}

func TestSecondsRoundUp(t *testing.T) {
	for d, want := range map[time.Duration]uint64{0: 0, 1: 1, time.Second: 1, time.Second + 1: 2} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%v) = %d, want %d", d, got, want)
		}
	}
}

// FuzzState: what parses must marshal and parse again to the same.
func FuzzState(f *testing.F) {
	for _, s := range states() {
		f.Add(s.appendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := parseState(b)
		if err != nil {
			return
		}
		second, err := parseState(first.appendTo(nil))
		if err != nil {
			t.Fatalf("%v does not parse again: %v", first, err)
		}
		if d := sameState(first, second); d != "" {
			t.Error(d)
		}
	})
}
