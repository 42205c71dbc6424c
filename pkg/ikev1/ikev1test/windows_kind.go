package ikev1test

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

var (
	vendorKeyMods        = []byte("\x01\x52\x8b\xbb\xc0\x06\x96\x12\x18\x49\xab\x9a\x1c\x5b\x2a\x51\x00\x00\x00\x01")
	vendorNegotiation    = []byte("\xfb\x1d\xe3\xcd\xf3\x41\xb7\xea\x16\xb7\xe5\xbe\x08\x55\xf1\x20")
	vendorInitialContact = []byte("\x26\x24\x4d\x38\xed\xdb\x61\xb3\x17\x2a\x36\xe3\xd0\xcf\xb8\x19")
	vendorCGA            = []byte("\xe3\xa5\x96\x6a\x76\x37\x9f\xe7\x07\x22\x82\x31\xe5\xce\x86\x52")
)

// nt5 is MS NT5 ISAKMPOAKLEY of a version.
func nt5(version byte) []byte { return append(VendorWindows[:19:19], version) }

// windowsPauses are those seen before message 1 came again.
var windowsPauses = []time.Duration{time.Second, time.Second, 3 * time.Second}

func windowsKinds() []*Kind {
	ten := &Kind{
		Name: "Windows 10", Likely: "windows", Nonce: 48, Proposal: 1, Counts: true, Port: 1701, Pauses: windowsPauses, RefusesServerBehindNAT: true,
		VendorIDs: [][]byte{vendorKeyMods, nt5(9), VendorRFC3947, VendorNATT02n, VendorFragmentation, vendorNegotiation, vendorInitialContact, vendorCGA},
		Offer: transforms(1, windowsOrder, 28800,
			suite{keymat.AES, 256, keymat.SHA1, dh.ECP384}, suite{keymat.AES, 128, keymat.SHA1, dh.ECP256}, suite{keymat.AES, 256, keymat.SHA1, dh.MODP2048},
			suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP2048}, suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}),
		// The last two were never seen in print: they follow from the length of the message.
		ESP: windowsESP(espSuite{espAES, 256, espSHA1}, espSuite{espAES, 128, espSHA1}, espSuite{esp3DES, 0, espSHA1}, espSuite{espDES, 0, espSHA1}, espSuite{espNULL, 0, espSHA1}),
	}
	seven := *ten
	seven.Name = "Windows 7"
	seven.VendorIDs = append([][]byte{nt5(8)}, ten.VendorIDs[2:]...)

	// Of Windows XP the vendor IDs and the two groups are known, the cipher and hash from the documentation.
	xp := &Kind{
		Name: "Windows XP", Likely: "windows", Nonce: 20, Proposal: 1, Counts: true, Port: 1701, Natted: XPHabit, Pauses: windowsPauses, RefusesServerBehindNAT: true,
		VendorIDs: [][]byte{nt5(4), VendorFragmentation, VendorNATT02n},
		Offer: transforms(1, windowsOrder, 28800,
			suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP2048}, suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}),
		ESP: windowsESP(espSuite{esp3DES, 0, espSHA1}),
	}
	return []*Kind{ten, &seven, xp}
}
