package aaa

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/pool"
	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/microsoft"
)

func TestAuthenticate(t *testing.T) {
	const pooled, bobs = "10.0.0.1", "10.0.0.2"
	for _, tt := range []struct {
		name string
		req  func(b *bench) *radius.Packet
		want Event
	}{
		{"pap", func(b *bench) *radius.Packet { return b.pap(nas1, "alice", "wonderland") },
			Authenticated{nas1, "alice", MethodPAP, netip.MustParseAddr(pooled)}},
		{"pap, fixed address", func(b *bench) *radius.Packet { return b.pap(nas1, "bob", "builder") },
			Authenticated{nas1, "bob", MethodPAP, netip.MustParseAddr(bobs)}},
		{"pap, wrong", func(b *bench) *radius.Packet { return b.pap(nas1, "alice", "wonder") },
			Rejected{nas1, "alice", MethodPAP, ReasonWrongPassword, ""}},
		{"pap, longer", func(b *bench) *radius.Packet { return b.pap(nas1, "alice", "wonderland1") },
			Rejected{nas1, "alice", MethodPAP, ReasonWrongPassword, ""}},
		{"pap, empty", func(b *bench) *radius.Packet { return b.pap(nas1, "alice", "") },
			Rejected{nas1, "alice", MethodPAP, ReasonWrongPassword, ""}},
		{"pap, unknown", func(b *bench) *radius.Packet { return b.pap(nas1, "Alice", "wonderland") },
			Rejected{nas1, "Alice", MethodPAP, ReasonUnknownUser, ""}},
		{"pap, hostile name", func(b *bench) *radius.Packet { return b.pap(nas1, "\x1b[2J$(reboot)\xff", "x") },
			Rejected{nas1, "^[[2J$(reboot)M-^?", MethodPAP, ReasonUnknownUser, ""}},
		{"pap, domain", func(b *bench) *radius.Packet { return b.pap(nas1, `HOME\alice`, "wonderland") },
			Authenticated{nas1, "alice", MethodPAP, netip.MustParseAddr(pooled)}},
		{"pap, beyond ASCII, as pppd writes it", func(b *bench) *radius.Packet { return b.pap(nas1, visible("jürgen"), visible("pässwörd")) },
			Authenticated{nas1, "jürgen", MethodPAP, netip.MustParseAddr(pooled)}},
		{"chap", func(b *bench) *radius.Packet { return b.chap(nas1, "alice", "wonderland") },
			Authenticated{nas1, "alice", MethodCHAP, netip.MustParseAddr(pooled)}},
		{"chap, wrong", func(b *bench) *radius.Packet { return b.chap(nas1, "alice", "wonder") },
			Rejected{nas1, "alice", MethodCHAP, ReasonWrongPassword, ""}},
		{"chap, empty password", func(b *bench) *radius.Packet { return b.chap(nas1, "mallory", "") },
			Rejected{nas1, "mallory", MethodCHAP, ReasonUnknownUser, ""}},
		{"mschapv2", func(b *bench) *radius.Packet { return b.mschap(nas1, "User", "User", "clientPass") },
			Authenticated{nas1, "User", MethodMSCHAPv2, netip.MustParseAddr(pooled)}},
		{"mschapv2, wrong", func(b *bench) *radius.Packet { return b.mschap(nas1, "User", "User", "x") },
			Rejected{nas1, "User", MethodMSCHAPv2, ReasonWrongPassword, ""}},
		{"mschapv2, domain not hashed", func(b *bench) *radius.Packet { return b.mschap(nas1, `HOME\User`, "User", "clientPass") },
			Authenticated{nas1, "User", MethodMSCHAPv2, netip.MustParseAddr(pooled)}},
		{"mschapv2, domain hashed", func(b *bench) *radius.Packet { return b.mschap(nas1, `HOME\User`, `HOME\User`, "clientPass") },
			Authenticated{nas1, "User", MethodMSCHAPv2, netip.MustParseAddr(pooled)}},
		{"mschapv2, configured with the domain", func(b *bench) *radius.Packet { return b.mschap(nas1, `CORP\carol`, "carol", "singer") },
			Authenticated{nas1, `CORP\carol`, MethodMSCHAPv2, netip.MustParseAddr(pooled)}},
		{"mschapv2, beyond ASCII", func(b *bench) *radius.Packet {
			return b.mschap(nas1, `D\`+visible("jürgen"), "jürgen", "pässwörd")
		}, Authenticated{nas1, "jürgen", MethodMSCHAPv2, netip.MustParseAddr(pooled)}},
		{"no credentials", func(b *bench) *radius.Packet { return b.request(nas1, "alice") },
			Rejected{nas1, "alice", MethodNone, ReasonNoCredentials, ""}},
		{"no name", func(b *bench) *radius.Packet { return b.pap(nas1, "", "wonderland") },
			Rejected{nas1, "", MethodPAP, ReasonNoCredentials, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, pooled+"-10.0.0.9")
			answer, events := b.ask(tt.req(b))
			if len(events) != 1 || events[0] != tt.want {
				t.Errorf("events %v, want %v", events, tt.want)
			}
			accepted, isAccept := tt.want.(Authenticated)
			if !isAccept {
				if answer.Code != radius.CodeAccessReject {
					t.Errorf("answer %v, want a reject", answer.Code)
				}
				return
			}
			if answer.Code != radius.CodeAccessAccept || rfc2865.FramedIPAddress_Get(answer).String() != accepted.Address.String() {
				t.Errorf("answer %v with %v, want an accept with %v", answer.Code, rfc2865.FramedIPAddress_Get(answer), accepted.Address)
			}
		})
	}
}

func TestMSCHAPSuccess(t *testing.T) {
	b := newBench(t, "10.0.0.1")
	answer, _ := b.ask(b.mschap(nas1, "User", "User", "clientPass"))
	// RFC 2759 section 9.2.
	if got, want := microsoft.MSCHAP2Success_GetString(answer), "\x09S=407A5589115FD0D6209F510FE9C04566932CDA56"; got != want {
		t.Errorf("MS-CHAP2-Success %q, want %q", got, want)
	}
	answer, _ = b.ask(b.mschap(nas2, "User", "User", "x"))
	for what, got := range map[string]string{
		"Reply-Message": rfc2865.ReplyMessage_GetString(answer),
		"MS-CHAP-Error": strings.TrimPrefix(microsoft.MSCHAPError_GetString(answer), "\x09"),
	} {
		if !strings.HasPrefix(got, "E=691 R=0 C=") || !strings.HasSuffix(got, " V=3 M=Access denied") {
			t.Errorf("%s %q is not a failure in the form of RFC 2759 section 6", what, got)
		}
	}
}

func TestRetransmission(t *testing.T) {
	b := newBench(t, "10.0.0.1-10.0.0.9")
	req := b.pap(nas1, "alice", "wonderland")
	first, events := b.ask(req)
	if len(events) != 1 {
		t.Fatalf("events %v, want one", events)
	}
	second, events := b.ask(req)
	if len(events) != 0 || !reflect.DeepEqual(first, second) {
		t.Errorf("the same request again: %v and events %v, want the same answer and no event", second, events)
	}
}

func TestDropped(t *testing.T) {
	b := newBench(t, "10.0.0.1")
	b.Close(nas2)
	for name, p := range map[string]*radius.Packet{
		"unknown session": b.pap("NAS-0000000000000009", "alice", "wonderland"),
		"closed session":  b.pap(nas2, "alice", "wonderland"),
		"no session":      b.pap("", "alice", "wonderland"),
		"status-server":   radius.New(radius.CodeStatusServer, []byte(b.Secret())),
		"forged accounting": func() *radius.Packet {
			p := radius.New(radius.CodeAccountingRequest, []byte("guess"))
			_ = rfc2865.NASIdentifier_AddString(p, nas1)
			return p
		}(),
	} {
		if answer, events := b.ask(p); answer != nil || events != nil {
			t.Errorf("%s: answered %v, %v", name, answer, events)
		}
	}
	if got := b.Stats().Dropped; got != 5 {
		t.Errorf("Dropped = %d, want 5", got)
	}
	if reply, _ := b.handle([]byte{1, 2, 3}, b.source); reply != nil {
		t.Error("three octets were answered")
	}
}

func TestTries(t *testing.T) {
	b := newBench(t, "10.0.0.1")
	for range maxTries {
		b.ask(b.pap(nas1, "alice", "x"))
	}
	_, events := b.ask(b.pap(nas1, "alice", "wonderland"))
	if want := (Rejected{nas1, "alice", MethodPAP, ReasonTooManyTries, ""}); len(events) != 1 || events[0] != want {
		t.Errorf("events %v, want %v", events, want)
	}
}

func TestAddresses(t *testing.T) {
	b := newBench(t, "10.0.0.1-10.0.0.2") // .2 is bob's
	want := func(step string, p *radius.Packet, want Event) {
		t.Helper()
		if _, events := b.ask(p); len(events) != 1 || events[0] != want {
			t.Errorf("%s: events %v, want %v", step, events, want)
		}
	}
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	want("first", b.pap(nas1, "alice", "wonderland"), Authenticated{nas1, "alice", MethodPAP, one})
	want("asked again", b.chap(nas1, "alice", "wonderland"), Authenticated{nas1, "alice", MethodCHAP, one})
	want("as somebody else", b.pap(nas1, "bob", "builder"), Rejected{nas1, "bob", MethodPAP, ReasonOtherUser, ""})
	want("exhausted", b.pap(nas2, "alice", "wonderland"), Rejected{nas2, "alice", MethodPAP, ReasonPoolExhausted, ""})
	want("fixed", b.pap(nas2, "bob", "builder"), Authenticated{nas2, "bob", MethodPAP, two})
	const nas3 = "NAS-0000000000000003"
	if err := b.Open(Session{NASID: nas3}); err != nil {
		t.Fatal(err)
	}
	want("fixed, in use", b.pap(nas3, "bob", "guess"), Rejected{nas3, "bob", MethodPAP, ReasonWrongPassword, ""})
	b.Close(nas2)
	want("fixed, free again", b.pap(nas3, "bob", "builder"), Authenticated{nas3, "bob", MethodPAP, two})
	b.Close(nas1)
	if err := b.Adopt(SessionInfo{Session: Session{NASID: nas1}, User: "alice", Address: one}); err != nil {
		t.Fatal(err)
	}
	if err := b.Adopt(SessionInfo{Session: Session{NASID: nas2}, User: "alice", Address: one}); err == nil {
		t.Error("one address was adopted twice")
	}
	if s := b.Stats(); s.PoolSize != 1 || s.PoolUsed != 1 {
		t.Errorf("pool %d of %d, want 1 of 1", s.PoolUsed, s.PoolSize)
	}
}

// TestSuperseded: the user of a fixed address whose client crashed gets in again before the old session is found dead.
func TestSuperseded(t *testing.T) {
	b := newBench(t, "10.0.0.1-10.0.0.9")
	bobs := netip.MustParseAddr("10.0.0.2")
	b.ask(b.pap(nas1, "bob", "builder"))
	if _, events := b.ask(b.pap(nas2, "bob", "guess")); !reflect.DeepEqual(events, []Event{Rejected{nas2, "bob", MethodPAP, ReasonWrongPassword, ""}}) {
		t.Errorf("a wrong password: %v", events)
	}
	answer, events := b.ask(b.pap(nas2, "bob", "builder"))
	want := []Event{Superseded{nas1, nas2, "bob", bobs}, Authenticated{nas2, "bob", MethodPAP, bobs}}
	if !reflect.DeepEqual(events, want) {
		t.Errorf("events %v, want %v", events, want)
	}
	if answer.Code != radius.CodeAccessAccept || rfc2865.FramedIPAddress_Get(answer).String() != bobs.String() {
		t.Errorf("answer %v with %v, want an accept with %v", answer.Code, rfc2865.FramedIPAddress_Get(answer), bobs)
	}
	// The old session does not fight for the address, and its end does not free it.
	if _, events := b.ask(b.chap(nas1, "bob", "builder")); !reflect.DeepEqual(events, []Event{Rejected{nas1, "bob", MethodCHAP, ReasonSuperseded, ""}}) {
		t.Errorf("the old session asked again: %v", events)
	}
	stop := radius.New(radius.CodeAccountingRequest, []byte(b.Secret()))
	_ = rfc2865.NASIdentifier_AddString(stop, nas1)
	_ = rfc2866.AcctStatusType_Add(stop, rfc2866.AcctStatusType_Value_Stop)
	if _, events := b.ask(stop); !reflect.DeepEqual(events, []Event{Stopped{NASID: nas1, User: "bob", Address: bobs}}) {
		t.Errorf("the end of the old session: %v", events)
	}
	b.Close(nas1)
	if got := b.holders[bobs]; got != nas2 {
		t.Errorf("the address is held by %q, want %q", got, nas2)
	}
	// An address that another user has from the time before the configuration changed is not taken from him.
	if err := b.Configure(Config{Users: []User{{Name: "dora", Password: "explorer", Address: bobs}}}); err != nil {
		t.Fatal(err)
	}
	const nas3 = "NAS-0000000000000003"
	if err := b.Open(Session{NASID: nas3}); err != nil {
		t.Fatal(err)
	}
	if _, events := b.ask(b.pap(nas3, "dora", "explorer")); !reflect.DeepEqual(events, []Event{Rejected{nas3, "dora", MethodPAP, ReasonAddressInUse, nas2}}) {
		t.Errorf("another user's: %v", events)
	}
}

func TestAccounting(t *testing.T) {
	b := newBench(t, "10.0.0.1")
	record := func(kind rfc2866.AcctStatusType) *radius.Packet {
		p := radius.New(radius.CodeAccountingRequest, []byte(b.Secret()))
		_ = rfc2865.NASIdentifier_AddString(p, nas1)
		_ = rfc2866.AcctStatusType_Add(p, kind)
		_ = rfc2866.AcctSessionTime_Add(p, 61)
		_ = rfc2866.AcctInputOctets_Add(p, 5)
		_ = rfc2869.AcctInputGigawords_Add(p, 1)
		_ = rfc2866.AcctOutputOctets_Add(p, 7)
		_ = rfc2866.AcctInputPackets_Add(p, 2)
		_ = rfc2866.AcctOutputPackets_Add(p, 3)
		_ = rfc2866.AcctTerminateCause_Add(p, rfc2866.AcctTerminateCause_Value_UserRequest)
		return p
	}
	if answer, events := b.ask(record(rfc2866.AcctStatusType_Value_Start)); answer == nil || len(events) != 0 {
		t.Errorf("start without a user: %v, %v, want an answer and no event", answer, events)
	}
	b.ask(b.pap(nas1, "alice", "wonderland"))
	b.source = netip.MustParseAddrPort("127.0.0.1:1025")
	address := netip.MustParseAddr("10.0.0.1")
	counters := Counters{time.Minute + time.Second, 1<<32 + 5, 7, 2, 3, 1, "User-Request"}
	for _, tt := range []struct {
		kind rfc2866.AcctStatusType
		want Event
		up   bool
	}{
		{rfc2866.AcctStatusType_Value_Start, Started{nas1, "alice", address}, true},
		{rfc2866.AcctStatusType_Value_InterimUpdate, Updated{nas1, "alice", counters}, true},
		{rfc2866.AcctStatusType_Value_Stop, Stopped{nas1, "alice", address, counters}, false},
	} {
		answer, events := b.ask(record(tt.kind))
		if answer == nil || answer.Code != radius.CodeAccountingResponse || len(events) != 1 || events[0] != tt.want {
			t.Errorf("%v: answer %v, events %v, want %v", tt.kind, answer, events, tt.want)
		}
		for _, i := range b.Sessions() {
			if i.NASID == nas1 && i.Up != tt.up {
				t.Errorf("%v: up is %v, want %v", tt.kind, i.Up, tt.up)
			}
		}
	}
}

// TestSocket goes the whole way, with the client of the RADIUS library.
func TestSocket(t *testing.T) {
	b := newBench(t, "10.0.0.1")
	answer, err := radius.Exchange(context.Background(), b.pap(nas1, "alice", "wonderland"), b.Addr().String())
	if err != nil || answer.Code != radius.CodeAccessAccept {
		t.Fatalf("answer %v, %v, want an accept", answer, err)
	}
	if got := rfc2865.FramedIPAddress_Get(answer); !got.Equal(net.IPv4(10, 0, 0, 1)) {
		t.Errorf("address %v, want 10.0.0.1", got)
	}
}

func TestUsers(t *testing.T) {
	for name, users := range map[string][]User{
		"no name":        {{Password: "x"}},
		"no password":    {{Name: "x"}},
		"control":        {{Name: "x\n", Password: "x"}},
		"long password":  {{Name: "x", Password: strings.Repeat("x", 129)}},
		"not UTF-8":      {{Name: "x", Password: "\xff"}},
		"twice":          {{Name: "x", Password: "1"}, {Name: "x", Password: "2"}},
		"alike in pppd":  {{Name: "é", Password: "1"}, {Name: "M-CM-)", Password: "2"}},
		"IPv6":           {{Name: "x", Password: "1", Address: netip.MustParseAddr("2001:db8::1")}},
		"shared address": {{Name: "x", Password: "1", Address: netip.MustParseAddr("10.0.0.1")}, {Name: "y", Password: "1", Address: netip.MustParseAddr("10.0.0.1")}},
	} {
		_, err := newDirectory(users)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: the password is in the error: %v", name, err)
		}
	}
	if got := (User{Name: "x", Password: "secret"}).GoString(); strings.Contains(got, "secret") {
		t.Errorf("GoString shows the password: %s", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	for i := range 3 * cacheSize {
		c.put(requestKey{source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(i >> 16), byte(i >> 8)}), uint16(i))}, []byte{1})
	}
	if len(c.replies) != cacheSize || len(c.order) != cacheSize {
		t.Errorf("%d replies, %d keys, want %d", len(c.replies), len(c.order), cacheSize)
	}
}

func FuzzHandle(f *testing.F) {
	p := radius.New(radius.CodeAccessRequest, []byte("0123456789abcdef"))
	_ = rfc2865.NASIdentifier_AddString(p, nas1)
	_ = rfc2865.UserName_AddString(p, "alice")
	_ = rfc2865.UserPassword_AddString(p, "wonderland")
	wire, _ := p.Encode()
	f.Add(wire)
	pl, err := pool.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	users, err := newDirectory([]User{{Name: "alice", Password: "wonderland"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Server{secret: "0123456789abcdef", replies: newCache(), users: users, pool: pl,
			sessions: map[string]*SessionInfo{}, holders: map[netip.Addr]string{}, keep: func(SessionInfo) {}}
		if err := s.Open(Session{NASID: nas1}); err != nil {
			t.Fatal(err)
		}
		reply, _ := s.handle(b, netip.MustParseAddrPort("127.0.0.1:9"))
		if reply != nil && reply[0] == byte(radius.CodeAccessAccept) {
			t.Error("a user without an address was accepted")
		}
	})
}
