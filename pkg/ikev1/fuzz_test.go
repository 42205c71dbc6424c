package ikev1_test

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// FuzzHandle brings an engine into one of its states and gives it a message: any octets, or any payloads properly encrypted and
// authenticated, as only a client that knows the key can send them. The engine must not panic, must not answer a stranger with more
// than it was asked, and must come to rest afterwards.
func FuzzHandle(f *testing.F) {
	p := newPeer(1)
	m := p.MainMode()
	f.Add(byte(0), byte(0), byte(0), m.Message1())
	f.Add(byte(1), byte(1), byte(wire.PayloadKE), wire.AppendChain(nil, wire.KE(make([]byte, 64)), wire.Nonce("12345678")))
	f.Add(byte(2), byte(2), byte(wire.PayloadID), wire.AppendChain(nil, p.Identity, wire.Hash("hash")))
	notify := wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyRUThere, SPI: make([]byte, 16), Data: make([]byte, 4)}
	del := wire.Delete{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, SPILen: 4, SPIs: [][]byte{{1, 2, 3, 4}}}
	f.Add(byte(3), byte(3), byte(wire.PayloadNotification), wire.AppendChain(nil, notify, del, del))
	esp := &wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: []wire.Proposal{{
		Number: 1, Protocol: wire.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: []wire.Transform{ikev1test.ESPTransform(1, 12, 256, 2, 2)}}}}
	f.Add(byte(4), byte(4), byte(wire.PayloadSA), wire.AppendChain(nil, esp, wire.Nonce("12345678"), wire.AddrID(p.Addr.Addr(), 17, 1701), wire.AddrID(p.Server.Addr(), 17, 1701)))

	f.Add(byte(6), byte(1), byte(wire.PayloadHash), wire.AppendChain(nil, wire.Hash(make([]byte, 32))))
	f.Add(byte(6), byte(2), byte(wire.PayloadHash), wire.AppendChain(nil, wire.Hash(make([]byte, 32)), wire.Raw{Kind: wire.PayloadNATD, Body: make([]byte, 32)}, wire.Raw{Kind: wire.PayloadNATD, Body: make([]byte, 32)}))
	f.Add(byte(5), byte(5), byte(14), wire.AppendChain(nil, wire.Raw{Kind: 14, Body: make([]byte, 12)}))

	f.Fuzz(func(t *testing.T, state, kind, first byte, b []byte) {
		state %= 7
		w := newWorld(t, func(c *ikev1.Config) {
			if state == 6 {
				withGroups(c)
			}
		})
		p := newPeer(1)
		m := w.reach(p, state)
		w.take()
		for _, d := range w.say(p, form(m, kind%6, wire.PayloadType(first), b)) {
			if state == 0 && len(d.Payload) > len(b) {
				t.Errorf("a stranger sent %d octets and got %d", len(b), len(d.Payload))
			}
		}
		w.say(p, b)
		w.elapse(8 * 24 * time.Hour)
		w.empty("everything has expired")
	})
}

// reach brings the engine into a state of Main Mode, Aggressive Mode or Quick Mode with p.
func (w *world) reach(p *ikev1test.Peer, state byte) *ikev1test.MainMode {
	if state == 6 {
		m := member(p, "sales").AggressiveMode()
		w.ok(m.TakeAggressive2(w.ask(p, m.Aggressive1(), "message 2")))
		return m
	}
	m := p.MainMode()
	if state < 2 {
		if state == 1 {
			w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
		}
		m.Hash, m.Bits = keymat.SHA256, 256
		m.IV = make([]byte, keymat.AES.BlockSize())
		m.CBC, _ = keymat.NewCBC(keymat.AES, make([]byte, 32))
		return m
	}
	if state >= 3 {
		p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
		m = w.connect(p)
		switch state {
		case 4:
			w.say(p, m.QuickMode(1).Message1())
		case 5:
			w.quick(m, 1)
		}
		return m
	}
	w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
	four := w.ask(p, m.Message3(), "message 4")
	w.ok(m.TakeMessage4(four))
	return m
}

// form makes a message of the payloads in b.
func form(m *ikev1test.MainMode, form byte, first wire.PayloadType, b []byte) []byte {
	const id = 77
	seal := func(exchange wire.ExchangeType) []byte {
		// A HASH payload before them, which covers them.
		hash := keymat.Hash1(m.Hash, m.Keys.SKEYIDa, id, b)
		plain := append([]byte{byte(first), 0, 0, byte(4 + len(hash))}, hash...)
		sealed, _, err := m.CBC.Encrypt(keymat.Phase2IV(m.Hash, m.CBC.BlockSize(), m.IV, id), append(plain, b...))
		if err != nil {
			panic(err)
		}
		return wire.Sealed(wire.Header{InitiatorCookie: m.CookieI, ResponderCookie: m.CookieR, Exchange: exchange, MessageID: id}, wire.PayloadHash, sealed)
	}
	switch form {
	case 1:
		h := m.Header()
		h.NextPayload, h.Version, h.Length = first, wire.Version1, uint32(wire.HeaderLen+len(b))
		return append(h.Append(nil), b...)
	case 2:
		sealed, _, err := m.CBC.Encrypt(m.IV, b)
		if err != nil {
			panic(err)
		}
		return wire.Sealed(m.Header(), first, sealed)
	case 3:
		return seal(wire.ExchangeInformational)
	case 4:
		return seal(wire.ExchangeQuick)
	case 5:
		return seal(wire.ExchangeTransaction)
	}
	return b
}
