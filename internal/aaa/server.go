package aaa

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/l2tpctl/l2tpctl/internal/pool"
	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
)

// Config says who may log in and what they get.
type Config struct {
	// Users are the local users.
	Users []User
	// Pool gives addresses to users that have none of their own. The server owns it from now on. Nil is an empty pool.
	Pool *pool.Pool
	// Methods lists the accepted methods; empty accepts all of them.
	Methods []Method
	// Notify hears of what happens, in order. It is called from the server's goroutine, which answers no request until it
	// returns, and must not call Stop.
	Notify func(Event)
}

// Session is a PPP session that may authenticate.
type Session struct {
	// NASID identifies it: 16 to 64 printable characters, random, because it vouches for requests.
	NASID string
	// PeerAddr is the public address of the peer, for the record.
	PeerAddr netip.Addr
}

// SessionInfo is what is known of an open session.
type SessionInfo struct {
	Session
	User    string // empty before authentication
	Method  Method
	Address netip.Addr
	Up      bool // between Started and Stopped
}

// session is the server's state of one session.
type session struct {
	SessionInfo
	tries int
	// superseded sessions have lost their address to another session of the same user; Address still says which it was.
	superseded bool
}

// Server is a RADIUS server on loopback. Its methods may be called concurrently.
type Server struct {
	conn    *net.UDPConn
	secret  string
	notify  func(Event)
	replies *cache // of the serving goroutine
	stopped chan struct{}

	mu       sync.Mutex // guards what follows
	users    directory
	methods  []Method
	pool     *pool.Pool
	sessions map[string]*session
	holders  map[netip.Addr]string // NASID by address given
	dropped  uint64
}

// New starts a server on a free port of 127.0.0.1.
func New(cfg Config) (*Server, error) {
	users, err := newDirectory(cfg.Users)
	if err != nil {
		return nil, err
	}
	if cfg.Pool == nil {
		if cfg.Pool, err = pool.New(nil); err != nil {
			return nil, err
		}
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Event) {}
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for RADIUS on loopback (is the interface lo up?): %w", err)
	}
	s := &Server{
		conn:     conn,
		secret:   newSecret(),
		notify:   cfg.Notify,
		methods:  cfg.Methods,
		replies:  newCache(),
		stopped:  make(chan struct{}),
		users:    users,
		pool:     cfg.Pool,
		sessions: make(map[string]*session),
		holders:  make(map[netip.Addr]string),
	}
	s.reserve()
	go s.serve()
	return s, nil
}

// newSecret returns 32 characters of base32 text: 160 random bits.
func newSecret() string { return (rand.Text() + rand.Text())[:32] }

// NewNASID returns an identifier for a session: 26 characters of base32 text, 130 random bits.
func NewNASID() string { return rand.Text() }

