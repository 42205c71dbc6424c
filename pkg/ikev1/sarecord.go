package ikev1

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// saRecord is an established ISAKMP SA.
type saRecord struct {
	Name       []byte        `cbor:"1,keyasint"` // both cookies
	Serial     uint64        `cbor:"2,keyasint"`
	Path       *pathRecord   `cbor:"3,keyasint,omitempty"`
	Initiation []byte        `cbor:"4,keyasint,omitempty"` // of a responder
	Aggressive bool          `cbor:"5,keyasint,omitempty"`
	Method     pki.Method    `cbor:"6,keyasint"`
	Proposal   phase1Record  `cbor:"7,keyasint"`
	Lifetime   time.Duration `cbor:"8,keyasint"`
	Peer       peerFlags     `cbor:"9,keyasint,omitempty"`
	Draft      int           `cbor:"10,keyasint,omitempty"` // which of natTDrafts, from 1
	Kind       string        `cbor:"11,keyasint,omitempty"`
	Cache      cacheRecord   `cbor:"12,keyasint"`
	Keys       []byte        `cbor:"13,keyasint"` // SKEYID_d, SKEYID_a, SKEYID_e
	IV         []byte        `cbor:"14,keyasint"`
	Expires    moment        `cbor:"15,keyasint"`
	ReplaceAt  moment        `cbor:"16,keyasint,omitempty"`
	Retired    bool          `cbor:"17,keyasint,omitempty"`
	TheirIDs   []byte        `cbor:"18,keyasint,omitempty"` // oldest first
	OurIDs     []byte        `cbor:"19,keyasint,omitempty"`
	Contacted  bool          `cbor:"20,keyasint,omitempty"`
	Heard      moment        `cbor:"21,keyasint"`
	Asked      moment        `cbor:"22,keyasint,omitempty"`
	Again      moment        `cbor:"23,keyasint,omitempty"`
	Sequence   uint32        `cbor:"24,keyasint,omitempty"`
	Theirs     *uint32       `cbor:"25,keyasint,omitempty"` // sequence number of the peer's latest question
	Repeats    int           `cbor:"26,keyasint,omitempty"` // of it
	Quick      []quickRecord `cbor:"27,keyasint,omitempty"`
}

// phase1Record is a [Phase1Proposal].
type phase1Record struct {
	_       struct{} `cbor:",toarray"`
	Cipher  keymat.Cipher
	KeyBits int
	Hash    keymat.Hash
	Group   dh.Group
}

func phase1RecordOf(p Phase1Proposal) phase1Record {
	return phase1Record{Cipher: p.Cipher, KeyBits: p.KeyBits, Hash: p.Hash, Group: p.Group}
}

func (r phase1Record) proposal() Phase1Proposal {
	return Phase1Proposal{Cipher: r.Cipher, KeyBits: r.KeyBits, Hash: r.Hash, Group: r.Group}
}

// peerFlags are the booleans of [peerFeatures].
type peerFlags uint8

// booleans returns those of f in the order of their flags, the lowest first.
func (f *peerFeatures) booleans() [5]*bool {
	return [...]*bool{&f.natT, &f.dpd, &f.fragmentation, &f.natThere, &f.natHere}
}

// cacheRecord is an [exchangeCache].
type cacheRecord struct {
	Request []byte `cbor:"1,keyasint,omitempty"`
	Reply   []byte `cbor:"2,keyasint,omitempty"`
	Repeats int    `cbor:"3,keyasint,omitempty"`
}

func (c *exchangeCache) record() cacheRecord {
	r := cacheRecord{Reply: c.reply, Repeats: c.repeats}
	if c.taken {
		r.Request = c.request[:]
	}
	return r
}

func (r cacheRecord) read() (c exchangeCache, ok bool) {
	c = exchangeCache{taken: true, reply: r.Reply, repeats: r.Repeats}
	return c, copy(c.request[:], r.Request) == sha256.Size && len(r.Request) == sha256.Size && r.Repeats >= 0
}

// quickRecord is a Quick Mode whose last message but one, or last, was sent by us.
type quickRecord struct {
	ID       uint32        `cbor:"1,keyasint"`
	Child    ChildID       `cbor:"2,keyasint"`
	Done     bool          `cbor:"3,keyasint,omitempty"` // message 3 was sent: we have begun
	Cache    cacheRecord   `cbor:"4,keyasint"`
	Deadline moment        `cbor:"5,keyasint"`
	Again    moment        `cbor:"6,keyasint,omitempty"` // the rest is for who waits for message 3
	Pause    time.Duration `cbor:"7,keyasint,omitempty"`
	Ni       []byte        `cbor:"8,keyasint,omitempty"`
	Nr       []byte        `cbor:"9,keyasint,omitempty"`
	IV       []byte        `cbor:"10,keyasint,omitempty"`
}

