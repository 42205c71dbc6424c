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
	for _, s := range []string{"aes128-sha1", "aes192-sha256", "aes256-sha384", "aes256-sha512", "aes128gcm16", "aes192gcm16", "aes256gcm16"} {
		if p, err := ParseESPProposal(s); err != nil || p.String() != s {
			t.Errorf("%s: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "aes256", "aes128gcm16-sha1", "null-sha1", "aes256-none", "aes256-", "3des-sha1"} {
		if p, err := ParseESPProposal(s); err == nil {
			t.Errorf("%q: accepted as %v", s, p)
		}
	}
}
