package ikev1

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// childState is the state of a child.
type childState uint8

const (
	// The numbers stand in records.
	childLarval      childState = iota + 1 // Quick Mode is under way
	childOutbound                          // message 3 came, the outbound SA is being installed
	childEstablished                       // both SAs are installed
	childDead                              // removed; only pending actions still point here
)

// child is a pair of ESP SAs.
type child struct {
	id     ChildID
	client *client
	origin uint64 // serial of the ISAKMP SA whose Quick Mode made it
	state  childState
	timer  timer

	spiIn, spiOut uint32
	local, remote netip.AddrPort
	encapsulated  bool
	proposal      Phase2Proposal
	name          string
	esn           bool
	lifetime      time.Duration
	lifetimeBytes uint64

	in, out espKeys

	// terms are what to ask for in a Quick Mode that replaces the child; initiator says that it is our turn to begin it, at
	// rekeyAt. replaces is the child whose place this one takes, retired says that another has taken its own, so that expires is earlier
	// than the life of the child ends. The old child carries our traffic until switchAt, zero if it is time.
	terms     quickTerms
	initiator bool
	rekeyAt   time.Time
	replaces  *child
	switchAt  time.Time
	retired   bool

	established, expires, ends time.Time
}

// espKeys are the keys of one direction.
type espKeys struct {
	encryption, integrity []byte

	// asked says that an action to install them was given to the owner, lent that it was not reported yet: until then the
	// owner uses these octets.
	asked, lent bool
}

// agreed says that both sides have the keys: message 3 has come.
func (ch *child) agreed() bool { return ch.state == childOutbound || ch.state == childEstablished }

// deadline returns when there is something to do for a child that is agreed upon.
func (ch *child) deadline() time.Time {
	if !ch.switchAt.IsZero() {
		return ch.switchAt
	}
	return earliest(ch.rekeyAt, ch.expires)
}

// zero overwrites the keys unless they are in use.
func (k *espKeys) zero() {
	if !k.lent {
		keymat.Zero(k.encryption, k.integrity)
	}
}

// newChild makes a child of the client of sa with an SPI that is not in use.
func (e *Engine) newChild(sa *isakmpSA) (*child, error) {
	var spi uint32
	for spi < minSPI || e.spis[spi] != nil {
		b, err := e.random(4)
		if err != nil {
			return nil, err
		}
		spi = binary.BigEndian.Uint32(b)
	}
	e.lastChild++
	ch := &child{
		id: e.lastChild, client: sa.client, origin: sa.serial, state: childLarval, spiIn: spi,
		local: sa.local, remote: sa.remote, encapsulated: sa.encapsulated,
	}
	ch.timer.owner = ch
	e.spis[spi] = ch
	sa.client.children = append(sa.client.children, ch)
	return ch, nil
}

// derive computes the keys of both directions (RFC 2409 section 5.5).
func (ch *child) derive(sa *isakmpSA, shared, ni, nr []byte) {
	encLen, intLen := ch.proposal.encryptionKeyLen(), ch.proposal.Integrity.KeyLen()
	cut := func(spi uint32) espKeys {
		k := keymat.ESPKeymat(sa.proposal.Hash, sa.keys.SKEYIDd, shared, byte(wire.ProtocolESP), spi, ni, nr, encLen+intLen)
		return espKeys{encryption: k[:encLen:encLen], integrity: k[encLen:]}
	}
	ch.in, ch.out = cut(ch.spiIn), cut(ch.spiOut)
}

// sa returns one direction for an action.
func (ch *child) sa(spi uint32, k espKeys) ChildSA {
	return ChildSA{
		Client: ch.client.id, Child: ch.id, SPI: spi,
		Local: ch.local, Remote: ch.remote, Encapsulated: ch.encapsulated,
		Encryption: ch.proposal.Encryption, Integrity: ch.proposal.Integrity,
		EncryptionKey: k.encryption, IntegrityKey: k.integrity, ESN: ch.esn, Lifetime: ch.lifetime, LifetimeBytes: ch.lifetimeBytes,
	}
}

// agree lets the child live from now on, since the client uses it from now on.
func (e *Engine) agree(ch *child) {
	ch.state, ch.client.hadChild = childOutbound, true
	e.timers.set(&ch.client.wait.timer, time.Time{})
	ch.expires = e.now.Add(ch.lifetime)
	if ch.initiator {
		ch.rekeyAt = e.rekeyTime(ch.lifetime)
	}
}

