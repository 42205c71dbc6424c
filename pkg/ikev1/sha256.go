package ikev1

import "github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"

// SHA256Truncation says which clients are taken to cut the ICV of HMAC-SHA2-256 to 96 bits, as Linux did before RFC 4868. Both forms
// have the same number on the wire, and each side drops all packets of the other form.
type SHA256Truncation uint8

// The choices of [SHA256Truncation].
const (
	TruncateNever   SHA256Truncation = iota // a client that looks like old Android does not get HMAC-SHA2-256 at all
	TruncateAndroid                         // clients that look like old Android
	TruncateAlways                          // every client
)

// sha256Use is what becomes of HMAC-SHA2-256 with one client.
type sha256Use struct {
	always     bool // every such transform means 96 bits
	suspicious bool // transforms of Android mean 96 bits, if it is old
	allowed    bool // 96 bits are taken
}

func (t SHA256Truncation) with(vendorKind string) sha256Use {
	return sha256Use{always: t == TruncateAlways, suspicious: vendorKind == "android", allowed: t != TruncateNever}
}

// truncated says whether the client means 96 bits. Android has offered HMAC-SHA2-512 since it cuts off the right length.
func (u sha256Use) truncated(offer *wire.SA) bool {
	if u.always || !u.suspicious {
		return u.always
	}
	for _, p := range offer.Proposals {
		for _, t := range p.Transforms {
			if readPhase2(p, t).proposal.Integrity == HMACSHA512_256 {
				return false
			}
		}
	}
	return true
}
