package ikev1

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// nonceLen is the length of our nonces in octets.
const nonceLen = 32

// handshake is what only a Main Mode on its way needs.
type handshake struct {
	offer   []byte // body of the initiator's SA payload, as received
	private *dh.PrivateKey
	natT    bool // RFC 3947 was agreed upon
	natD    bool // the initiator sent NAT-D payloads

	initiatorKE, responderKE       []byte
	initiatorNonce, responderNonce []byte

	// message5Bad counts messages 5 that did not authenticate, lastBad is the hash of the latest.
	message5Bad int
	lastBad     [sha256.Size]byte
}

// destroy overwrites the secret.
func (hs *handshake) destroy() {
	if hs.private != nil {
		hs.private.Destroy()
	}
}

// handleMain takes a message of Main Mode (RFC 2409 section 5.4).
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
	case sa.cache.isDuplicate(d.Payload) && sa.state == established:
		e.repeat(sa, &sa.cache, d, maxDuplicates)
	case sa.cache.isDuplicate(d.Payload):
		e.repeat(sa, &sa.cache, d, maxUnproved)
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

// mainMode1 takes the offer. It costs no Diffie-Hellman, and the answer is not longer than the question.
func (e *Engine) mainMode1(d Datagram, h wire.Header) {
	if sa := e.initiated[initiation{d.Local, d.Remote, h.InitiatorCookie}]; sa != nil {
		if sa.state == awaitMessage3 && sa.cache.isDuplicate(d.Payload) {
			e.repeat(sa, &sa.cache, d, maxUnproved)
		} else {
			e.drop(d, DropDuplicate)
		}
		return
	}
	if e.refusing {
		e.drop(d, DropShuttingDown)
		return
	}
	if h.Flags&wire.FlagEncryption != 0 {
		e.drop(d, DropMalformed)
		return
	}
	all, _, err := wire.ParseChain(h.NextPayload, d.Payload[wire.HeaderLen:])
	if err != nil {
		e.drop(d, DropMalformed)
		return
	}
	p := payloads(all)
	offer, ok := p.only(wire.PayloadSA)
	if !ok || p[0].Kind != wire.PayloadSA || len(offer) > maxOffer {
		e.drop(d, DropMalformed)
		return
	}
	parsed, err := wire.ParseSA(offer)
	if err != nil {
		e.drop(d, DropMalformed)
		return
	}
	if len(e.cfg.PSK(d.Local.Addr(), d.Remote.Addr())) == 0 {
		e.failUnauthenticated(d, DropNoPSK, because(CauseNoPSK, Facts{}))
		return
	}
	choice, ok := choosePhase1(e.phase1, parsed)
	if !ok {
		e.refusePhase1(d, h, parsed, p.all(wire.PayloadVendorID))
		return
	}
	if !e.admit(d) {
		return
	}
	sa, err := e.newSA(d, h.InitiatorCookie)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	sa.proposal, sa.lifetime = choice.proposal, choice.lifetime
	sa.handshake.offer = bytes.Clone(offer)
	vendorIDs := p.all(wire.PayloadVendorID)
	sa.peer = recognise(vendorIDs, parsed)
	sa.handshake.natT = sa.peer.natT

	// Only an SA and vendor IDs: racoon refuses anything else.
	answer := []wire.Payload{choice.answer}
	if sa.peer.natT {
		answer = append(answer, wire.VendorID(vendorNATT))
	}
	if sa.peer.dpd {
		answer = append(answer, wire.VendorID(vendorDPD))
	}
	sa.cache.take(d.Payload)
	sa.cache.reply = e.send(sa, wire.Message(sa.header(), answer...))
}

