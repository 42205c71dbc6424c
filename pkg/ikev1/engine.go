package ikev1

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Engine is one end of many ISAKMP SAs: the responder of those who call, the initiator of its connections. It is not safe for concurrent use: one goroutine, or one lock, owns it.
type Engine struct {
	cfg  *Config // for what begins now; a handshake keeps that which it began with
	rand io.Reader

	// now is the time of the call that is being served.
	now time.Time
	out Output

	phase1 ranking[Phase1Proposal]
	phase2 ranking[Phase2Proposal]

	sas       map[cookies]*isakmpSA
	initiated map[initiation]*isakmpSA
	halfOpen  halfOpenTable
	clients   map[ClientID]*client
	byKey     map[clientKey]*client
	perHost   map[place]int // clients
	spis      map[uint32]*child
	pending   map[ActionID]pendingAction

	connections map[ConnectionID]*connection

	timers   timerHeap
	answers  limiter // of failures in phase 1
	failures limiter // in phase 2
	versions limiter // of IKEv2
	hurried  limiter // Diffie-Hellmans for message 1 of Aggressive Mode

	strangers fragmentPool // of SAs that are not authenticated
	known     fragmentPool // of those that are

	// suspects are those of the call that is being served; silent says that they are being given up.
	suspects suspects
	silent   bool

	// touched are the clients whose records the call that is being served may change; seed is that of the sums of records.
	touched []*client
	seed    maphash.Seed

	// refusing says that no handshake may begin, stopped that nothing else may either.
	refusing, stopped bool

	lastConnection ConnectionID
	lastClient     ClientID
	lastChild      ChildID
	lastAction     ActionID
	lastSA         uint64
}

// cookies is the name of an ISAKMP SA.
type cookies struct{ i, r wire.Cookie }

// initiation is what tells one Main Mode message 1 from another before there is a responder's cookie.
// It is a hash of both addresses and the initiator's cookie, because it is all that is kept of many strangers.
type initiation [16]byte

func initiationOf(d Datagram, cookie wire.Cookie) initiation {
	b := make([]byte, 0, 64)
	for _, a := range []netip.AddrPort{d.Local, d.Remote} {
		ip := a.Addr().As16()
		b = binary.BigEndian.AppendUint16(append(b, ip[:]...), a.Port())
	}
	sum := sha256.Sum256(append(b, cookie[:]...))
	return initiation(sum[:])
}

// New returns an engine that draws cookies, nonces, SPIs and secrets from rand, which must be cryptographically secure. The
// error says which part of cfg cannot be used.
func New(cfg Config, rand io.Reader) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if rand == nil {
		return nil, errors.New("ikev1: no source of randomness given: pass crypto/rand.Reader")
	}
	return &Engine{
		cfg:       &cfg,
		rand:      rand,
		phase1:    rank(cfg.Phase1),
		phase2:    rank(cfg.Phase2),
		sas:       make(map[cookies]*isakmpSA),
		initiated: make(map[initiation]*isakmpSA),
		halfOpen:  newHalfOpenTable(),
		clients:   make(map[ClientID]*client),
		byKey:     make(map[clientKey]*client),
		perHost:   make(map[place]int),
		spis:      make(map[uint32]*child),
		pending:   make(map[ActionID]pendingAction),

		connections: make(map[ConnectionID]*connection),
		strangers:   fragmentPool{limit: strangersReassembly},
		known:       fragmentPool{limit: clientsReassembly},
		seed:        maphash.MakeSeed(),
	}, nil
}

// Initial says whether a message would begin an exchange of phase 1: it has no responder's cookie (RFC 2408 section 3.1). Anybody can send such
// in anybody's name, so an owner with too much to do should not let them stand in the way of others.
func Initial(message []byte) bool {
	const cookies = 16
	return len(message) >= cookies && [8]byte(message[cookies/2:cookies]) == [8]byte{}
}

// Handle takes a message that arrived at now.
func (e *Engine) Handle(now time.Time, d Datagram) Output {
	e.now = now
	e.guarded(d.Remote, func() { e.receive(d) })
	return e.take()
}

// Advance does what is due at now. It may be called at any time.
func (e *Engine) Advance(now time.Time) Output {
	e.now = now
	for {
		t := e.timers.due(now)
		if t == nil {
			return e.take()
		}
		e.expireGuarded(t.owner)
	}
}

// Next returns when Advance has something to do, zero for never.
func (e *Engine) Next() time.Time { return e.timers.next() }

// CloseClient tells the client that its SAs are deleted, and forgets it. An unknown id is no error.
func (e *Engine) CloseClient(now time.Time, id ClientID, reason string) Output {
	e.now = now
	if c := e.clients[id]; c != nil {
		e.closeGuarded(c, reason)
	}
	return e.take()
}