// recordable says whether the peer may have the message of ours by which it uses the SAs.
func (q *quickMode) recordable() bool {
	return q.state == quickAwaitMessage3 || q.state == quickDone && q.child.agreed()
}

func (q *quickMode) record() quickRecord {
	r := quickRecord{ID: q.id, Child: q.child.id, Done: q.state == quickDone, Cache: q.cache.record(), Deadline: momentOf(q.deadline)}
	if !r.Done {
		r.Again, r.Pause, r.Ni, r.Nr, r.IV = momentOf(q.timer.at), q.pause, q.ni, q.nr, q.iv
	}
	return r
}

func (r quickRecord) read(sa *isakmpSA) (*quickMode, error) {
	q := &quickMode{
		sa: sa, child: sa.client.child(r.Child), id: r.ID, state: quickAwaitMessage3, deadline: r.Deadline.time(), pause: r.Pause,
		ni: r.Ni, nr: r.Nr, iv: r.IV,
	}
	q.timer = timer{at: r.Again.time(), owner: q} // off, until the engine takes it
	var ok bool
	q.cache, ok = r.Cache.read()
	switch {
	case q.id == 0 || sa.quick[q.id] != nil || q.child == nil || !ok || len(q.cache.reply) == 0 || r.Deadline == 0:
		return nil, fmt.Errorf("it is of the child %d, has an answer of %d octets and ends at %v", r.Child, len(r.Cache.Reply), q.deadline)
	case r.Done:
		q.state, q.initiator = quickDone, true
	case len(q.iv) != sa.cbc.BlockSize() || q.pause <= 0 || q.pause > retransmitMax || r.Again == 0:
		return nil, fmt.Errorf("it has an IV of %d octets, and a pause of %v", len(q.iv), q.pause)
	}
	if q.state == quickDone && !q.child.agreed() {
		return nil, fmt.Errorf("it is done, and its child in state %d", q.child.state)
	}
	return q, nil
}

// record writes sa down.
func (sa *isakmpSA) record() saRecord {
	r := saRecord{
		Name: sa.name.spi(), Serial: sa.serial, Path: path{sa.local, sa.remote, sa.encapsulated}.unless(sa.client.path()),
		Aggressive: sa.aggressive, Method: sa.method, Proposal: phase1RecordOf(sa.proposal), Lifetime: sa.lifetime,
		Draft: 1 + slices.IndexFunc(natTDrafts, func(draft []byte) bool { return slices.Equal(draft, sa.peer.draft) }), Kind: sa.peer.kind,
		Cache: sa.cache.record(), Keys: slices.Concat(sa.keys.SKEYIDd, sa.keys.SKEYIDa, sa.keys.SKEYIDe), IV: sa.iv,
		Expires: momentOf(sa.expires), ReplaceAt: momentOf(sa.replaceAt), Retired: sa.retired, Contacted: sa.contacted,
		OurIDs: sa.ourIDs.octets(nil),
		Heard:  momentOf(sa.dpd.heard), Asked: momentOf(sa.dpd.asked), Again: momentOf(sa.dpd.again), Sequence: sa.dpd.sequence, Repeats: sa.dpd.repeats,
	}
	if !sa.initiator {
		r.Initiation = sa.initiation[:]
	}
	for i, is := range sa.peer.booleans() {
		if *is {
			r.Peer |= 1 << i
		}
	}
	if sa.dpd.peerAsked {
		r.Theirs = &sa.dpd.peerSequence
	}
	r.TheirIDs = sa.theirIDs.octets(sa.willRepeat)
	for _, q := range sa.quickModes() {
		if q.recordable() {
			r.Quick = append(r.Quick, q.record())
		}
	}
	return r
}

// willRepeat says whether an ID is that of a Quick Mode that is not recorded: it begins anew when the peer repeats its message 1.
func (sa *isakmpSA) willRepeat(id uint32) bool {
	q := sa.quick[id]
	return q != nil && !q.initiator && !q.recordable()
}

