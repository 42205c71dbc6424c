package ikev1test

import (
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

func androidKinds() []*Kind {
	eight := &Kind{
		Name: "Android 8", Likely: "android", Nonce: 16, Proposal: 1, Natted: NoNATOA, Contact: ContactAfterwards,
		Pauses:    slices.Repeat([]time.Duration{3 * time.Second}, 9),
		VendorIDs: [][]byte{VendorRFC3947, VendorNATT02, VendorNATT02n, VendorNATT00, vendorFragmentationBase, VendorDPD},
		Offer: androidOffer([]keymat.Hash{keymat.SHA384, keymat.SHA256, keymat.SHA512, keymat.SHA1, hashMD5},
			[]keymat.Hash{keymat.SHA512, keymat.SHA384, keymat.SHA256, keymat.SHA1, hashMD5}, []keymat.Hash{keymat.SHA256, keymat.SHA1, hashMD5}),
		ESP: racoonESP(28800, 0, each(androidCiphers(), espSHA512, espSHA384, espSHA1, espSHA256, espMD5)...),
	}
	seven := *eight
	seven.Name, seven.Deletes = "Android 4.3", NoDelete
	hashes := []keymat.Hash{keymat.SHA256, keymat.SHA1, hashMD5}
	seven.Offer = androidOffer(hashes, hashes, hashes)
	seven.ESP = racoonESP(28800, 0, each(androidCiphers(), espSHA256, espSHA1, espMD5)...)

	four := seven
	four.Name = "Android 4.0"
	hashes = []keymat.Hash{keymat.SHA1, hashMD5}
	four.Offer = androidOffer(hashes, hashes, hashes)
	return []*Kind{eight, &seven, &four}
}

func androidCiphers() []espSuite { return append(espCiphers[:3:3], espSuite{espDES, 0, 0}) }

// androidOffer has the hashes of AES with 256 and with 128 bits, and those of 3DES and DES; all with the one group of Android.
func androidOffer(aes256, aes128, des []keymat.Hash) []wire.Transform {
	var list []suite
	for _, c := range []struct {
		cipher keymat.Cipher
		bits   uint16
		hashes []keymat.Hash
	}{{keymat.AES, 256, aes256}, {keymat.AES, 128, aes128}, {keymat.TripleDES, 0, des}, {cipherDES, 0, des}} {
		for _, h := range c.hashes {
			list = append(list, suite{c.cipher, c.bits, h, dh.MODP1024})
		}
	}
	return transforms(1, racoonOrder, 28800, list...)
}
