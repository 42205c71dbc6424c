package ikev1

import (
	"bytes"
	"slices"
)

// Vendor IDs that mean something to us.
var (
	vendorNATT = []byte("\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f") // RFC 3947 section 3.1
	vendorDPD  = []byte("\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00") // RFC 3706 section 5.1, version 1.0
)

// vendorKinds are beginnings of vendor IDs that tell who the peer is. The first that is found decides.
var vendorKinds = []struct{ prefix, kind string }{
	{"\x1e\x2b\x51\x69\x05\x99\x1c\x7d\x7c\x96\xfc\xbf\xb5\x87\xe4\x61", "windows"},    // MS NT5 ISAKMPOAKLEY
	{"\x4d\xf3\x79\x28\xe9\xfc\x4f\xd1\xb3\x26\x21\x70\xd5\x15\xc6\x62", "apple"},      // draft-ietf-ipsec-nat-t-ike without a number
	{"\x88\x2f\xe5\x6d\x6f\xd2\x0d\xbc\x22\x51\x61\x3b\x2e\xbe\x5b\xeb", "strongswan"}, // if send_vendor_id is set
	{"\x44\x85\x15\x2d\x18\xb6\xbb\xcd\x0b\xe8\xa8\x46\x95\x79\xdd\xcc", "android"},    // draft-ietf-ipsec-nat-t-ike-00
	{"\x12\xf5\xf2\x8c\x45\x71\x68\xa9\x70\x2d\x9f\xe2\x74\xcc\x01\x00", "cisco"},      // Unity
	{"\x09\x00\x26\x89\xdf\xd6\xb7\x12", "strongswan"},                                 // XAUTH, which charon sends always
}

// peerFeatures is what a peer can do and who it seems to be.
type peerFeatures struct {
	natT, dpd bool
	kind      string

	// natThere says that the peer is behind a NAT, natHere that we are.
	natThere, natHere bool
}

// recognise reads the vendor IDs of message 1. Unknown ones are ignored (RFC 2408 section 3.16).
func recognise(ids [][]byte) peerFeatures {
	var f peerFeatures
	for _, id := range ids {
		f.natT = f.natT || bytes.Equal(id, vendorNATT)
		// The last octet is the minor version; 1.x keeps the meaning of 1.0.
		f.dpd = f.dpd || len(id) == len(vendorDPD) && bytes.HasPrefix(id, vendorDPD[:15])
	}
	for _, v := range vendorKinds {
		if slices.ContainsFunc(ids, func(id []byte) bool { return bytes.HasPrefix(id, []byte(v.prefix)) }) {
			f.kind = v.kind
			break
		}
	}
	return f
}
