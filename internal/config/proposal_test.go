package config

import "testing"

func TestIKEProposals(t *testing.T) {
	for _, c := range []string{"aes128", "aes192", "aes256"} {
		for _, h := range hashNames {
			for _, g := range groupNames {
				s := c + "-" + h.name + "-" + g.name
				p, err := ParseIKEProposal(s)
				if err != nil || p.String() != s || p.Group != g.number || p.Hash != h.hash {
					t.Errorf("%s: %v, %v", s, p, err)
				}
			}
		}
	}
	for _, s := range []string{"", "aes256", "aes256-sha1", "aes256-md5-modp2048", "des-sha1-modp2048", "aes128gcm16-sha1-modp2048", "aes256-sha1-modp768", "aes256-sha1-modp2048-x"} {
		if p, err := ParseIKEProposal(s); err == nil {
			t.Errorf("%q: accepted as %v", s, p)
		}
	}
}

func TestESPProposals(t *testing.T) {
	for s, want := range map[string]ESPProposal{
		"aes128-sha1":   {AESCBC, 128, SHA1},
		"aes192-sha256": {AESCBC, 192, SHA256},
		"AES256-SHA384": {AESCBC, 256, SHA384},
		"aes256-sha512": {AESCBC, 256, SHA512},
		"aes128gcm16":   {AESGCM16, 128, 0},
		"aes192gcm16":   {AESGCM16, 192, 0},
		"aes256gcm16":   {AESGCM16, 256, 0},
	} {
		if p, err := ParseESPProposal(s); err != nil || p != want {
			t.Errorf("%s: %v, %v, want %v", s, p, err, want)
		}
	}
	for _, s := range []string{"", "aes256", "aes128gcm16-sha1", "null-sha1", "aes256-none", "aes256-", "3des-sha1"} {
		if p, err := ParseESPProposal(s); err == nil {
			t.Errorf("%q: accepted as %v", s, p)
		}
	}
}
