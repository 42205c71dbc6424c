package ikev1

import (
	"bytes"
	"crypto/sha256"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// nonceLen is the length of our nonces in octets.
const nonceLen = 32

// handshake is what only a phase 1 exchange on its way needs; in a Main Mode that the peer began, from message 3 on.
type handshake struct {
	private *dh.PrivateKey
	natD    bool // the initiator sent NAT-D payloads

	initiatorKE, responderKE       []byte
	initiatorNonce, responderNonce []byte

	request *request // of an initiator

	// proof is that of the peer, while it is being checked and ours is being signed.
	proof *proof

	// Of Aggressive Mode: the SA payload that answers the offer, in octets, and the length of message 1; then what message 3 has to prove.
	answer []byte
	asked  int
	hashI  []byte

	// message5Bad counts messages 5, or 3 of Aggressive Mode, that did not authenticate, lastBad is the hash of the latest.
	message5Bad int
	lastBad     [sha256.Size]byte
}

// destroy overwrites the secret.
func (hs *handshake) destroy() {
	if hs.private != nil {
		hs.private.Destroy()
	}
}

// handleMain takes a message of Main Mode (RFC 2409 section 5).
func (e *Engine) handleMain(d Datagram, h wire.Header) {
	if h.MessageID != 0 {
		e.drop(d, DropMalformed)
		return
	}
	if h.ResponderCookie == (wire.Cookie{}) {
		e.mainMode1(d, h)
		return
	}
	sa := e.find(d, h)
	encrypted := h.Flags&wire.FlagEncryption != 0
	switch {
	case sa == nil:
		e.drop(d, DropUnknownSA)
	case sa.aggressive:
		e.drop(d, DropUnexpected)
	case sa.cache.isDuplicate(d.Payload) && sa.state == established:
		e.repeat(sa, &sa.cache, d, maxDuplicates)
	case sa.cache.isDuplicate(d.Payload):
		e.repeat(sa, &sa.cache, d, maxUnproved)
	case sa.state == awaitMessage2 && !encrypted:
		e.mainMode2(sa, d, h)
	case sa.state == awaitMessage4 && !encrypted:
		e.mainMode4(sa, d, h)
	case sa.state == awaitMessage6 && encrypted:
		e.mainMode6(sa, d, h)
	case sa.state == awaitMessage3 && !encrypted:
		e.mainMode3(sa, d, h)
	case sa.state == awaitMessage5 && encrypted:
		e.mainMode5(sa, d, h)
	case !encrypted && sa.state > awaitMessage3:
		e.drop(d, DropUnencrypted)
	default:
		e.drop(d, DropUnexpected)
	}
}

// generateKey draws our secret and our nonce.
func (e *Engine) generateKey(sa *isakmpSA) (private *dh.PrivateKey, nonce []byte, err error) {
	if nonce, err = e.random(nonceLen); err != nil {
		return nil, nil, err
	}
	private, err = dh.GenerateKey(sa.proposal.Group, e.rand)
	return private, nonce, err
}

// mainModeComputed derives the keys once g^xy is known.
func (e *Engine) mainModeComputed(sa *isakmpSA, r DHResult) {
	if sa.state != awaitPublic {
		sa.handshake.destroy()
	}
	if sa.state != awaitDH && sa.state != awaitPublic {
		return
	}
	if r.Err != nil {
		e.failHandshake(sa, DropKeyExchange, CauseKeyExchange, Facts{Detail: r.Err.Error()})
		return
	}
	switch {
	case sa.state == awaitPublic:
		sa.handshake.initiatorKE = bytes.Clone(r.Public)
		e.sendMessage3(sa)
	case sa.initiator:
		if e.deriveKeys(sa, r.Shared) {
			e.prove(sa)
		}
	case sa.aggressive:
		sa.handshake.responderKE = bytes.Clone(r.Public)
		if e.deriveKeys(sa, r.Shared) {
			e.sendAggressive2(sa)
		}
	default:
		sa.handshake.responderKE = bytes.Clone(r.Public)
		if e.deriveKeys(sa, r.Shared) {
			e.sendMessage4(sa)
		}
	}
}

// deriveKeys computes SKEYID and what follows from it. false: the handshake has failed.
func (e *Engine) deriveKeys(sa *isakmpSA, shared []byte) bool {
	hs, hash := sa.handshake, sa.proposal.Hash
	var skeyid []byte
	if sa.method == pki.PSK {
		psk := sa.preSharedKey()
		if len(psk) == 0 {
			e.failHandshake(sa, DropNoPSK, CauseNoPSK, Facts{Detail: "it was removed"})
			return false
		}
		skeyid = keymat.SKEYIDFromPSK(hash, psk, hs.initiatorNonce, hs.responderNonce)
	} else {
		skeyid = keymat.SKEYIDFromSignature(hash, hs.initiatorNonce, hs.responderNonce, shared)
	}
	sa.proved = &proved{}
	sa.keys = keymat.Derive(hash, skeyid, shared, sa.name.i, sa.name.r)
	keymat.Zero(skeyid)
	if err := sa.makeCipher(); err != nil {
		e.failHandshake(sa, DropInternal, CauseInternal, Facts{Detail: err.Error()})
		return false
	}
	sa.iv = keymat.Phase1IV(hash, sa.proposal.Cipher.BlockSize(), hs.initiatorKE, hs.responderKE)
	return true
}

// makeCipher makes the cipher of messages from SKEYID_e.
func (sa *isakmpSA) makeCipher() (err error) {
	cipher := sa.proposal.Cipher
	key := keymat.CipherKey(sa.proposal.Hash, sa.keys.SKEYIDe, cipher.KeyLen(sa.proposal.KeyBits))
	sa.cbc, err = keymat.NewCBC(cipher, key)
	keymat.Zero(key)
	return err
}

// preSharedKey returns the key that sa begins with, empty if there is none any more.
func (sa *isakmpSA) preSharedKey() []byte {
	if sa.aggressive {
		return sa.cfg.groupKey(sa.handshake.proof.id)
	}
	return sa.cfg.PSK(sa.local.Addr(), sa.remote.Addr())
}

// header returns the header of a phase 1 message of ours.
func (sa *isakmpSA) header() wire.Header {
	h := wire.Header{InitiatorCookie: sa.name.i, ResponderCookie: sa.name.r, Exchange: wire.ExchangeMain}
	if sa.aggressive {
		h.Exchange = wire.ExchangeAggressive
	}
	return h
}

// nonZero returns the number in b, or 1 instead of 0.
func nonZero(b []byte) uint32 {
	if n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]); n != 0 {
		return n
	}
	return 1
}
