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
	// Conn and Secret are those of a predecessor, whose clients go on with this server. The server closes the connection in Stop. Nil
	// is a new socket, and a new secret.
	Conn   *net.UDPConn
	Secret string
	// Keep is told each session that a request has changed, before Notify and before the reply leaves, so that what a peer has been
	// told can be adopted by a successor; not the changes of Open, Adopt and Close. It is called with the session locked: never after
	// Close of it, and it must not call the server.
	Keep func(SessionInfo)
}

// Session is a PPP session that may authenticate.
type Session struct {
	// NASID identifies it: 16 to 64 printable characters, random, because it vouches for requests.
	NASID string
	// PeerAddr is the public address of the peer, for the record.
	PeerAddr netip.Addr
}

// SessionInfo is all that is known of an open session.
type SessionInfo struct {
	Session
	User    string // empty before authentication
	Method  Method
	Address netip.Addr
	Up      bool // between Started and Stopped
	Tries   int  // logins since the last that succeeded
	// Superseded sessions have lost their address to another session of the same user; Address still says which it was.
	Superseded bool
}

// Server is a RADIUS server on loopback. Its methods may be called concurrently.
type Server struct {
	conn    *net.UDPConn
	secret  string
	notify  func(Event)
	keep    func(SessionInfo)
	replies *cache // of the serving goroutine
	begun   sync.Once
	stopped chan struct{}

	mu       sync.Mutex // guards what follows
	users    directory
	methods  []Method
	pool     *pool.Pool
	sessions map[string]*SessionInfo
	holders  map[netip.Addr]string // NASID by address given
	dropped  uint64
}

// minSecret is the length of the shortest secret that is taken over.
const minSecret = 16

// New makes a server, on a free port of 127.0.0.1 unless it gets a socket. It answers nothing before Start, so that requests that wait
// in the socket of a predecessor find the sessions that are adopted meanwhile.
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
	if cfg.Keep == nil {
		cfg.Keep = func(SessionInfo) {}
	}
	if (cfg.Conn == nil) != (cfg.Secret == "") || cfg.Conn != nil && len(cfg.Secret) < minSecret {
		return nil, fmt.Errorf("RADIUS: want both a socket and its secret of at least %d characters, or neither", minSecret)
	}
	if cfg.Conn == nil {
		cfg.Secret = newSecret()
		if cfg.Conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			return nil, fmt.Errorf("listen for RADIUS on loopback (is the interface lo up?): %w", err)
		}
	}
	s := &Server{
		conn:     cfg.Conn,
		secret:   cfg.Secret,
		notify:   cfg.Notify,
		keep:     cfg.Keep,
		methods:  cfg.Methods,
		replies:  newCache(),
		stopped:  make(chan struct{}),
		users:    users,
		pool:     cfg.Pool,
		sessions: make(map[string]*SessionInfo),
		holders:  make(map[netip.Addr]string),
	}
	s.reserve()
	return s, nil
}

// Start begins to answer requests, until Stop.
func (s *Server) Start() { s.begun.Do(func() { go s.serve() }) }

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
	s.sessions[o.NASID] = &SessionInfo{Session: o}
	return nil
}

// Adopt admits a session of a predecessor of this server, as Keep was last told it, with the address that it has.
func (s *Server) Adopt(i SessionInfo) error {
	if err := s.Open(i.Session); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.Address.IsValid() && !i.Superseded {
		err := s.pool.Take(i.Address)
		if _, taken := s.holders[i.Address]; err != nil || taken {
			delete(s.sessions, i.NASID)
			return fmt.Errorf("adopt the session of user %q: address %v: %w", i.User, i.Address, pool.ErrInUse)
		}
		s.holders[i.Address] = i.NASID
	}
	s.sessions[i.NASID] = &i
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
func (s *Server) release(o *SessionInfo) {
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
		infos = append(infos, *o)
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
	s.begun.Do(func() { close(s.stopped) }) // it was never started
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
	before := *o
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
	s.keepChanges(before, o, events)
	reply, err := answer.Encode()
	if err != nil {
		s.dropped++
		return nil, events
	}
	s.replies.put(key, reply)
	return reply, events
}

// keepChanges has what a request of session o changed written down. The caller holds mu.
func (s *Server) keepChanges(before SessionInfo, o *SessionInfo, events []Event) {
	for _, e := range events {
		if e, ok := e.(Superseded); ok {
			s.keep(*s.sessions[e.NASID])
		}
	}
	if *o != before {
		s.keep(*o)
	}
}
