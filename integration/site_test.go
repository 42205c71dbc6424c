//go:build integration

package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/integration/site"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// sites is a scene without a daemon, in which our own initiator calls strongSwan.
type sites struct {
	*fixture
	*site.Site
	host  *lab.Namespace // of the site
	local netip.Addr     // its address there
}

// peer is a strongSwan and the address to call it at.
type peer struct {
	*lab.Responder
	address netip.Addr
}

func newSites(t *testing.T) *sites {
	t.Helper()
	return &sites{fixture: surroundings(t, "", "")}
}

// open makes the site at a host.
func (s *sites) open(host *lab.Namespace, cfg ikev1.Config) {
	s.t.Helper()
	addresses, err := host.Addresses("eth0")
	s.must(err)
	if cfg.PSK == nil {
		cfg.PSK = func(netip.Addr, netip.Addr) []byte { return []byte(psk) }
	}
	s.host, s.local = host, addresses[0]
	s.must(host.Do(func() error {
		s.Site, err = site.Open(cfg)
		return err
	}))
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the site's events: %v", s.Events(0))
		}
		if err := s.Site.Close(); err != nil {
			s.t.Errorf("the site: %v", err)
		}
	})
}

// openPublic makes the site at a host without NAT.
func (s *sites) openPublic(cfg ikev1.Config) {
	s.t.Helper()
	host, _, _, err := s.PublicHost("site")
	s.must(err)
	s.open(host, cfg)
}

// peer prepares a strongSwan at a public host, which returns what comes to port 1701.
func (s *sites) peer(name string, options lab.ClientOptions) *peer {
	s.t.Helper()
	host, address, _, err := s.PublicHost(name)
	s.must(err)
	return s.peerAt(host, address, options)
}

func (s *sites) peerAt(host *lab.Namespace, address netip.Addr, options lab.ClientOptions) *peer {
	s.t.Helper()
	if options.Identity == nil && options.PSK == "" {
		options.PSK = psk
	}
	r, err := s.Responder(host, options)
	s.must(err)
	s.must(host.Echo(netip.AddrPortFrom(netip.IPv4Unspecified(), site.Port)))
	return &peer{r, address}
}

func (s *sites) start(peers ...*peer) {
	s.t.Helper()
	var clients []*lab.Client
	by := map[*lab.Client]*peer{}
	for _, p := range peers {
		clients = append(clients, p.Client)
		by[p.Client] = p
	}
	s.each(clients, func(c *lab.Client) error { return by[c].Start(s.ctx) })
}

// begin calls a peer.
func (s *sites) begin(p *peer, c ikev1.Connection) ikev1.ConnectionID {
	s.t.Helper()
	c.Local, c.Remote = netip.AddrPortFrom(s.local, 500), netip.AddrPortFrom(p.address, 500)
	id, err := s.Connect(c)
	s.must(err)
	return id
}

// connect calls a peer, and returns the child.
func (s *sites) connect(p *peer, c ikev1.Connection) (ikev1.ConnectionID, ikev1.ChildEstablished) {
	s.t.Helper()
	mark := s.Mark()
	id := s.begin(p, c)
	child, err := site.Await[ikev1.ChildEstablished](s.ctx, s.Site, mark, 1, time.Minute)
	s.must(err)
	return id, child
}

// stream begins to exchange datagrams with a peer.
func (s *sites) stream(p *peer) *site.Stream {
	s.t.Helper()
	var st *site.Stream
	s.must(s.host.Do(func() error {
		var err error
		st, err = s.Stream(s.ctx, s.local, p.address)
		return err
	}))
	return st
}

// lost ends a stream and expects at most some datagrams of it to be lost.
func (s *sites) lost(st *site.Stream, most int) []uint64 {
	s.t.Helper()
	s.must(lab.Until(s.ctx, 30*time.Second, "datagrams", func() error {
		if n := st.Sent(); n < 20 {
			return fmt.Errorf("%d were sent", n)
		}
		return nil
	}))
	sent, lost, err := st.Stop()
	s.must(err)
	s.t.Logf("%d of %d datagrams lost: %v", len(lost), sent, lost)
	if len(lost) > most {
		s.t.Errorf("%d of %d datagrams lost, want at most %d", len(lost), sent, most)
	}
	return lost
}