func (r *saRecord) read(c *client) (*isakmpSA, error) {
	p, err := r.Path.readOr(c.path())
	if err != nil {
		return nil, err
	}
	sa := &isakmpSA{
		serial: r.Serial, state: established, local: p.local, remote: p.remote, encapsulated: p.encapsulated,
		initiator: r.Initiation == nil, aggressive: r.Aggressive, method: r.Method, proposal: r.Proposal.proposal(), lifetime: r.Lifetime,
		peer: peerFeatures{kind: r.Kind}, client: c, quick: make(map[uint32]*quickMode),
		proved: &proved{
			iv: r.IV, expires: r.Expires.time(), replaceAt: r.ReplaceAt.time(), retired: r.Retired, contacted: r.Contacted,
			dpd: deadPeerDetection{heard: r.Heard.time(), asked: r.Asked.time(), again: r.Again.time(), sequence: r.Sequence, repeats: r.Repeats},
		},
	}
	sa.timer.owner = sa
	if err := sa.proposal.validate(); err != nil {
		return nil, err
	}
	size := sa.proposal.Hash.Size()
	var cached, theirs, ours bool
	sa.cache, cached = r.Cache.read()
	sa.theirIDs, theirs = idMemoryOf(r.TheirIDs)
	sa.ourIDs, ours = idMemoryOf(r.OurIDs)
	switch {
	case len(r.Name) != 16, sa.serial == 0 || sa.serial > maxRecordedID, !sa.initiator && len(r.Initiation) != len(sa.initiation),
		r.Draft < 0 || r.Draft > len(natTDrafts):
		return nil, fmt.Errorf("its name has %d octets, its number is %d, its initiation has %d octets", len(r.Name), r.Serial, len(r.Initiation))
	case len(r.Keys) != 3*size, len(sa.iv) != sa.proposal.Cipher.BlockSize():
		return nil, fmt.Errorf("keys of %d octets and an IV of %d do not fit %s", len(r.Keys), len(r.IV), sa.proposal)
	case !cached, !theirs, !ours, r.Repeats < 0, !plausible(sa.lifetime), r.Expires == 0:
		return nil, fmt.Errorf("its cache, message IDs or lifetime are implausible")
	}
	dpd := &sa.dpd
	switch {
	case (!sa.initiator || sa.retired) && !sa.replaceAt.IsZero():
		return nil, fmt.Errorf("it is not for us to replace, and is to be replaced at %v", sa.replaceAt)
	case dpd.heard.IsZero(), !dpd.asked.IsZero() && (dpd.sequence == 0 || dpd.again.Before(dpd.asked)):
		return nil, fmt.Errorf("the peer was heard at %v, was asked question %d at %v, and is to be asked again at %v", dpd.heard, dpd.sequence, dpd.asked, dpd.again)
	}
	sa.name = cookies{wire.Cookie(r.Name[:8]), wire.Cookie(r.Name[8:])}
	if sa.name.i == (wire.Cookie{}) || sa.name.r == (wire.Cookie{}) {
		return nil, fmt.Errorf("its name is %x", r.Name)
	}
	copy(sa.initiation[:], r.Initiation)
	for i, is := range sa.peer.booleans() {
		*is = r.Peer&(1<<i) != 0
	}
	if r.Draft != 0 {
		sa.peer.draft = natTDrafts[r.Draft-1]
	}
	if r.Theirs != nil {
		sa.dpd.peerAsked, sa.dpd.peerSequence = true, *r.Theirs
	}
	if sa.initiator {
		sa.connection = c.connection
	}
	sa.keys = keymat.Keys{SKEYIDd: r.Keys[:size:size], SKEYIDa: r.Keys[size : 2*size : 2*size], SKEYIDe: r.Keys[2*size:]}
	if err := sa.makeCipher(); err != nil {
		return nil, err
	}
	for _, s := range r.Quick {
		q, err := s.read(sa)
		if err != nil {
			return nil, fmt.Errorf("its Quick Mode %d: %w", s.ID, err)
		}
		sa.quick[q.id] = q
	}
	return sa, nil
}

// octets returns the IDs in octets, oldest first, without those that are to be left out.
func (m *idMemory) octets(leaveOut func(uint32) bool) []byte {
	b := make([]byte, 0, 4*len(m.ids))
	for i := range m.ids {
		if id := m.ids[(m.next+i)%len(m.ids)]; leaveOut == nil || !leaveOut(id) {
			b = binary.BigEndian.AppendUint32(b, id)
		}
	}
	return b
}

func idMemoryOf(b []byte) (m idMemory, ok bool) {
	if len(b)%4 != 0 || len(b) > 4*maxUsedIDs {
		return m, false
	}
	for ; len(b) > 0; b = b[4:] {
		m.ids = append(m.ids, binary.BigEndian.Uint32(b))
	}
	return m, true
}
