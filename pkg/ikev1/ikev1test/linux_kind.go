package ikev1test

import (
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// charon is what NetworkManager-l2tp and ChromeOS have of strongSwan in common. It numbers the one proposal 0, its transforms from 1.
func charon(k Kind) *Kind {
	k.Nonce, k.Port, k.Contact = 32, 1701, ContactInMessage5
	k.VendorIDs = [][]byte{VendorXAUTH, VendorDPD, vendorFragmentationBase, VendorRFC3947, VendorNATT02n}
	k.Pauses = []time.Duration{4 * time.Second, 7200 * time.Millisecond, 12960 * time.Millisecond}
	return &k
}

// pluto is what is the same in every Libreswan. It counts proposals and transforms from 0.
func pluto(k Kind) *Kind {
	k.Nonce, k.Port, k.Contact, k.Likely = 32, 1701, ContactInMessage5, "libreswan"
	k.VendorIDs = [][]byte{VendorFragmentation, VendorDPD, VendorRFC3947, VendorNATT03, VendorNATT02n, VendorNATT02}
	k.Pauses = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}
	return &k
}

// The offers of NetworkManager-l2tp, which are the same with both daemons, except that today's Libreswan is built without MODP1024.
var (
	networkManager = []suite{
		{keymat.AES, 256, keymat.SHA256, dh.MODP2048}, {keymat.AES, 256, keymat.SHA256, dh.MODP1536}, {keymat.AES, 256, keymat.SHA256, dh.MODP1024},
		{keymat.AES, 256, keymat.SHA1, dh.MODP2048}, {keymat.AES, 256, keymat.SHA1, dh.MODP1536}, {keymat.AES, 256, keymat.SHA1, dh.MODP1024},
		{keymat.AES, 256, keymat.SHA1, dh.ECP384}, {keymat.AES, 128, keymat.SHA1, dh.MODP1024}, {keymat.AES, 128, keymat.SHA1, dh.ECP256},
		{keymat.TripleDES, 0, keymat.SHA1, dh.MODP2048}, {keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024},
	}
	networkManagerESP = []espSuite{{espAES, 256, espSHA1}, {espAES, 128, espSHA1}, {esp3DES, 0, espSHA1}}
)

func linuxKinds() []*Kind {
	withoutDH2 := slices.DeleteFunc(slices.Clone(networkManager), func(s suite) bool { return s.group == dh.MODP1024 })
	chrome := []suite{{keymat.AES, 128, keymat.SHA256, dh.MODP3072}, {keymat.AES, 128, keymat.SHA1, dh.MODP2048},
		{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1536}, {keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}}
	chromeESP := []espSuite{{espGCM, 128, 0}, {espAES, 128, espSHA256}, {espAES, 128, espSHA1}, {esp3DES, 0, espSHA1}}
	chromeOS := charon(Kind{
		Name: "ChromeOS", Likely: "chromeos",
		// charon's own defaults at the end: the first of each kind of algorithm, among them a group that IKEv1 does not have.
		Offer: transforms(1, charonOrder, 15840, append(chrome[:4:4], suite{keymat.AES, 128, keymat.SHA256, 31})...),
		ESP:   charonESP(3960, append(chromeESP[:4:4], espSuite{esp3DES, 0, espMD5}, espSuite{espAES, 128, espSHA256})...),
	})
	return []*Kind{
		charon(Kind{
			Name: "NetworkManager-l2tp with strongSwan", Likely: "strongswan",
			Offer: transforms(1, charonOrder, 10800, networkManager...), ESP: charonESP(3600, networkManagerESP...),
		}),
		charon(Kind{
			Name: "NetworkManager-l2tp 1.2.10 with strongSwan", Likely: "strongswan",
			Offer: transforms(1, charonOrder, 10800, suite{keymat.AES, 128, keymat.SHA1, dh.MODP2048},
				suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1536}, suite{keymat.TripleDES, 0, keymat.SHA1, dh.MODP1024}),
			ESP: charonESP(3600, networkManagerESP[1:]...),
		}),
		pluto(Kind{
			Name:  "NetworkManager-l2tp with Libreswan",
			Offer: transforms(0, plutoOrder, 28800, withoutDH2...), ESP: plutoESP(28800, networkManagerESP...),
		}),
		pluto(Kind{
			Name:  "NetworkManager-l2tp with Libreswan and MODP1024",
			Offer: transforms(0, plutoOrder, 28800, networkManager...), ESP: plutoESP(28800, networkManagerESP...),
		}),
		chromeOS,
		charon(Kind{
			Name: "ChromeOS before 2021", Likely: "chromeos",
			Offer: transforms(1, charonOrder, 10800, chrome...),
			ESP:   charonESP(3600, append(chromeESP[:4:4], espSuite{espAES, 128, espMD5}, espSuite{esp3DES, 0, espMD5})...),
		}),
	}
}