// clean waits until neither end has an SA in its kernel.
func (s *sites) clean(peers ...*peer) {
	s.t.Helper()
	hosts := []*lab.Namespace{s.host}
	for _, p := range peers {
		hosts = append(hosts, p.Namespace)
	}
	s.must(lab.Until(s.ctx, 60*time.Second, "the kernels have no SAs", func() error {
		for _, host := range hosts {
			if states, err := host.Run(s.ctx, "ip", "xfrm", "state", "list"); err != nil || strings.Contains(states, "spi") {
				return fmt.Errorf("%s: %s (%v)", host.Name, states, err)
			}
		}
		return nil
	}))
}

// siteCases are what TestSiteAlgorithms goes through.
var siteCases = []struct {
	phase1 ikev1.Phase1Proposal
	phase2 ikev1.Phase2Proposal
	pfs    dh.Group
	esn    bool
}{
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA1, Group: dh.MODP2048}, ikev1.Phase2Proposal{Encryption: ikev1.AESCBC, KeyBits: 128, Integrity: ikev1.HMACSHA1_96}, dh.MODP2048, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 192, Hash: keymat.SHA256, Group: dh.MODP3072}, ikev1.Phase2Proposal{Encryption: ikev1.AESCBC, KeyBits: 192, Integrity: ikev1.HMACSHA256_128}, dh.MODP3072, true},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA384, Group: dh.MODP4096}, ikev1.Phase2Proposal{Encryption: ikev1.AESCBC, KeyBits: 256, Integrity: ikev1.HMACSHA384_192}, 0, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA512, Group: dh.ECP256}, ikev1.Phase2Proposal{Encryption: ikev1.AESCBC, KeyBits: 256, Integrity: ikev1.HMACSHA512_256}, dh.ECP256, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA256, Group: dh.ECP384}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM16, KeyBits: 128}, dh.ECP384, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA1, Group: dh.ECP521}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM16, KeyBits: 192}, dh.ECP521, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA256, Group: dh.ECP256}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM16, KeyBits: 256}, 0, true},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA384, Group: dh.MODP6144}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM12, KeyBits: 128}, 0, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 192, Hash: keymat.SHA512, Group: dh.MODP8192}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM12, KeyBits: 192}, 0, false},
	{ikev1.Phase1Proposal{Cipher: keymat.TripleDES, Hash: keymat.SHA1, Group: dh.MODP1024}, ikev1.Phase2Proposal{Encryption: ikev1.TripleDES, Integrity: ikev1.HMACSHA1_96}, dh.MODP1024, false},
	{ikev1.Phase1Proposal{Cipher: keymat.TripleDES, Hash: keymat.SHA256, Group: dh.MODP1536}, ikev1.Phase2Proposal{Encryption: ikev1.TripleDES, Integrity: ikev1.HMACSHA256_128}, dh.MODP1536, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 192, Hash: keymat.SHA1, Group: dh.ECP256}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM12, KeyBits: 256}, 0, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA512, Group: dh.ECP256}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM8, KeyBits: 128}, dh.MODP4096, false},
	{ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 192, Hash: keymat.SHA384, Group: dh.ECP256}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM8, KeyBits: 192}, 0, false},
	{ikev1.Phase1Proposal{Cipher: keymat.TripleDES, Hash: keymat.SHA512, Group: dh.ECP256}, ikev1.Phase2Proposal{Encryption: ikev1.AESGCM8, KeyBits: 256}, 0, false},
}

