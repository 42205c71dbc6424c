package config

import (
	"errors"
	"strings"
	"testing"
)

func TestIKEProposals(t *testing.T) {
	for _, c := range []string{"3des", "aes128", "aes192", "aes256"} {
		for _, h := range hashNames[:4] {
			for _, g := range groupNames {
				s := c + "-" + h.name + "-" + g.name
				p, err := ParseIKEProposal(s)
				if err != nil || p.String() != s || p.Group != g.group || p.Hash != h.hash {
					t.Errorf("%s: %v, %v", s, p, err)
				}
			}
		}
	}
	for _, s := range []string{"", "aes256", "aes256-sha1", "aes256-sha256_96-modp2048", "aes128gcm16-sha1-modp2048", "aes256-sha1-modp768", "aes256-sha1-modp2048-x"} {
		if p, err := ParseIKEProposal(s); err == nil || errors.Is(err, ErrNever) {
			t.Errorf("%q: %v, %v", s, p, err)
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

		"3des-sha1":        {TripleDES, 0, SHA1},
		"aes128gcm8":       {AESGCM8, 128, 0},
		"aes256gcm12":      {AESGCM12, 256, 0},
		"aes256-sha256_96": {AESCBC, 256, SHA256Truncated},
	} {
		if p, err := ParseESPProposal(s); err != nil || p != want || p.String() != strings.ToLower(s) {
			t.Errorf("%s: %v, %v, want %v", s, p, err, want)
		}
	}
	for _, s := range []string{"", "aes256", "aes128gcm16-sha1", "aes256-", "aes256gcm4", "3des", "3des-gcm16"} {
		if p, err := ParseESPProposal(s); err == nil || errors.Is(err, ErrNever) {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
}

func TestNeverAccepted(t *testing.T) {
	for _, s := range []string{"des-sha1-modp2048", "aes256-md5-modp2048", "null-sha1-modp2048", "DES-MD5-modp768", "des"} {
		if p, err := ParseIKEProposal(s); !errors.Is(err, ErrNever) {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"null-sha1", "null", "des-sha1", "aes256-none", "aes128-md5", "3des-MD5", "des"} {
		if p, err := ParseESPProposal(s); !errors.Is(err, ErrNever) {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
}
