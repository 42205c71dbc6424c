package ikev1test

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// routerKinds are those whose offers are known. Of MikroTik the vendor IDs and the order of attributes are not, of TP-Link nothing but
// the offer of phase 1; Quick Mode is a guess there.
func routerKinds() []*Kind {
	twoSeconds := []time.Duration{2 * time.Second, 2 * time.Second}
	return []*Kind{
		{
			Name: "MikroTik", Nonce: 24, Proposal: 1, Port: 1701, Contact: ContactInMessage5, PFS: dh.MODP1024, Pauses: twoSeconds,
			VendorIDs: [][]byte{VendorRFC3947, VendorDPD},
			Offer: transforms(1, racoonOrder, 86400, suite{keymat.AES, 128, keymat.SHA1, dh.MODP2048}, suite{keymat.AES, 128, keymat.SHA1, dh.MODP1024},
				suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP2048}, suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}),
			ESP: racoonESP(1800, dh.MODP1024, espSuite{espAES, 256, espSHA1}, espSuite{espAES, 192, espSHA1}, espSuite{espAES, 128, espSHA1}),
		},
		{
			// As it calls another router of its maker: proposal 0, transforms from 0, the lifetime first.
			Name: "DrayTek Vigor", Nonce: 20, Proposal: 0, Port: 1701, Pauses: twoSeconds,
			VendorIDs: [][]byte{VendorDPD, VendorRFC3947, VendorNATT03, VendorNATT02n, VendorNATT02, VendorNATT00},
			Offer: transforms(0, []part{lifePart, cipherPart, hashPart, pskPart, groupPart}, 900,
				suite{cipherDES, 0, hashMD5, modp768}, suite{cipherDES, 0, keymat.SHA1, modp768},
				suite{keymat.TripleDES, 0, hashMD5, modp768}, suite{keymat.TripleDES, 0, hashMD5, dh.MODP1024}),
			ESP: plutoESP(3600, espSuite{espAES, 128, espSHA1}),
		},
		{
			Name: "TP-Link TL-R483G", Nonce: 20, Proposal: 1, Port: 1701, Pauses: twoSeconds,
			Offer: transforms(1, windowsOrder, 28800, suite{keymat.TripleDES, 0, hashMD5, dh.MODP1024}, suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}),
			ESP:   windowsESP(espSuite{esp3DES, 0, espMD5}, espSuite{esp3DES, 0, espSHA1}),
		},
		{
			Name: "a client with 3DES and MD5 only", Nonce: 20, Proposal: 1, Port: 1701, Pauses: twoSeconds,
			Offer: transforms(1, windowsOrder, 28800, suite{keymat.TripleDES, 0, hashMD5, dh.MODP1024}),
			ESP:   windowsESP(espSuite{esp3DES, 0, espMD5}),
		},
	}
}