// Refuse begins the end: no handshake starts from now on, while those under way and the clients go on. What an owner says to its
// clients before [Engine.Shutdown] is not answered by new ones then.
func (e *Engine) Refuse() { e.refusing = true }

// Shutdown closes every client and forgets every handshake. Nothing begins afterwards; actions that are under way are still to be
// reported.
func (e *Engine) Shutdown(now time.Time) Output {
	e.now = now
	e.refusing, e.stopped = true, true
	for _, id := range slices.Sorted(maps.Keys(e.clients)) {
		e.closeGuarded(e.clients[id], "the server shuts down")
	}
	for _, sa := range slices.SortedFunc(maps.Values(e.sas), func(a, b *isakmpSA) int { return cmp.Compare(a.serial, b.serial) }) {
		e.dropSA(sa, "the server shuts down")
	}
	return e.take()
}

// Clients returns a snapshot of the clients, ordered by ID.
func (e *Engine) Clients() []ClientInfo {
	infos := make([]ClientInfo, 0, len(e.clients))
	for _, id := range slices.Sorted(maps.Keys(e.clients)) {
		infos = append(infos, e.clients[id].info())
	}
	return infos
}

// receive does what is common to all messages and finds out which exchange one belongs to.
func (e *Engine) receive(d Datagram) {
	d.Local, d.Remote = unmapped(d.Local), unmapped(d.Remote)
	if len(d.Payload) == 1 && d.Payload[0] == 0xff {
		return // a NAT keepalive (RFC 3948 section 2.3) that came this far
	}
	d.Payload = withoutMarker(d)
	if len(d.Payload) > maxDatagram {
		e.drop(d, DropTooLarge)
		return
	}
	h, err := wire.ParseHeader(d.Payload)
	if err != nil {
		e.drop(d, DropMalformed)
		return
	}
	d.Payload = d.Payload[:h.Length]
	switch {
	case h.Version>>4 == 2:
		e.refuseIKEv2(d, h)
	case h.Version>>4 != 1:
		e.drop(d, DropVersion)
	case h.InitiatorCookie == wire.Cookie{}:
		e.drop(d, DropMalformed)
	default:
		e.dispatch(d, h)
	}
}

func (e *Engine) dispatch(d Datagram, h wire.Header) {
	if e.stopped {
		e.drop(d, DropShuttingDown)
		return
	}
	if h.NextPayload == wire.PayloadFragment {
		// Before the encryption flag is looked at: racoon sets it on fragments, which are in the clear.
		e.handleFragment(d, h)
		return
	}
	switch h.Exchange {
	case wire.ExchangeMain:
		e.handleMain(d, h)
	case wire.ExchangeQuick:
		e.handleQuick(d, h)
	case wire.ExchangeInformational:
		e.handleInformational(d, h)
	case wire.ExchangeAggressive:
		e.handleAggressive(d, h)
	case wire.ExchangeTransaction:
		e.refuseExchange(d, h, DropTransaction, "XAUTH or Mode Config")
	case wire.ExchangeNewGroup:
		e.refuseExchange(d, h, DropExchange, "New Group Mode")
	default:
		e.drop(d, DropExchange)
	}
}

// withoutMarker removes a non-ESP marker from a message on port 500, where it has no place but is sent by some clients. Four
// zero octets may also be the beginning of a cookie, so the header behind them has to fit exactly.
func withoutMarker(d Datagram) []byte {
	p := d.Payload
	if d.Encapsulated || len(p) < 4+wire.HeaderLen || [4]byte(p) != [4]byte{} {
		return p
	}
	if h, err := wire.ParseHeader(p[4:]); err == nil && int(h.Length) == len(p)-4 && h.Version == wire.Version1 {
		return p[4:]
	}
	return p
}

// unmapped turns an IPv4 address in the form of IPv6 into IPv4, so that addresses compare equal.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// take returns what the call has gathered.
func (e *Engine) take() Output {
	e.record()
	out := e.out
	e.out = Output{}
	return out
}

func (e *Engine) emit(ev Event) { e.out.Events = append(e.out.Events, ev) }

func (e *Engine) drop(d Datagram, reason DropReason) {
	e.emit(Dropped{Remote: d.Remote, Reason: reason})
}

// send puts a message for the peer of sa into the output, in fragments if it is long, and returns it.
func (e *Engine) send(sa *isakmpSA, message []byte) []byte {
	for _, part := range sa.split(message) {
		e.out.Send = append(e.out.Send, Datagram{Local: sa.local, Remote: sa.remote, Encapsulated: sa.encapsulated, Payload: part})
	}
	return message
}

// random returns n octets.
func (e *Engine) random(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(e.rand, b); err != nil {
		return nil, fmt.Errorf("drawing %d random octets: %w", n, err)
	}
	return b, nil
}
