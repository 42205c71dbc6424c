package ikev1

import (
	"bytes"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Vendor IDs that mean something to us.
var (
	vendorNATT          = []byte("\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f")                 // RFC 3947 section 3.1
	vendorFragmentation = []byte("\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3\x80\x00\x00\x00") // MS-IKEE section 3.3.4.1; Main Mode
	vendorDPD           = []byte("\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00")                 // RFC 3706 section 5.1, version 1.0
)

// natTDrafts are the drafts of NAT traversal that differ from RFC 3947 in the numbers of payloads and encapsulation modes only, best
// first. Windows XP knows nothing newer.
var natTDrafts = [][]byte{[]byte(vendorDraft03), []byte(vendorDraft02n), []byte(vendorDraft02)}

// The kinds of clients that are treated in their own way.
const (
	kindWindows = "windows"
	kindAndroid = "android"
)

// vendorKinds are vendor IDs that tell who the peer is, by their beginnings; all of a row have to be there. The first row that fits
// decides. Where others send the same vendor IDs, shape says what the offer has to look like.
var vendorKinds = []struct {
	kind     string
	shape    func(offer []phase1Offer) bool
	prefixes []string
}{
	{kindWindows, nil, []string{"\x1e\x2b\x51\x69\x05\x99\x1c\x7d\x7c\x96\xfc\xbf\xb5\x87\xe4\x61"}},  // MS NT5 ISAKMPOAKLEY
	{"apple", nil, []string{"\x4d\xf3\x79\x28\xe9\xfc\x4f\xd1\xb3\x26\x21\x70\xd5\x15\xc6\x62"}},      // draft-ietf-ipsec-nat-t-ike without a number
	{"strongswan", nil, []string{"\x88\x2f\xe5\x6d\x6f\xd2\x0d\xbc\x22\x51\x61\x3b\x2e\xbe\x5b\xeb"}}, // if send_vendor_id is set
	{kindAndroid, onlyMODP1024, []string{vendorDraft00}},
	{"cisco", nil, []string{"\x12\xf5\xf2\x8c\x45\x71\x68\xa9\x70\x2d\x9f\xe2\x74\xcc\x01\x00"}}, // Unity
	{"chromeos", firstMODP3072, []string{vendorXAUTH}},
	{"strongswan", nil, []string{vendorXAUTH}},
	{"libreswan", nil, []string{vendorDraft03, vendorDraft02, vendorDraft02n}},
}

const (
	vendorDraft03  = "\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56" // draft-ietf-ipsec-nat-t-ike-03
	vendorDraft02  = "\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48" // -02
	vendorDraft02n = "\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f" // -02 and a line feed
	vendorDraft00  = "\x44\x85\x15\x2d\x18\xb6\xbb\xcd\x0b\xe8\xa8\x46\x95\x79\xdd\xcc" // -00
	vendorXAUTH    = "\x09\x00\x26\x89\xdf\xd6\xb7\x12"                                 // charon sends it always
)

// onlyMODP1024 is the offer of every Android.
func onlyMODP1024(offer []phase1Offer) bool {
	return !slices.ContainsFunc(offer, func(o phase1Offer) bool { return dh.Group(o.group) != dh.MODP1024 })
}

// firstMODP3072 is how the offer of ChromeOS begins.
func firstMODP3072(offer []phase1Offer) bool {
	return len(offer) > 0 && dh.Group(offer[0].group) == dh.MODP3072 && offer[0].keyBits == 128
}

// peerFeatures is what a peer can do and who it seems to be.
type peerFeatures struct {
	natT, dpd, fragmentation bool

	// draft is the vendor ID of the draft that it knows in place of RFC 3947, nil for none.
	draft []byte

	kind string

	// natThere says that the peer is behind a NAT, natHere that we are.
	natThere, natHere bool
}

// recognise reads the vendor IDs of message 1, and its offer where they leave a doubt. Unknown ones are ignored (RFC 2408
// section 3.16).
func recognise(ids [][]byte, offer *wire.SA) peerFeatures {
	var f peerFeatures
	for _, id := range ids {
		f.natT = f.natT || bytes.Equal(id, vendorNATT)
		// Windows and Libreswan leave out the 4 octets that say for which exchanges it is.
		f.fragmentation = f.fragmentation || bytes.HasPrefix(id, vendorFragmentation[:16])
		// The last octet is the minor version; 1.x keeps the meaning of 1.0.
		f.dpd = f.dpd || len(id) == len(vendorDPD) && bytes.HasPrefix(id, vendorDPD[:15])
	}
	if !f.natT {
		i := slices.IndexFunc(natTDrafts, func(draft []byte) bool {
			return slices.ContainsFunc(ids, func(id []byte) bool { return bytes.Equal(id, draft) })
		})
		if i >= 0 {
			f.natT, f.draft = true, natTDrafts[i]
		}
	}
	for _, v := range vendorKinds {
		missing := slices.ContainsFunc(v.prefixes, func(prefix string) bool {
			return !slices.ContainsFunc(ids, func(id []byte) bool { return bytes.HasPrefix(id, []byte(prefix)) })
		})
		if !missing && (v.shape == nil || v.shape(readAllPhase1(offer))) {
			f.kind = v.kind
			break
		}
	}
	return f
}

// natTVendorID is the one vendor ID that says which NAT traversal we agree to.
func (f *peerFeatures) natTVendorID() wire.VendorID {
	if f.draft != nil {
		return f.draft
	}
	return vendorNATT
}

// natDType is the type of NAT-D payloads between us.
func (f *peerFeatures) natDType() wire.PayloadType {
	if f.draft != nil {
		return wire.PayloadNATDDraft
	}
	return wire.PayloadNATD
}

// readAllPhase1 reads every transform of an offer.
func readAllPhase1(offer *wire.SA) (list []phase1Offer) {
	for _, p := range offer.Proposals {
		for _, t := range p.Transforms {
			list = append(list, readPhase1(p, t))
		}
	}
	return list
}