// TestSiteAlgorithms calls one strongSwan that allows all, with one proposal for each phase at a time: every cipher, hash and group of
// either phase, with and without PFS and ESN.
func TestSiteAlgorithms(t *testing.T) {
	s := newSites(t)
	var ike, esp []string
	for _, c := range siteCases {
		ike = append(ike, c.phase1.String())
		one := c.phase2.String()
		if c.pfs != 0 {
			one += "-" + c.pfs.String()
		}
		if c.esn {
			one += "-esn"
		}
		esp = append(esp, one)
	}
	p := s.peer("peer", lab.ClientOptions{IKE: strings.Join(ike, ","), ESP: strings.Join(esp, ",")})
	s.openPublic(ikev1.Config{})
	s.start(p)
	for i, c := range siteCases {
		mark := s.Mark()
		id, child := s.connect(p, ikev1.Connection{
			Phase1: []ikev1.Phase1Proposal{c.phase1}, Phase2: []ikev1.Phase2Proposal{c.phase2}, PFS: c.pfs, ESN: c.esn,
		})
		up := site.All[ikev1.Phase1Established](s.Site, mark)
		if len(up) != 1 || up[0].Proposal != ike[i] || !strings.HasPrefix(child.Proposal, c.phase2.String()) {
			t.Errorf("%s %s: there are %v and %v", ike[i], esp[i], up, child)
		}
		states, err := s.SAs()
		s.must(err)
		if len(states) != 2 || states[0].ESN != c.esn || states[1].ESN != c.esn {
			t.Errorf("%s: the SAs are %v", esp[i], states)
		}
		s.lost(s.stream(p), 0)
		s.Disconnect(id)
		s.clean(p)
	}
}

// TestSiteRekey replaces both phases under traffic, then lets the peer delete everything, and then die.
func TestSiteRekey(t *testing.T) {
	t.Parallel()
	s := newSites(t)
	p := s.peer("peer", lab.ClientOptions{ESP: "aes256-sha1-ecp256"})
	s.openPublic(ikev1.Config{DPDInterval: time.Second, DPDTimeout: 10 * time.Second, HalfOpenTimeout: 10 * time.Second})
	s.start(p)
	c := ikev1.Connection{Lifetime: 18 * time.Second, ChildLifetime: 12 * time.Second, PFS: dh.ECP256}
	mark := s.Mark()
	id, first := s.connect(p, c)
	st := s.stream(p)
	last, err := site.Await[ikev1.ChildEstablished](s.ctx, s.Site, mark, 4, 90*time.Second)
	s.must(err)
	_, err = site.Await[ikev1.Phase1Established](s.ctx, s.Site, mark, 3, 90*time.Second)
	s.must(err)
	time.Sleep(time.Second)
	s.lost(st, 0)
	up := site.All[ikev1.Phase1Established](s.Site, mark)
	if last.Client != first.Client || !last.Rekey || !up[2].Rekey || len(s.Clients()) != 1 {
		t.Errorf("the events are %v", s.Events(mark))
	}

	s.Disconnect(id)
	s.clean(p)

	for _, end := range []struct {
		how  string
		do   func() error
		left []*peer
	}{
		{"deleted by the client", func() error { return p.IPsecDown(s.ctx) }, []*peer{p}},
		{"dead peer", p.Vanish, nil},
	} {
		mark = s.Mark()
		s.connect(p, c)
		s.must(end.do())
		gone, err := site.Await[ikev1.ClientGone](s.ctx, s.Site, mark, 1, time.Minute)
		s.must(err)
		if !strings.Contains(gone.Reason, end.how) {
			t.Errorf("the client is gone: %s; want: %s", gone.Reason, end.how)
		}
		s.clean(end.left...)
	}
}

// TestSiteRekeyByPeer: the peer that was called replaces the ESP SAs under traffic.
func TestSiteRekeyByPeer(t *testing.T) {
	t.Parallel()
	s := newSites(t)
	p := s.peer("peer", lab.ClientOptions{KeepRekeyed: true, IPsec: []string{"rekey=yes", "lifetime=9s", "margintime=5s", "rekeyfuzz=0%"}})
	s.openPublic(ikev1.Config{})
	s.start(p)
	mark := s.Mark()
	id, _ := s.connect(p, ikev1.Connection{})
	st := s.stream(p)
	last, err := site.Await[ikev1.ChildEstablished](s.ctx, s.Site, mark, 4, 90*time.Second)
	s.must(err)
	time.Sleep(time.Second)
	s.lost(st, 0)
	if !last.Rekey || len(s.Clients()) != 1 {
		t.Errorf("the events are %v", s.Events(mark))
	}
	s.Disconnect(id)
	s.clean(p)
}