// installOutbound asks for the outbound SA.
func (e *Engine) installOutbound(ch *child) {
	ch.switchAt = time.Time{}
	ch.out.asked, ch.out.lent = true, true
	e.timers.set(&ch.timer, ch.deadline())
	e.act(pendingAction{kind: pendingOutbound, child: ch}, func(id ActionID) Action {
		return InstallOutbound{ID: id, SA: ch.sa(ch.spiOut, ch.out)}
	})
}

// outboundInstalled takes the result of InstallOutbound.
func (e *Engine) outboundInstalled(ch *child, err error) {
	ch.out.lent = false
	ch.out.zero()
	if ch.state != childOutbound {
		return
	}
	c := ch.client
	if err != nil {
		e.failQuick(c, DropInstall, because(CauseInstall, Facts{Detail: "outbound: " + err.Error()}))
		e.sendDeleteChild(ch)
		e.removeChild(ch, "the outbound SA could not be installed", false)
		e.reap(c, "the outbound SA could not be installed")
		return
	}
	ch.state = childEstablished
	ch.established = e.now
	others := 0
	for _, other := range c.children {
		if other != ch && other.state == childEstablished {
			others++
		}
	}
	e.emit(ChildEstablished{
		Client: c.id, Child: ch.id, Local: ch.local, Remote: ch.remote, Encapsulated: ch.encapsulated,
		SPIIn: ch.spiIn, SPIOut: ch.spiOut, Proposal: ch.name, Rekey: others > 0,
	})
	if ch.replaces != nil {
		e.retireChild(ch.replaces)
	}
	if others >= e.cfg.MaxChildren {
		i := slices.IndexFunc(c.children, func(other *child) bool { return other != ch && other.state == childEstablished })
		e.sendDeleteChild(c.children[i])
		e.removeChild(c.children[i], "too many children", false)
	}
}

// removeChild forgets a child and asks to remove what was installed of it.
func (e *Engine) removeChild(ch *child, reason string, byPeer bool) {
	if ch.state == childDead {
		return
	}
	e.touch(ch.client)
	was := ch.state
	ch.state, ch.switchAt = childDead, time.Time{}
	e.timers.set(&ch.timer, time.Time{})
	delete(e.spis, ch.spiIn)
	c := ch.client
	c.children = slices.DeleteFunc(c.children, func(other *child) bool { return other == ch })
	ch.in.zero()
	ch.out.zero()
	if was == childEstablished {
		e.emit(ChildClosed{Client: c.id, Child: ch.id, SPIIn: ch.spiIn, SPIOut: ch.spiOut, Reason: reason, ByPeer: byPeer})
	}
	if ch.replaces != nil {
		e.resumeChild(ch.replaces)
		ch.replaces = nil
	}
	for _, other := range c.children {
		if other.replaces == ch {
			other.replaces = nil
			if !other.switchAt.IsZero() {
				e.installOutbound(other) // before ch is removed
			}
		}
	}
	if was != childLarval {
		e.awaitChild(c)
	}
	if !ch.in.asked {
		return
	}
	var spiOut uint32
	if ch.out.asked {
		spiOut = ch.spiOut
	}
	e.act(pendingAction{kind: pendingRemoval}, func(id ActionID) Action {
		return RemoveChild{ID: id, Client: c.id, Child: ch.id, SPIIn: ch.spiIn, SPIOut: spiOut, Local: ch.local, Remote: ch.remote}
	})
}

// expire is the time to send through the child, to replace it, or the end of its life.
func (ch *child) expire(e *Engine) {
	if !ch.switchAt.IsZero() {
		e.installOutbound(ch)
		return
	}
	if e.now.Before(ch.expires) {
		e.rekeyLater(ch)
		if ch.state == childEstablished { // otherwise the owner has not installed it yet
			e.rekeyChild(ch)
		}
		return
	}
	e.sendDeleteChild(ch)
	e.removeChild(ch, either(ch.retired, "replaced by a newer one", "lifetime expired"), false)
	e.reap(ch.client, "lifetime of the last child expired")
	e.revive(ch.client)
}