// mainMode3 takes the initiator's public value and nonce, and asks for the Diffie-Hellman computation.
func (e *Engine) mainMode3(sa *isakmpSA, d Datagram, h wire.Header) {
	if d.Remote != sa.remote || d.Local != sa.local {
		e.drop(d, DropUnknownSA)
		return
	}
	all, _, err := wire.ParseChain(h.NextPayload, d.Payload[wire.HeaderLen:])
	if err != nil {
		e.drop(d, DropMalformed)
		return
	}
	p := payloads(all)
	ke, haveKE := p.only(wire.PayloadKE)
	nonceBody, haveNonce := p.only(wire.PayloadNonce)
	nonce, err := wire.ParseNonce(nonceBody)
	if !haveKE || !haveNonce || err != nil || len(ke) != sa.proposal.Group.PublicLen() {
		e.drop(d, DropMalformed)
		return
	}
	if !e.admitProved(d) {
		return
	}
	private, err := dh.GenerateKey(sa.proposal.Group, e.rand)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	ours, err := e.random(nonceLen)
	if err != nil {
		private.Destroy()
		e.drop(d, DropInternal)
		return
	}
	hs := sa.handshake
	hs.private, hs.responderNonce = private, ours
	hs.initiatorKE, hs.initiatorNonce = bytes.Clone(ke), bytes.Clone(nonce)
	if hs.natT {
		hs.natD, sa.peer.natThere, sa.peer.natHere = sa.detectNAT(p.all(wire.PayloadNATD))
	}
	sa.state = awaitDH
	e.halfOpen.prove(sa)
	sa.cache.take(d.Payload)
	e.act(pendingAction{kind: pendingMainModeDH, sa: sa}, func(id ActionID) Action {
		return ComputeDH{ID: id, Group: sa.proposal.Group, Private: private, Peer: hs.initiatorKE}
	})
}

// mainModeComputed derives the keys and sends message 4.
func (e *Engine) mainModeComputed(sa *isakmpSA, r DHResult) {
	hs := sa.handshake
	hs.destroy()
	if sa.state != awaitDH {
		return
	}
	psk := e.cfg.PSK(sa.local.Addr(), sa.remote.Addr())
	switch {
	case r.Err != nil:
		e.failHandshake(sa, DropKeyExchange, CauseKeyExchange, Facts{Detail: r.Err.Error()})
		return
	case len(psk) == 0:
		e.failHandshake(sa, DropNoPSK, CauseNoPSK, Facts{Detail: "it was removed"})
		return
	}
	hash := sa.proposal.Hash
	hs.responderKE = bytes.Clone(r.Public)
	skeyid := keymat.SKEYIDFromPSK(hash, psk, hs.initiatorNonce, hs.responderNonce)
	sa.keys = keymat.Derive(hash, skeyid, r.Shared, sa.name.i, sa.name.r)
	keymat.Zero(skeyid)
	key := keymat.CipherKey(hash, sa.keys.SKEYIDe, sa.proposal.KeyBits/8)
	cbc, err := keymat.NewCBC(keymat.AES, key)
	keymat.Zero(key)
	if err != nil {
		e.failHandshake(sa, DropInternal, CauseInternal, Facts{Detail: err.Error()})
		return
	}
	sa.cbc = cbc
	sa.iv = keymat.Phase1IV(hash, cbc.BlockSize(), hs.initiatorKE, hs.responderKE)

	answer := []wire.Payload{wire.KE(hs.responderKE), wire.Nonce(hs.responderNonce)}
	if hs.natD {
		answer = append(answer, sa.natD(sa.remote), sa.natD(sa.local))
	}
	sa.state = awaitMessage5
	e.halfOpen.wait(sa)
	sa.cache.reply = e.send(sa, wire.Message(sa.header(), answer...))
}

