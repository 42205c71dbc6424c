package ikev1test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Informational seals payloads as an Informational exchange.
func (m *MainMode) Informational(payloads ...wire.Payload) []byte {
	return m.Exchange(wire.ExchangeInformational, binary.BigEndian.Uint32(m.Random(4))|1, payloads...)
}

// Exchange seals payloads as a message of any exchange whose HASH is made like that of an Informational.
func (m *MainMode) Exchange(kind wire.ExchangeType, id uint32, payloads ...wire.Payload) []byte {
	hash := keymat.HashInfo(m.Hash, m.Keys.SKEYIDa, id, wire.AppendChain(nil, payloads...))
	return m.sealed(kind, id, hash, payloads)
}

// SealedInformational is an Informational exchange with a HASH of the caller's choice.
func (m *MainMode) SealedInformational(id uint32, hash []byte, payloads ...wire.Payload) []byte {
	return m.sealed(wire.ExchangeInformational, id, hash, payloads)
}

func (m *MainMode) sealed(kind wire.ExchangeType, id uint32, hash []byte, payloads []wire.Payload) []byte {
	plain := wire.AppendChain(nil, append([]wire.Payload{wire.Hash(hash)}, payloads...)...)
	sealed, _, err := m.CBC.Encrypt(keymat.Phase2IV(m.Hash, m.CBC.BlockSize(), m.IV, id), plain)
	m.fail(err)
	h := wire.Header{InitiatorCookie: m.CookieI, ResponderCookie: m.CookieR, Exchange: kind, MessageID: id}
	return wire.Sealed(h, wire.PayloadHash, sealed)
}

// OpenInformational returns the payloads after a right HASH.
func (m *MainMode) OpenInformational(b []byte) ([]wire.Raw, error) {
	h, err := wire.ParseHeader(b)
	if err := errors.Join(m.err, err); err != nil {
		return nil, err
	}
	if h.InitiatorCookie != m.CookieI || h.ResponderCookie != m.CookieR || h.Exchange != wire.ExchangeInformational || h.Flags != wire.FlagEncryption || h.MessageID == 0 {
		return nil, fmt.Errorf("the informational has the header %+v", h)
	}
	plain, _, err := m.CBC.Decrypt(keymat.Phase2IV(m.Hash, m.CBC.BlockSize(), m.IV, h.MessageID), b[wire.HeaderLen:])
	if err != nil {
		return nil, err
	}
	payloads, used, err := wire.ParseChain(h.NextPayload, plain)
	if err != nil {
		return nil, err
	}
	if len(payloads) < 2 || payloads[0].Kind != wire.PayloadHash {
		return nil, fmt.Errorf("the informational has the payloads %v", kinds(payloads))
	}
	if !bytes.Equal(payloads[0].Body, keymat.HashInfo(m.Hash, m.Keys.SKEYIDa, h.MessageID, plain[4+len(payloads[0].Body):used])) {
		return nil, errors.New("the informational has a wrong HASH")
	}
	return payloads[1:], nil
}

// DeleteISAKMP is the Delete payload for the ISAKMP SA of a client that hangs up.
func (m *MainMode) DeleteISAKMP() wire.Delete {
	return wire.Delete{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, SPILen: 16, SPIs: [][]byte{m.Cookies()}}
}

// DeleteESP is the Delete payload for the SA that we receive on.
func (q *QuickMode) DeleteESP() wire.Delete {
	return wire.Delete{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, SPILen: 4, SPIs: [][]byte{binary.BigEndian.AppendUint32(nil, q.Ours)}}
}

// Cookies are the name of the ISAKMP SA in notifications and Delete payloads.
func (m *MainMode) Cookies() []byte { return append(bytes.Clone(m.CookieI[:]), m.CookieR[:]...) }

// DPD is a dead peer detection notification (RFC 3706 section 5.3).
func (m *MainMode) DPD(kind wire.NotifyType, sequence uint32) wire.Notification {
	return wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: kind, SPI: m.Cookies(),
		Data: binary.BigEndian.AppendUint32(nil, sequence)}
}

// InitialContact says that the peer has lost what it knew before (RFC 2407 section 4.6.3.3).
func (m *MainMode) InitialContact() wire.Notification {
	return wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyInitialContact, SPI: m.Cookies()}
}
