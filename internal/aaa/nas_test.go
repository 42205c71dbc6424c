package aaa

import (
	"crypto/md5"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"layeh.com/radius"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/vendors/microsoft"

	"github.com/l2tpctl/l2tpctl/internal/pool"
)

const (
	nas1 = "NAS-0000000000000001"
	nas2 = "NAS-0000000000000002"
)

// bench is a server and what it told.
type bench struct {
	*Server
	t      *testing.T
	source netip.AddrPort
}

func newBench(t *testing.T, ranges ...string) *bench {
	t.Helper()
	var rs []pool.Range
	for _, r := range ranges {
		parsed, err := pool.ParseRange(r)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, parsed)
	}
	p, err := pool.New(rs)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{
		Pool: p,
		Users: []User{
			{Name: "alice", Password: "wonderland"},
			{Name: "User", Password: "clientPass"},
			{Name: "bob", Password: "builder", Address: netip.MustParseAddr("10.0.0.2")},
			{Name: `CORP\carol`, Password: "singer"},
			{Name: "jürgen", Password: "pässwörd"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Stop)
	b := &bench{Server: s, t: t, source: netip.MustParseAddrPort("127.0.0.1:1024")}
	for _, id := range []string{nas1, nas2} {
		if err := s.Open(Session{NASID: id}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// ask hands a request to the server and returns the parsed answer, nil for silence.
func (b *bench) ask(p *radius.Packet) (*radius.Packet, []Event) {
	b.t.Helper()
	wire, err := p.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	reply, events := b.handle(wire, b.source)
	if reply == nil {
		return nil, events
	}
	if !radius.IsAuthenticResponse(reply, wire, []byte(b.Secret())) {
		b.t.Error("the answer is not authentic")
	}
	answer, err := radius.Parse(reply, []byte(b.Secret()))
	if err != nil {
		b.t.Fatal(err)
	}
	return answer, events
}

func (b *bench) request(nas, user string) *radius.Packet {
	p := radius.New(radius.CodeAccessRequest, []byte(b.Secret()))
	_ = rfc2865.NASIdentifier_AddString(p, nas)
	_ = rfc2865.UserName_AddString(p, user)
	return p
}

func (b *bench) pap(nas, user, password string) *radius.Packet {
	p := b.request(nas, user)
	_ = rfc2865.UserPassword_AddString(p, password)
	return p
}

func (b *bench) chap(nas, user, password string) *radius.Packet {
	p := b.request(nas, user)
	challenge := []byte("0123456789abcdefghij")
	sum := md5.Sum([]byte("\x07" + password + string(challenge)))
	_ = rfc2865.CHAPChallenge_Add(p, challenge)
	_ = rfc2865.CHAPPassword_Add(p, append([]byte{7}, sum[:]...))
	return p
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The challenges of RFC 2759 section 9.2.
var (
	serverChallenge = unhex("5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28")
	peerChallenge   = unhex("21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E")
)

func (b *bench) mschap(nas, user, hashedUser, password string) *radius.Packet {
	nt, err := rfc2759.GenerateNTResponse(serverChallenge, peerChallenge, []byte(hashedUser), []byte(password))
	if err != nil {
		b.t.Fatal(err)
	}
	p := b.request(nas, user)
	value := make([]byte, 50)
	value[0] = 9
	copy(value[2:], peerChallenge)
	copy(value[26:], nt)
	_ = microsoft.MSCHAPChallenge_Add(p, serverChallenge)
	_ = microsoft.MSCHAP2Response_Add(p, value)
	return p
}