// TestSiteNAT has the site behind a NAT, and then the peer. The NAT gives whoever is behind it another port.
func TestSiteNAT(t *testing.T) {
	for name, here := range map[string]bool{"site": true, "peer": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSites(t)
			options := lab.ClientOptions{IPsec: []string{"dpddelay=1s", "dpdtimeout=30s", "dpdaction=clear"}}
			behind, err := s.HomeHost("behind")
			s.must(err)
			cfg := ikev1.Config{DPDInterval: time.Second, DPDTimeout: 30 * time.Second}
			var p *peer
			if here {
				s.open(behind, cfg)
				p = s.peer("peer", options)
			} else {
				s.openPublic(cfg)
				p = s.peerAt(behind, lab.NATAddress, options)
				addresses, err := behind.Addresses("eth0")
				s.must(err)
				s.must(s.NAT.Forward("eth0", addresses[0]))
			}
			s.start(p)
			mark := s.Mark()
			id, child := s.connect(p, ikev1.Connection{})
			if !child.Encapsulated || child.Local.Port() != 4500 || child.Remote.Port() != 4500 {
				t.Errorf("there is %v from %s to %s", child, child.Local, child.Remote)
			}
			st := s.stream(p)
			if !here {
				s.must(s.NAT.Unforward())
			}
			s.must(s.NAT.Rebind("eth0", 30000, 30999))
			if here {
				s.must(lab.Until(s.ctx, 60*time.Second, "the peer has the site's new port", func() error {
					states, err := p.Run(s.ctx, "ip", "xfrm", "state", "list")
					if err == nil && !strings.Contains(states, "dport 30") {
						err = errors.New(states)
					}
					return err
				}))
			} else {
				moved, err := site.Await[ikev1.ClientMoved](s.ctx, s.Site, mark, 1, time.Minute)
				s.must(err)
				if moved.Remote.Port() < 30000 || moved.Remote.Port() > 30999 {
					t.Errorf("the peer has moved: %v", moved)
				}
			}
			moved, err := st.Passes(s.ctx, time.Minute)
			s.must(err)
			time.Sleep(500 * time.Millisecond)
			for _, number := range s.lost(st, 1200) { // 6 s: only who is behind the NAT can open the new way
				if number > moved {
					t.Errorf("datagram %d was lost after %d had come back by the new way", number, moved)
				}
			}
			s.Disconnect(id)
			s.clean(p)
		})
	}
}

// TestSiteRefused calls peers that do not want what the site has.
func TestSiteRefused(t *testing.T) {
	t.Parallel()
	s := newSites(t)
	stranger := s.peer("stranger", lab.ClientOptions{PSK: "another key"})
	picky := s.peer("picky", lab.ClientOptions{IKE: "aes256-sha512-ecp521"})
	espPicky := s.peer("esp", lab.ClientOptions{ESP: "aes256gcm16-ecp521"})
	s.openPublic(ikev1.Config{HalfOpenTimeout: 10 * time.Second})
	s.start(stranger, picky, espPicky)
	mark := s.Mark()
	want := map[ikev1.ConnectionID]ikev1.Cause{
		s.begin(stranger, ikev1.Connection{}): ikev1.CauseMessage6Lost,
		s.begin(picky, ikev1.Connection{}):    ikev1.CausePeerRefuses,
	}
	s.begin(espPicky, ikev1.Connection{})
	_, err := site.Await[ikev1.Phase1Failed](s.ctx, s.Site, mark, 2, time.Minute)
	s.must(err)
	for _, e := range site.All[ikev1.Phase1Failed](s.Site, mark) {
		t.Log(e)
		if e.Code != want[e.Connection] {
			t.Errorf("connection %d failed because of %s, want %s", e.Connection, e.Code, want[e.Connection])
		}
	}
	refused, err := site.Await[ikev1.Phase2Failed](s.ctx, s.Site, mark, 1, time.Minute)
	s.must(err)
	t.Log(refused)
	if refused.Code != ikev1.CauseQuickRefused || !strings.Contains(refused.Cause, "NO-PROPOSAL-CHOSEN") {
		t.Errorf("Quick Mode failed because of %s: %s", refused.Code, refused.Cause)
	}
}
