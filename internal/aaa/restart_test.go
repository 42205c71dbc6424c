package aaa

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"testing"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"github.com/l2tpctl/l2tpctl/internal/pool"
)

// keeper is who outlives servers: it has their socket, and what they kept.
type keeper struct {
	t        *testing.T
	socket   *os.File
	secret   string
	sessions map[string][]byte // SessionInfo, by NASID
	log      []string          // what happened, in order
}

// newServer is a successor of all servers before it. It is not started.
func (k *keeper) newServer(p *pool.Pool) *Server {
	k.t.Helper()
	cfg := Config{
		Pool: p,
		Users: []User{
			{Name: "alice", Password: "wonderland"},
			{Name: "bob", Password: "builder", Address: netip.MustParseAddr("10.0.0.2")},
		},
		Keep: func(i SessionInfo) {
			b, err := json.Marshal(i)
			if err != nil {
				k.t.Error(err)
			}
			k.sessions[i.NASID] = b
			k.log = append(k.log, "keep "+i.NASID)
		},
		Notify: func(e Event) { k.log = append(k.log, reflect.TypeOf(e).Name()) },
	}
	if k.socket != nil {
		c, err := net.FilePacketConn(k.socket)
		if err != nil {
			k.t.Fatal(err)
		}
		cfg.Conn, cfg.Secret = c.(*net.UDPConn), k.secret
	}
	s, err := New(cfg)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(s.Stop)
	for nas, b := range k.sessions {
		var i SessionInfo
		if err := json.Unmarshal(b, &i); err != nil {
			k.t.Fatal(err)
		}
		if err := s.Adopt(i); err != nil {
			k.t.Errorf("%s: %v", nas, err)
		}
	}
	if k.socket == nil {
		if k.socket, err = s.conn.File(); err != nil {
			k.t.Fatal(err)
		}
		k.t.Cleanup(func() { _ = k.socket.Close() })
		k.secret = s.Secret()
	}
	return s
}

// restarting is a client of a server that is exchanged for another.
type restarting struct {
	*bench
	keeper *keeper
	client *net.UDPConn
}

func newRestarting(t *testing.T, addresses string) *restarting {
	t.Helper()
	k := &keeper{t: t, sessions: make(map[string][]byte)}
	r := &restarting{bench: &bench{Server: k.newServer(ranges(t, addresses)), t: t}, keeper: k}
	for _, nas := range []string{nas1, nas2} {
		if err := r.Open(Session{NASID: nas, PeerAddr: netip.MustParseAddr("192.0.2.7")}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.client, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.Addr())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.client.Close() })
	return r
}

func (r *restarting) encode(p *radius.Packet) []byte {
	r.t.Helper()
	wire, err := p.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	return wire
}

func (r *restarting) send(wire []byte) {
	r.t.Helper()
	if _, err := r.client.Write(wire); err != nil {
		r.t.Fatal(err)
	}
}