// reserve keeps the users' own addresses out of the pool's hands.
func (s *Server) reserve() {
	for _, u := range s.users {
		if u.Address.IsValid() {
			s.pool.Reserve(u.Address)
		}
	}
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Secret is what the server shares with its clients: 32 printable characters.
func (s *Server) Secret() string { return s.secret }

// Open admits a session.
func (s *Server) Open(o Session) error {
	if len(o.NASID) < 16 || len(o.NASID) > 64 || strings.ContainsFunc(o.NASID, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return errors.New("session identifier: want 16 to 64 printable characters")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sessions[o.NASID]; ok {
		return errors.New("the session identifier is in use")
	}
	s.sessions[o.NASID] = &session{SessionInfo: SessionInfo{Session: o}}
	return nil
}

// Adopt admits a session that authenticated with a predecessor of this server and has its address.
func (s *Server) Adopt(i SessionInfo) error {
	if err := s.Open(i.Session); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.Address.IsValid() {
		err := s.pool.Take(i.Address)
		if _, taken := s.holders[i.Address]; err != nil || taken {
			delete(s.sessions, i.NASID)
			return fmt.Errorf("adopt the session of user %q: address %v: %w", i.User, i.Address, pool.ErrInUse)
		}
		s.holders[i.Address] = i.NASID
	}
	s.sessions[i.NASID].SessionInfo = i
	return nil
}

// Close forgets a session and frees its address. Requests with its identifier are dropped from now on, so pppd should have
// exited: what it reports at its end would be lost, and it would wait for the answer.
func (s *Server) Close(nasID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.sessions[nasID]; ok {
		s.release(o)
		delete(s.sessions, nasID)
	}
}

// release takes the address back. The caller holds mu.
func (s *Server) release(o *session) {
	if o.Address.IsValid() && s.holders[o.Address] == o.NASID {
		delete(s.holders, o.Address)
		s.pool.Free(o.Address)
	}
	o.Address = netip.Addr{}
}

// Configure puts the users, methods and pool of cfg in the place of those that the server has; nil keeps the pool. Sessions that are up
// stay, with their addresses, which nobody else gets before they end; an address that was a user's own stays out of the pool that is kept.
// On an error nothing changes.
func (s *Server) Configure(cfg Config) error {
	d, err := newDirectory(cfg.Users)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users, s.methods = d, cfg.Methods
	if cfg.Pool != nil {
		s.pool = cfg.Pool
	}
	s.reserve()
	if cfg.Pool != nil {
		for a := range s.holders {
			_ = s.pool.Take(a) // once for each address; one of a user's own, or outside the new ranges, is fine
		}
	}
	return nil
}

// Sessions returns the open sessions in no order.
func (s *Server) Sessions() []SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]SessionInfo, 0, len(s.sessions))
	for _, o := range s.sessions {
		infos = append(infos, o.SessionInfo)
	}
	return infos
}

// Stats are counts of the server.
type Stats struct {
	PoolSize, PoolUsed int
	Dropped            uint64 // requests that were malformed, not authentic or of no open session
}

// Stats returns the server's counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{PoolSize: s.pool.Size(), PoolUsed: s.pool.Used(), Dropped: s.dropped}
}

// Stop closes the socket and returns when the last Notify has.
func (s *Server) Stop() {
	s.conn.Close()
	<-s.stopped
}

// serve answers one request after another: the work for one is some microseconds.
func (s *Server) serve() {
	defer close(s.stopped)
	buf := make([]byte, radius.MaxPacketLength)
	for {
		n, source, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier reply
		}
		reply, events := s.handle(buf[:n], source)
		// The owner knows before pppd goes on.
		for _, e := range events {
			s.notify(e)
		}
		if reply == nil {
			continue
		}
		_, _ = s.conn.WriteToUDPAddrPort(reply, source) // pppd asks again
	}
}

// handle returns the reply to a request, nil for none.
func (s *Server) handle(b []byte, source netip.AddrPort) ([]byte, []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := []byte(s.secret)
	if !radius.IsAuthenticRequest(b, secret) {
		s.dropped++
		return nil, nil
	}
	p, err := radius.Parse(b, secret)
	if err != nil {
		s.dropped++
		return nil, nil
	}
	o, ok := s.sessions[rfc2865.NASIdentifier_GetString(p)]
	if !ok {
		s.dropped++
		return nil, nil
	}
	key := requestKey{source, byte(p.Code), p.Identifier, p.Authenticator}
	if reply, ok := s.replies.get(key); ok {
		return reply, nil
	}
	var answer *radius.Packet
	var events []Event
	switch p.Code {
	case radius.CodeAccessRequest:
		answer, events = s.authenticate(p, o)
	case radius.CodeAccountingRequest:
		answer, events = s.account(p, o)
	default:
		s.dropped++
		return nil, nil
	}
	reply, err := answer.Encode()
	if err != nil {
		s.dropped++
		return nil, events
	}
	s.replies.put(key, reply)
	return reply, events
}
