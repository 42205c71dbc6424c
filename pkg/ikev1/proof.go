package ikev1

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// proof is what a peer authenticates itself with: message 5 of Main Mode, or message 6.
type proof struct {
	from    Datagram          // without its payload
	request [sha256.Size]byte // hash of the message

	id       wire.ID
	identity []byte // body of the ID payload

	// evidence is the HASH or the signature; certificates are those of the peer, in the order of their payloads.
	evidence     []byte
	certificates [][]byte

	// revocationUnknown says that nothing was known about the revocation of a certificate.
	revocationUnknown bool

	// name is what to call the peer, from its certificate if it has one.
	name string

	initialContact bool
	lifetime       time.Duration // that the peer allows at most, 0 if it does not say

	iv []byte // of the next message
}

// openProof decrypts a message that has to authenticate its sender. false: it cannot be read, as is usual if the keys differ.
func (sa *isakmpSA) openProof(d Datagram, h wire.Header) (*proof, bool) {
	m, ok := sa.decrypt(h, d.Payload, sa.iv)
	if !ok {
		return nil, false
	}
	kind := wire.PayloadHash
	if sa.method != pki.PSK {
		kind = wire.PayloadSignature
	}
	identity, haveID := m.only(wire.PayloadID)
	evidence, haveEvidence := m.only(kind)
	certificates, ok := readCertificates(m.payloads)
	if !haveID || len(identity) > maxIdentity || !haveEvidence || !ok {
		return nil, false
	}
	p := &proof{
		from: Datagram{Local: d.Local, Remote: d.Remote, Encapsulated: d.Encapsulated}, request: sha256.Sum256(d.Payload),
		identity: identity, evidence: evidence, certificates: certificates, initialContact: hasInitialContact(m.payloads), iv: m.iv,
	}
	notifications, _ := readNotifications(m.payloads)
	p.lifetime = noticedLifetime(notifications, wire.ProtocolISAKMP, sa.name.spi())
	// With a pre-shared key the identity is informative: even one that cannot be read belongs to somebody who knows the key.
	var err error
	if p.id, err = wire.ParseID(identity); err != nil {
		p.id = wire.ID{Data: identity}
	}
	p.name = p.id.String()
	return p, true
}

// readCertificates returns the X.509 certificates among the payloads; false: there are too many, or one is too long.
func readCertificates(p payloads) ([][]byte, bool) {
	bodies := p.all(wire.PayloadCert)
	if len(bodies) > maxCertificates {
		return nil, false
	}
	var list [][]byte
	for _, body := range bodies {
		c, err := wire.ParseCertificate(body)
		if err != nil {
			return nil, false
		}
		if c.Encoding == wire.EncodingX509Signature {
			list = append(list, c.Data)
		}
	}
	return list, true
}

// proofHash returns HASH_I or HASH_R over an identity.
func (sa *isakmpSA) proofHash(ofInitiator bool, identity []byte) []byte {
	hs := sa.handshake
	hash := keymat.HashR
	if ofInitiator {
		hash = keymat.HashI
	}
	return hash(sa.signedHash(), sa.keys.SKEYID, hs.initiatorKE, hs.responderKE, sa.name.i, sa.name.r, sa.offer, identity)
}

// signedHash returns the hash of HASH_I and HASH_R: ECDSA brings its own (see [pki.Method.Hash]).
func (sa *isakmpSA) signedHash() keymat.Hash {
	switch sa.method.Hash() {
	case crypto.SHA256:
		return keymat.SHA256
	case crypto.SHA384:
		return keymat.SHA384
	case crypto.SHA512:
		return keymat.SHA512
	}
	return sa.proposal.Hash
}

// identity returns who we say that we are in sa: the subject of our certificate, or our address.
func (sa *isakmpSA) identity() wire.ID {
	if c := sa.cfg.credential(sa.method); c != nil {
		return wire.ID{Kind: wire.IDDERDN, Data: c.Subject()}
	}
	return wire.AddrID(sa.local.Addr(), 0, 0)
}

