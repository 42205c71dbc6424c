package ikev1

import (
	"encoding/binary"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// handleInformational takes a message of an Informational exchange. Only what an established SA protects counts (RFC 2409 section
// 5.7): nobody can delete or notify anything in the clear.
func (e *Engine) handleInformational(d Datagram, h wire.Header) {
	sa := e.find(d, h)
	switch {
	case sa == nil:
		e.drop(d, DropUnknownSA)
		return
	case h.Flags&wire.FlagEncryption == 0:
		if sa.initiator && sa.state != established {
			sa.refused(d, h)
		}
		e.drop(d, DropUnencrypted)
		return
	case h.MessageID == 0:
		e.drop(d, DropMalformed)
		return
	case sa.state == awaitMessage6:
		e.proofRefused(sa, d, h)
		return
	case sa.state != established:
		e.drop(d, DropUnexpected)
		return
	}
	m, ok := sa.openFirst(h, d.Payload)
	if !ok {
		e.drop(d, DropHash)
		return
	}
	if sa.used(h.MessageID) {
		e.drop(d, DropDuplicate)
		return
	}
	notifications, ok := readNotifications(m.payloads)
	deletes := m.all(wire.PayloadDelete)
	if !ok || len(deletes) > maxNotifies {
		e.drop(d, DropMalformed)
		return
	}
	contact := false
	for _, n := range notifications {
		if reason, ok := e.checkSequence(sa, n); !ok {
			// Not even a sign of life, or of where the peer is: it may have been held back on its way.
			if reason != "" {
				e.drop(d, reason)
			}
			return
		}
		contact = contact || n.Kind == wire.NotifyInitialContact
	}
	if len(m.payloads) != 2 || len(notifications) != 1 || !isDPD(notifications[0]) {
		sa.theirIDs.add(h.MessageID)
	}
	e.heard(sa, d)
	for _, n := range notifications {
		if n.Kind == wire.NotifyRUThere {
			e.peerAsks(sa, n)
		}
	}
	if contact {
		e.initialContact(sa)
	}
	e.peerShortens(sa, notifications)
	e.peerRefuses(sa, notifications)
	e.peerDeletes(sa, d, deletes)
}

// readNotifications reads the Notification payloads of a message; false: one cannot be read, or there are too many.
func readNotifications(p payloads) ([]wire.Notification, bool) {
	bodies := p.all(wire.PayloadNotification)
	if len(bodies) > maxNotifies {
		return nil, false
	}
	var list []wire.Notification
	for _, body := range bodies {
		n, err := wire.ParseNotification(body)
		if err != nil {
			return nil, false
		}
		list = append(list, n)
	}
	return list, true
}

// hasInitialContact says whether an INITIAL-CONTACT notification is among the payloads.
func hasInitialContact(p payloads) bool {
	list, _ := readNotifications(p)
	return slices.ContainsFunc(list, func(n wire.Notification) bool { return n.Kind == wire.NotifyInitialContact })
}

// initialContact removes what the client has forgotten: everything but sa and what was negotiated in it. It may arrive before or after
// the first Quick Mode, and counts once: nobody forgets everything twice. Only this very client is meant (same addresses, port and
// identity).
func (e *Engine) initialContact(sa *isakmpSA) {
	if sa.contacted {
		return
	}
	sa.contacted = true
	const reason = "the client started anew (INITIAL-CONTACT)"
	c := sa.client
	for _, ch := range slices.Clone(c.children) {
		if ch.origin != sa.serial {
			e.removeChild(ch, reason, true)
		}
	}
	for _, old := range slices.Clone(c.sas) {
		if old != sa {
			e.dropSA(old, reason)
		}
	}
}

// peerRefuses ends our Quick Modes in sa that wait for an answer, if the peer says that it will not have one.
func (e *Engine) peerRefuses(sa *isakmpSA, notifications []wire.Notification) {
	for _, n := range notifications {
		if !n.Kind.IsError() {
			continue
		}
		for _, q := range sa.quickModes() {
			if q.state == quickAwaitMessage2 {
				e.quickRefused(q, "the peer says "+n.Kind.String())
			}
		}
	}
}

// peerDeletes takes the Delete payloads of a message: first everything that they name is gathered, then it is removed.
func (e *Engine) peerDeletes(sa *isakmpSA, d Datagram, bodies [][]byte) {
	const reason = "deleted by the client"
	c := sa.client
	var children []*child
	var sas []*isakmpSA
	for _, body := range bodies {
		del, err := wire.ParseDelete(body)
		if err != nil {
			e.drop(d, DropMalformed)
			return
		}
		for _, spi := range del.SPIs {
			switch {
			case del.Protocol == wire.ProtocolESP && len(spi) == 4:
				children = append(children, c.withOutboundSPI(binary.BigEndian.Uint32(spi))...)
			case del.Protocol == wire.ProtocolISAKMP && len(spi) == 16:
				named := e.sas[cookies{wire.Cookie(spi[:8]), wire.Cookie(spi[8:])}]
				if named != nil && named.client == c {
					sas = append(sas, named)
				}
			}
		}
	}
	for _, ch := range children {
		e.removeChild(ch, reason, true)
	}
	if len(sas) > 0 && len(sas) == len(c.sas) && len(c.children) == 0 && c.connection == nil {
		e.failChildless(c, "it deleted the ISAKMP SA")
	}
	for _, s := range sas {
		e.dropSA(s, reason)
	}
	e.reap(c, reason)
	e.revive(c)
}

// withOutboundSPI returns the children whose SA towards the client has this SPI: a peer deletes SAs by the SPIs it receives with.
// A child that is being made is left to its Quick Mode.
func (c *client) withOutboundSPI(spi uint32) []*child {
	var found []*child
	for _, ch := range c.children {
		if ch.spiOut == spi && ch.state != childLarval {
			found = append(found, ch)
		}
	}
	return found
}

// sendDeleteChild tells the client that a child is no more, if there is an ISAKMP SA to say it in.
func (e *Engine) sendDeleteChild(ch *child) {
	if sa := ch.client.newest(); sa != nil && ch.in.asked {
		e.inform(sa, wire.Delete{
			DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, SPILen: 4,
			SPIs: [][]byte{binary.BigEndian.AppendUint32(nil, ch.spiIn)},
		})
	}
}

// sendDeleteSA tells the client that an ISAKMP SA is no more.
func (e *Engine) sendDeleteSA(sa *isakmpSA) {
	e.inform(sa, wire.Delete{
		DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, SPILen: 16, SPIs: [][]byte{sa.name.spi()},
	})
}

// deleteSA removes an ISAKMP SA and tells the client.
func (e *Engine) deleteSA(sa *isakmpSA, reason string) {
	e.sendDeleteSA(sa)
	e.dropSA(sa, reason)
}

// inform sends payloads in an Informational exchange of ours.
func (e *Engine) inform(sa *isakmpSA, content ...wire.Payload) {
	if e.silent {
		return
	}
	id, err := e.newMessageID(sa)
	if err != nil {
		return // nothing that depends on an Informational message is lost for good
	}
	message, _ := sa.seal(wire.ExchangeInformational, id, sa.iv2(id), func(rest []byte) []byte {
		return keymat.HashInfo(sa.proposal.Hash, sa.keys.SKEYIDa, id, rest)
	}, content...)
	e.send(sa, message)
}

// spi returns the name of an ISAKMP SA as an SPI.
func (n cookies) spi() []byte { return append(n.i[:], n.r[:]...) }
