package ikev1test

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// vendorFragmentationBase is the vendor ID of fragmentation with its capabilities: Main and Aggressive Mode.
var vendorFragmentationBase = append(VendorFragmentation[:16:16], 0x80, 0, 0, 0)

// ephemeral is a port that an Apple took.
const ephemeral = 56322

// espCiphers are those of racoon's configurations, best first.
var espCiphers = []espSuite{{espAES, 256, 0}, {espAES, 128, 0}, {esp3DES, 0, 0}}

func appleKinds() []*Kind {
	current := &Kind{
		Name: "macOS 11, iOS 14", Likely: "apple", Nonce: 16, Proposal: 1, Port: ephemeral, Contact: ContactInMessage5,
		Pauses: []time.Duration{2 * time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second},
		VendorIDs: [][]byte{VendorRFC3947, VendorNATTDraft, VendorNATT08, VendorNATT07, VendorNATT06, VendorNATT05, VendorNATT04, VendorNATT03, VendorNATT02,
			VendorNATT02n, vendorFragmentationBase, VendorDPD},
		Offer: transforms(1, racoonOrder, 3600,
			suite{keymat.AES, 256, keymat.SHA256, dh.MODP2048}, suite{keymat.AES, 256, keymat.SHA1, dh.MODP2048}, suite{keymat.AES, 256, hashMD5, dh.MODP2048},
			suite{keymat.AES, 256, keymat.SHA512, dh.MODP2048}, suite{keymat.AES, 256, keymat.SHA256, dh.MODP1536}, suite{keymat.AES, 256, keymat.SHA1, dh.MODP1536},
			suite{keymat.AES, 256, hashMD5, dh.MODP1536}, suite{keymat.AES, 256, keymat.SHA256, dh.MODP1024}, suite{keymat.AES, 256, keymat.SHA1, dh.MODP1024},
			suite{keymat.AES, 256, hashMD5, dh.MODP1024}, suite{keymat.AES, 128, keymat.SHA1, dh.MODP1024}, suite{keymat.AES, 128, hashMD5, dh.MODP1024},
			suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}, suite{keymat.TripleDES, 0, hashMD5, dh.MODP1024}),
		ESP: racoonESP(3600, 0, each(espCiphers, espSHA256, espSHA1, espMD5)...),
	}
	before := *current
	before.Name, before.ESP = "macOS 10.12, iOS 10", racoonESP(3600, 0, each(espCiphers, espSHA1, espMD5)...)

	old := before
	old.Name, old.Port, old.Natted = "macOS 10.11, iOS 9", 0, NoNATOA
	old.Offer = transforms(1, racoonOrder, 3600,
		suite{keymat.AES, 256, keymat.SHA1, dh.MODP1024}, suite{keymat.AES, 256, hashMD5, dh.MODP1024}, suite{keymat.AES, 128, keymat.SHA1, dh.MODP1024},
		suite{keymat.AES, 128, hashMD5, dh.MODP1024}, suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}, suite{keymat.TripleDES, 0, hashMD5, dh.MODP1024})
	return []*Kind{current, &before, &old}
}