// credential returns our certificate for a method, nil for none.
func (c *Config) credential(m pki.Method) *pki.Credential {
	i := slices.IndexFunc(c.Credentials, func(own *pki.Credential) bool { return own.Method() == m })
	if i < 0 {
		return nil
	}
	return c.Credentials[i]
}

// certificateRequests names the authorities that we trust, all in one empty request if they are many. It is only for signatures.
func (sa *isakmpSA) certificateRequests() []wire.Payload {
	if sa.method == pki.PSK {
		return nil
	}
	authorities := sa.cfg.Trust.Authorities()
	if len(authorities) > maxCertificates {
		return []wire.Payload{wire.CertificateRequest{Encoding: wire.EncodingX509Signature}}
	}
	var list []wire.Payload
	for _, name := range authorities {
		list = append(list, wire.CertificateRequest{Encoding: wire.EncodingX509Signature, Authority: name})
	}
	return list
}

// verify asks whether a signature is that of the peer that the certificates name.
func (e *Engine) verify(sa *isakmpSA, p *proof) {
	sa.state = awaitVerification
	e.halfOpen.verify(sa)
	claim := pki.Claim{
		Now: e.now, Method: sa.method, Chain: p.certificates, IdentityType: uint8(p.id.Kind), Identity: p.id.Data,
		Hash: sa.proofHash(!sa.initiator, p.identity), Signature: p.evidence,
	}
	if sa.connection != nil {
		claim.Allow = sa.connection.Allow
	}
	e.act(pendingAction{kind: pendingVerification, sa: sa}, func(id ActionID) Action {
		return VerifyPeer{ID: id, Claim: claim, trust: sa.cfg.Trust}
	})
}

// verified takes the result of VerifyPeer.
func (e *Engine) verified(sa *isakmpSA, r VerifyResult) {
	if sa.state != awaitVerification {
		return
	}
	if r.Err != nil {
		e.failSignature(sa, r.Err)
		return
	}
	sa.handshake.proof.name, sa.handshake.proof.revocationUnknown = r.Peer.Subject, r.Peer.RevocationUnknown
	if sa.initiator {
		e.reached(sa)
		return
	}
	e.sign(sa)
}

// sign asks for our signature.
func (e *Engine) sign(sa *isakmpSA) {
	sa.state = awaitSignature
	hash := sa.proofHash(sa.initiator, sa.identity().AppendBody(nil))
	e.act(pendingAction{kind: pendingSignature, sa: sa}, func(id ActionID) Action {
		return Sign{ID: id, Hash: hash, credential: sa.cfg.credential(sa.method)}
	})
}

// signed takes the result of Sign.
func (e *Engine) signed(sa *isakmpSA, r SignResult) {
	if sa.state != awaitSignature {
		return
	}
	if r.Err != nil {
		e.failHandshake(sa, DropInternal, CauseInternal, Facts{Detail: "signing: " + r.Err.Error()})
		return
	}
	var evidence []wire.Payload
	for _, c := range sa.cfg.credential(sa.method).Chain() {
		evidence = append(evidence, wire.Certificate{Encoding: wire.EncodingX509Signature, Data: c})
	}
	evidence = append(evidence, wire.Signature(bytes.Clone(r.Signature)))
	if sa.initiator {
		e.sendMessage5(sa, evidence...)
		return
	}
	e.sendMessage6(sa, evidence...)
}

// establish ends a handshake that has authenticated both sides.
func (e *Engine) establish(sa *isakmpSA) {
	p := sa.handshake.proof
	e.halfOpen.remove(sa)
	keymat.Zero(sa.keys.SKEYID)
	sa.handshake, sa.offer, sa.cfg = nil, nil, nil
	sa.state = established
	sa.expires = e.now.Add(sa.lifetime)
	sa.quick = make(map[uint32]*quickMode)
	sa.dpd.heard = e.now
	e.adopt(sa, p)
	if p.initialContact {
		e.initialContact(sa)
	}
}
