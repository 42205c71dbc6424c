package ikev1

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// shortestNotice is the shortest life that a peer can impose on what we began: with less we would do nothing but rekey.
const shortestNotice = time.Minute

// lifetimeNotice tells the client that the ISAKMP SA lives shorter than it offered. The transform itself comes back to it octet for
// octet, so this is where to say it (RFC 2407 section 4.6.3.1).
func (sa *isakmpSA) lifetimeNotice() wire.Notification {
	return wire.Notification{
		DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyResponderLifetime, SPI: sa.name.spi(),
		Data: wire.AppendAttributes(nil, wire.ShortAttribute(wire.AttrLifeType, lifeSeconds), wire.LongAttribute(wire.AttrLifeDuration, seconds(sa.lifetime))),
	}
}

// lifetimeNotice tells the client the same of a pair of ESP SAs; the SPI is that of what we receive.
func (ch *child) lifetimeNotice() wire.Notification {
	return wire.Notification{
		DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: wire.NotifyResponderLifetime, SPI: binary.BigEndian.AppendUint32(nil, ch.spiIn),
		Data: wire.AppendAttributes(nil, wire.ShortAttribute(wire.AttrSALifeType, lifeSeconds), wire.LongAttribute(wire.AttrSALifeDuration, seconds(ch.lifetime))),
	}
}

// seconds returns a lifetime as it is on the wire.
func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// noticedLifetime returns the life in seconds that RESPONDER-LIFETIME notifications give an SA, 0 if none does. Some peers leave the
// SPI out, and not all agree which numbers the attributes have in phase 1.
func noticedLifetime(list []wire.Notification, protocol wire.Protocol, spi []byte) time.Duration {
	for _, n := range list {
		if n.Kind != wire.NotifyResponderLifetime || n.Protocol != protocol || len(n.SPI) != 0 && !bytes.Equal(n.SPI, spi) {
			continue
		}
		attributes, err := wire.ParseAttributes(n.Data)
		if err != nil {
			continue
		}
		var life lifeReader
		ok := true
		for _, a := range attributes {
			phase1 := protocol == wire.ProtocolISAKMP
			switch {
			case a.Type == wire.AttrSALifeType, a.Type == wire.AttrLifeType && phase1:
				ok = life.lifeType(a) && ok
			case a.Type == wire.AttrSALifeDuration, a.Type == wire.AttrLifeDuration && phase1:
				ok = life.duration(a) && ok
			}
		}
		if ok && life.given.time > 0 {
			return max(life.given.time, shortestNotice)
		}
	}
	return 0
}

// peerShortens takes RESPONDER-LIFETIME notifications that come after an exchange of ours, as from Cisco.
func (e *Engine) peerShortens(sa *isakmpSA, list []wire.Notification) {
	if most := noticedLifetime(list, wire.ProtocolISAKMP, sa.name.spi()); sa.initiator && !sa.retired && most != 0 && most < sa.lifetime {
		sa.expires = sa.expires.Add(most - sa.lifetime)
		sa.replaceAt = sa.expires.Add(-most / 10)
		sa.lifetime = most
		e.rearm(sa)
	}
	for _, ch := range sa.client.children {
		most := noticedLifetime(list, wire.ProtocolESP, binary.BigEndian.AppendUint32(nil, ch.spiOut))
		if ch.initiator && !ch.retired && ch.state == childEstablished && most != 0 && most < ch.lifetime {
			ch.expires = ch.expires.Add(most - ch.lifetime)
			ch.rekeyAt = ch.expires.Add(-most / 10)
			ch.lifetime = most
			e.timers.set(&ch.timer, earliest(ch.rekeyAt, ch.expires))
		}
	}
}