// mainMode5 takes the initiator's identity and proof. Whatever does not prove the key changes nothing, so that a forged
// message cannot spoil a handshake.
func (e *Engine) mainMode5(sa *isakmpSA, d Datagram, h wire.Header) {
	hs := sa.handshake
	if hs.message5Bad >= maxBadMessage5 || hs.message5Bad > 0 && hs.lastBad == sha256.Sum256(d.Payload) {
		e.drop(d, DropAuthentication)
		return
	}
	id, p, next, ok := sa.authenticate(d, h)
	if !ok {
		hs.lastBad = sha256.Sum256(d.Payload)
		if hs.message5Bad++; hs.message5Bad > 1 {
			e.drop(d, DropAuthentication)
			return
		}
		e.failUnauthenticated(d, DropAuthentication, because(CausePSKMismatch, Facts{Kind: sa.peer.kind}))
		return
	}
	key := clientKey{local: d.Local.Addr(), remote: d.Remote, identity: string(id.AppendBody(nil))}
	if !e.admitClient(sa, key) {
		return
	}

	e.halfOpen.remove(sa)
	// The client is where message 5 came from: it floats to port 4500 with it (RFC 3947 section 4).
	sa.local, sa.remote, sa.encapsulated = d.Local, d.Remote, d.Encapsulated

	hash := sa.proposal.Hash
	ours := wire.AddrID(sa.local.Addr(), 0, 0)
	hashR := keymat.HashR(hash, sa.keys.SKEYID, hs.initiatorKE, hs.responderKE, sa.name.i, sa.name.r, hs.offer, ours.AppendBody(nil))
	message, last := sa.encrypt(sa.header(), wire.PayloadID, next, wire.AppendChain(nil, ours, wire.Hash(hashR)))
	sa.iv = last

	keymat.Zero(sa.keys.SKEYID)
	sa.handshake = nil
	sa.state = established
	sa.expires = e.now.Add(sa.lifetime)
	sa.quick = make(map[uint32]*quickMode)
	sa.memory = &memory{dpd: deadPeerDetection{heard: e.now}}
	sa.cache.take(d.Payload)
	sa.cache.reply = e.send(sa, message)
	e.adopt(sa, key, id.String())
	if hasInitialContact(p) {
		e.initialContact(sa)
	}
}

// authenticate decrypts a message 5 and checks HASH_I. It returns the identity, the payloads, and the IV of message 6.
func (sa *isakmpSA) authenticate(d Datagram, h wire.Header) (id wire.ID, p payloads, next []byte, ok bool) {
	hs := sa.handshake
	body := d.Payload[wire.HeaderLen:]
	if len(body) == 0 {
		return wire.ID{}, nil, nil, false
	}
	plain, next, err := sa.cbc.Decrypt(sa.iv, body)
	if err != nil {
		return wire.ID{}, nil, nil, false
	}
	all, _, err := wire.ParseChain(h.NextPayload, plain)
	if err != nil {
		return wire.ID{}, nil, nil, false
	}
	p = payloads(all)
	idBody, haveID := p.only(wire.PayloadID)
	hashI, haveHash := p.only(wire.PayloadHash)
	if !haveID || !haveHash {
		return wire.ID{}, nil, nil, false
	}
	want := keymat.HashI(sa.proposal.Hash, sa.keys.SKEYID, hs.initiatorKE, hs.responderKE, sa.name.i, sa.name.r, hs.offer, idBody)
	if !equalHash(hashI, want) {
		return wire.ID{}, nil, nil, false
	}
	// The identity is informative: even one that cannot be read belongs to somebody who knows the key.
	id, err = wire.ParseID(idBody)
	if err != nil {
		id = wire.ID{Data: idBody}
	}
	id.Data = slices.Clone(id.Data)
	return id, p, next, true
}

// header returns the header of a Main Mode message of ours.
func (sa *isakmpSA) header() wire.Header {
	return wire.Header{InitiatorCookie: sa.name.i, ResponderCookie: sa.name.r, Exchange: wire.ExchangeMain}
}

// nonZero returns the number in b, or 1 instead of 0.
func nonZero(b []byte) uint32 {
	if n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]); n != 0 {
		return n
	}
	return 1
}