func (r *restarting) receive(request []byte) *radius.Packet {
	r.t.Helper()
	b := make([]byte, radius.MaxPacketLength)
	n, err := r.client.Read(b)
	if err != nil {
		r.t.Fatal(err)
	}
	if !radius.IsAuthenticResponse(b[:n], request, []byte(r.keeper.secret)) {
		r.t.Error("the answer is to something else, or made with another secret")
	}
	p, err := radius.Parse(b[:n], []byte(r.keeper.secret))
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func accounting(secret, nas string, kind rfc2866.AcctStatusType) *radius.Packet {
	p := radius.New(radius.CodeAccountingRequest, []byte(secret))
	_ = rfc2865.NASIdentifier_AddString(p, nas)
	_ = rfc2866.AcctStatusType_Add(p, kind)
	return p
}

// TestRestart: what was asked while there was no server, or was not answered by the last one, is answered by the next.
func TestRestart(t *testing.T) {
	r := newRestarting(t, "10.0.0.1-10.0.0.9")
	login := r.encode(r.pap(nas1, "alice", "wonderland"))
	r.Start()
	r.send(login)
	first := rfc2865.FramedIPAddress_Get(r.receive(login))
	r.Stop()

	r.send(login) // the answer was lost, say
	start := r.encode(accounting(r.Secret(), nas1, rfc2866.AcctStatusType_Value_Start))
	r.send(start)
	r.Server = r.keeper.newServer(ranges(t, "10.0.0.1-10.0.0.9"))
	if r.Addr() != r.client.RemoteAddr().(*net.UDPAddr).AddrPort() {
		t.Fatalf("the server listens on %v", r.Addr())
	}
	r.Start()
	again := r.receive(login)
	if again.Code != radius.CodeAccessAccept || !rfc2865.FramedIPAddress_Get(again).Equal(first) {
		t.Errorf("the repeated login gets %v and %v, want %v", again.Code, rfc2865.FramedIPAddress_Get(again), first)
	}
	if p := r.receive(start); p.Code != radius.CodeAccountingResponse {
		t.Errorf("the start is answered with %v", p.Code)
	}
	if s := r.Stats(); s.PoolUsed != 1 || s.Dropped != 0 {
		t.Errorf("%d addresses in use, %d dropped, want 1 and none", s.PoolUsed, s.Dropped)
	}
	r.Stop()
	want := []string{"keep " + nas1, "Authenticated", "Authenticated", "keep " + nas1, "Started"}
	if !slices.Equal(r.keeper.log, want) {
		t.Errorf("happened %q, want %q", r.keeper.log, want)
	}
}

// TestRestartKeepsEverything: a server whose predecessor was exchanged after each request knows what one does that answered them all.
func TestRestartKeepsEverything(t *testing.T) {
	const addresses = "10.0.0.1-10.0.0.3" // .2 is bob's
	const nas3 = "NAS-0000000000000003"
	steps := []func(*bench) *radius.Packet{
		func(b *bench) *radius.Packet { return b.pap(nas1, "bob", "builder") },
		func(b *bench) *radius.Packet {
			return accounting(b.Secret(), nas1, rfc2866.AcctStatusType_Value_Start)
		},
		func(b *bench) *radius.Packet { return b.chap(nas2, "bob", "builder") }, // takes the address over
		func(b *bench) *radius.Packet { return b.pap(nas1, "bob", "builder") },  // too late
		func(b *bench) *radius.Packet { return b.pap(nas3, "alice", "guess") },
		func(b *bench) *radius.Packet { return b.pap(nas3, "alice", "another guess") },
		func(b *bench) *radius.Packet { return b.pap(nas3, "alice", "wonderland") },
		func(b *bench) *radius.Packet { return b.pap(nas3, "alice", "third guess") },
		func(b *bench) *radius.Packet { return b.pap(nas3, "bob", "builder") },
		func(b *bench) *radius.Packet {
			return accounting(b.Secret(), nas2, rfc2866.AcctStatusType_Value_Start)
		},
		func(b *bench) *radius.Packet {
			return accounting(b.Secret(), nas1, rfc2866.AcctStatusType_Value_Stop)
		},
	}
	one, other := newRestarting(t, addresses), newRestarting(t, addresses)
	for _, r := range []*restarting{one, other} {
		if err := r.Open(Session{NASID: nas3}); err != nil {
			t.Fatal(err)
		}
		r.source = netip.MustParseAddrPort("127.0.0.1:1024")
	}
	for i, step := range steps {
		// A session that was opened and has not been heard of is for its owner to remember.
		for _, s := range other.Sessions() {
			if _, ok := other.keeper.sessions[s.NASID]; !ok {
				b, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				other.keeper.sessions[s.NASID] = b
			}
		}
		other.Stop()
		other.Server = other.keeper.newServer(ranges(t, addresses))
		first, firstEvents := one.ask(step(one.bench))
		second, secondEvents := other.ask(step(other.bench))
		if first.Code != second.Code || !reflect.DeepEqual(firstEvents, secondEvents) {
			t.Errorf("step %d: %v with events %v, want %v with %v", i, second.Code, secondEvents, first.Code, firstEvents)
		}
		byNAS := func(s *Server) map[string]SessionInfo {
			m := make(map[string]SessionInfo)
			for _, info := range s.Sessions() {
				m[info.NASID] = info
			}
			return m
		}
		if got, want := byNAS(other.Server), byNAS(one.Server); !reflect.DeepEqual(got, want) {
			t.Errorf("step %d: sessions %+v, want %+v", i, got, want)
		}
		if !reflect.DeepEqual(other.holders, one.holders) {
			t.Errorf("step %d: addresses are held by %v, want %v", i, other.holders, one.holders)
		}
		if got, want := other.Stats(), one.Stats(); got != want {
			t.Errorf("step %d: %+v, want %+v", i, got, want)
		}
	}
	if i := *one.sessions[nas1]; !i.Superseded || i.Tries == 0 || one.sessions[nas3].Tries != 2 || !one.sessions[nas2].Up {
		t.Errorf("the steps do not lead where they should: %+v %+v %+v", i, *one.sessions[nas2], *one.sessions[nas3])
	}
}

func TestSocketAndSecretBelongTogether(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, cfg := range map[string]Config{
		"no secret": {Conn: c}, "no socket": {Secret: newSecret()}, "short secret": {Conn: c, Secret: "short"},
	} {
		if s, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			s.Stop()
		}
	}
}
