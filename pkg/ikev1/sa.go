package ikev1

import (
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// saState is the state of an ISAKMP SA, named by what it waits for.
type saState uint8

const (
	// A Main Mode that the peer began.
	awaitMessage3 saState = iota + 1 // message 2 was sent
	awaitMessage5                    // message 4 was sent

	awaitHashI // an Aggressive Mode that the peer began: message 2 was sent

	// One that we began.
	awaitMessage2
	awaitPublic // our public value is being computed
	awaitMessage4
	awaitMessage6

	// Either.
	awaitDH           // the secret is being computed
	awaitVerification // the peer's signature is being checked
	awaitSignature    // ours is being made

	established // both sides are authentic
	dead        // removed; only pending actions still point here
)

// isakmpSA is an ISAKMP SA, or a phase 1 exchange on the way to one.
type isakmpSA struct {
	name   cookies
	serial uint64
	cfg    *Config // in force when the handshake began; nil once established
	state  saState
	timer  timer

	local, remote netip.AddrPort
	encapsulated  bool

	// initiation is where message 1 came from; a late copy of it is recognised by that as long as the SA lives.
	initiation initiation
	halfOpen   halfOpenEntry

	initiator  bool        // we are
	aggressive bool        // Aggressive Mode began it, not Main Mode
	connection *connection // that we began it for, nil if we did not
	method     pki.Method
	proposal   Phase1Proposal
	lifetime   time.Duration
	peer       peerFeatures

	// offer is the body of the initiator's SA payload, nil once established; shortened says that we allow less than the lifetime
	// in it.
	offer     []byte
	shortened bool

	handshake *handshake   // nil before message 3 of a peer, and once established
	fragments *fragmentSet // nil unless a message is under reassembly
	cache     exchangeCache

	// The rest belongs to an established SA, but for the keys.
	client *client
	quick  map[uint32]*quickMode
	*proved
}

// proved is what an SA has from message 4 on, or message 2 of Aggressive Mode. A Main Mode that may come from a false address does
// without.
type proved struct {
	// iv is that of the next message of phase 1, and after phase 1 the last block of it, from which the IVs of later exchanges come.
	keys keymat.Keys
	cbc  keymat.CBC
	iv   []byte

	// The rest belongs to an established SA.
	expires time.Time

	// replaceAt is when we begin a Main Mode that replaces it, zero for never; retired says that one has.
	replaceAt time.Time
	retired   bool

	theirIDs  idMemory // of exchanges of the peer, but for DPD, which its sequence numbers protect
	ourIDs    idMemory // a message of ours must not count as one of the peer's when somebody sends it back
	contacted bool     // INITIAL-CONTACT was acted on
	dpd       deadPeerDetection
}

// newSA makes the SA that answers a message 1. It draws a cookie that is not zero and not in use.
func (e *Engine) newSA(d Datagram, initiator wire.Cookie) (*isakmpSA, error) {
	name, err := e.newName(func(ours wire.Cookie) cookies { return cookies{initiator, ours} })
	if err != nil {
		return nil, err
	}
	e.lastSA++
	sa := &isakmpSA{
		name: name, serial: e.lastSA, cfg: e.cfg, state: awaitMessage3,
		local: d.Local, remote: d.Remote, encapsulated: d.Encapsulated,
		initiation: initiationOf(d, initiator),
	}
	sa.timer.owner = sa
	e.suspects.sas = append(e.suspects.sas, sa)
	e.sas[name] = sa
	e.initiated[sa.initiation] = sa
	e.halfOpen.add(sa)
	e.timers.set(&sa.timer, e.now.Add(e.cfg.HalfOpenTimeout))
	return sa, nil
}

// newName draws a cookie that is not zero and, in the name that complete makes of it, not in use.
func (e *Engine) newName(complete func(ours wire.Cookie) cookies) (cookies, error) {
	for {
		b, err := e.random(len(wire.Cookie{}))
		if err != nil {
			return cookies{}, err
		}
		ours := wire.Cookie(b)
		if name := complete(ours); ours != (wire.Cookie{}) && e.sas[name] == nil {
			return name, nil
		}
	}
}

// find returns the SA of a message, nil if there is none between these two addresses. Ports may differ: a client floats, and
// NATs rebind. Of a client behind a NAT the address may, too.
func (e *Engine) find(d Datagram, h wire.Header) *isakmpSA {
	sa := e.sas[cookies{h.InitiatorCookie, h.ResponderCookie}]
	if sa == nil {
		sa = e.sas[cookies{i: h.InitiatorCookie}] // one of ours, before the peer has named its cookie
	}
	if sa == nil || sa.local.Addr() != d.Local.Addr() || sa.remote.Addr() != d.Remote.Addr() && !sa.roams(d) {
		return nil
	}
	if sa.state != established {
		e.suspects.sas = append(e.suspects.sas, sa)
	}
	return sa
}

// dropSA forgets sa with its unfinished exchanges and overwrites its keys. Children that are established stay; a client that
// has nothing left is gone.
func (e *Engine) dropSA(sa *isakmpSA, reason string) {
	if sa.state == dead {
		return
	}
	// A Diffie-Hellman that is being computed still uses the secret; it is destroyed when the result comes.
	if sa.handshake != nil && sa.state != awaitDH && sa.state != awaitPublic {
		sa.handshake.destroy()
	}
	sa.state = dead
	e.suspects.sas = append(e.suspects.sas, sa)
	e.clearSA(sa, reason)
	e.suspects.sas = e.suspects.sas[:len(e.suspects.sas)-1]
}

// clearSA removes what there is of an SA that is dead.
func (e *Engine) clearSA(sa *isakmpSA, reason string) {
	e.timers.set(&sa.timer, time.Time{})
	e.halfOpen.remove(sa)
	delete(e.sas, sa.name)
	if e.initiated[sa.initiation] == sa {
		delete(e.initiated, sa.initiation)
	}
	e.touch(sa.client)
	if sa.client != nil {
		sa.client.removeSA(sa) // what is to be said about its Quick Modes is said in another one
	}
	for _, q := range sa.quickModes() {
		e.dropQuickMode(q, reason)
	}
	if sa.fragments != nil {
		e.abandon(sa.fragments)
	}
	if sa.proved != nil {
		sa.keys.Zero()
		keymat.Zero(sa.iv)
	}
	if conn := sa.connection; conn != nil && conn.calling == sa {
		conn.calling = nil
		if conn.client == nil {
			delete(e.connections, conn.id) // it was the first attempt
		}
	}
	if sa.client != nil {
		e.rearmNewest(sa.client)
		e.reap(sa.client, reason)
	}
}

// expire is the end of a handshake, of the life of an SA, or the time for dead peer detection.
func (sa *isakmpSA) expire(e *Engine) {
	switch {
	case sa.state != established && sa.initiator:
		e.callAgain(sa)
	case sa.state != established:
		if (sa.state == awaitMessage5 || sa.state == awaitHashI) && sa.handshake.message5Bad == 0 {
			e.failWaiting(sa)
			return
		}
		if sa.state == awaitVerification {
			cause, facts := verificationLate(sa)
			e.failHandshake(sa, DropTimeout, cause, facts)
			return
		}
		e.dropSA(sa, "handshake timed out")
	case !e.now.Before(sa.expires) && sa.retired:
		e.deleteSA(sa, "replaced by a newer one")
	case !e.now.Before(sa.expires):
		e.dropSA(sa, "ISAKMP SA expired")
	case !sa.replaceAt.IsZero() && !e.now.Before(sa.replaceAt):
		e.reauthenticate(sa)
	default:
		e.checkPeer(sa)
	}
}

// rearm sets the timer of an established SA.
func (e *Engine) rearm(sa *isakmpSA) {
	if sa.state == established {
		e.timers.set(&sa.timer, earliest(sa.expires, sa.replaceAt, e.dpdDeadline(sa)))
	}
}

// idMemory remembers the latest message IDs.
type idMemory struct {
	ids  []uint32
	next int // where the next one goes once there are maxUsedIDs
}

func (m *idMemory) has(id uint32) bool { return slices.Contains(m.ids, id) }

func (m *idMemory) add(id uint32) {
	if len(m.ids) < maxUsedIDs {
		m.ids = append(m.ids, id)
		return
	}
	m.ids[m.next] = id
	m.next = (m.next + 1) % maxUsedIDs
}

// used says whether a message ID has been seen in sa, within the memory of it.
func (sa *isakmpSA) used(id uint32) bool { return sa.theirIDs.has(id) || sa.ourIDs.has(id) }

// newMessageID draws the ID of an exchange that we begin.
func (e *Engine) newMessageID(sa *isakmpSA) (uint32, error) {
	for {
		b, err := e.random(4)
		if err != nil {
			return 0, err
		}
		id := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		if id != 0 && !sa.used(id) && sa.quick[id] == nil {
			sa.ourIDs.add(id)
			e.touch(sa.client)
			return id, nil
		}
	}
}
