package concentrator

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/revocation"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// ikeSettings returns the part of a configuration that is for the IKE engine, in its terms, without Trust.
func ikeSettings(cfg *config.IKE) ikev1.Config {
	profile := ikev1.Profile(cfg.Profile)
	s := ikev1.Config{
		Phase1:             profile.Phase1(),
		Phase2:             profile.Phase2(),
		PFSGroups:          profile.PFSGroups(),
		MaxLifetime:        cfg.Lifetime,
		MaxChildLifetime:   cfg.ESPLifetime,
		ForceEncapsulation: cfg.ForceEncapsulation,
		SHA256Truncation:   truncations[cfg.SHA256Truncation],
		HalfOpenMax:        cfg.HalfOpenMax,
		UnprovedMax:        cfg.HalfOpenUnproved,
		HalfOpenPerAddr:    cfg.HalfOpenPerAddr,
		HalfOpenPerNetwork: cfg.HalfOpenPerNetwork,
		MaxClientsPerAddr:  cfg.MaxClientsPerAddr,
		HalfOpenTimeout:    cfg.HalfOpenTimeout,
		DPDInterval:        cfg.DPDInterval,
		DPDTimeout:         cfg.DPDTimeout,
		MaxChildren:        cfg.MaxChildren,
	}
	if cfg.DPDInterval == 0 {
		s.DPDInterval = -1 // never; zero is the engine's default
	}
	if len(cfg.Keys) > 0 {
		s.PSK = cfg.PSK
	}
	if len(cfg.Groups) > 0 {
		s.GroupPSK = cfg.GroupPSK
	}
	if len(cfg.Proposals) > 0 {
		s.Phase1 = nil
		for _, p := range cfg.Proposals {
			s.Phase1 = append(s.Phase1, ikev1.Phase1Proposal{Cipher: phase1Ciphers[p.Encryption], KeyBits: p.KeyBits, Hash: keymat.Hash(p.Hash), Group: dh.Group(p.Group)})
			if !slices.Contains(s.PFSGroups, dh.Group(p.Group)) {
				s.PFSGroups = append(s.PFSGroups, dh.Group(p.Group))
			}
		}
	}
	if len(cfg.ESPProposals) > 0 {
		s.Phase2 = nil
		for _, p := range cfg.ESPProposals {
			s.Phase2 = append(s.Phase2, ikev1.Phase2Proposal{Encryption: espCiphers[p.Encryption], KeyBits: p.KeyBits, Integrity: espIntegrity[p.Hash]})
		}
	}
	if cfg.PFSGroups != nil {
		s.PFSGroups = []dh.Group{} // not nil: none, unless there are some
		for _, g := range cfg.PFSGroups {
			s.PFSGroups = append(s.PFSGroups, dh.Group(g))
		}
	}
	s.Credentials = cfg.Certificates
	return s
}

// newTrust returns who judges the certificates of peers, and what fetches revocations for it: nil, nil without certificates of our
// own, and no fetcher where revocation is off.
func newTrust(cfg *config.IKE, log *zap.Logger) (*pki.Trust, *revocation.Fetcher, error) {
	if len(cfg.Certificates) == 0 {
		return nil, nil, nil
	}
	var trust *pki.Trust
	var fetcher *revocation.Fetcher
	c := pki.TrustConfig{Anchors: cfg.Authorities, Allow: cfg.Allow, Revocation: pki.Mode(cfg.Revocation.Mode)}
	if cfg.Revocation.Mode != config.RevocationOff {
		fetcher = revocation.New(revocation.Config{
			CRLs:    cfg.Revocation.CRLs,
			Install: func(crl []byte) error { return trust.AddCRL(crl) },
			Log:     log,
		})
		c.Fetch, c.CertificateURLs = fetcher.Fetch, cfg.Revocation.CertificateURLs
		if cfg.Revocation.OCSP != "" {
			c.OCSPURLs = []string{cfg.Revocation.OCSP}
		}
		for _, location := range cfg.Revocation.CRLs {
			if revocation.IsURL(location) {
				c.CRLURLs = append(c.CRLURLs, location) // for peers who come before the fetcher has been there
			}
		}
	}
	trust, err := pki.NewTrust(c)
	if err != nil {
		return nil, nil, fmt.Errorf("ike: authorities, allow and revocation: %w", err)
	}
	return trust, fetcher, nil
}

var truncations = map[config.Truncation]ikev1.SHA256Truncation{
	config.TruncateOff:     ikev1.TruncateNever,
	config.TruncateAndroid: ikev1.TruncateAndroid,
	config.TruncateAll:     ikev1.TruncateAlways,
}

var phase1Ciphers = map[config.Cipher]keymat.Cipher{
	config.AESCBC:    keymat.AES,
	config.TripleDES: keymat.TripleDES,
}

var espCiphers = map[config.Cipher]ikev1.Encryption{
	config.AESCBC:    ikev1.AESCBC,
	config.TripleDES: ikev1.TripleDES,
	config.AESGCM8:   ikev1.AESGCM8,
	config.AESGCM12:  ikev1.AESGCM12,
	config.AESGCM16:  ikev1.AESGCM16,
}

var espIntegrity = map[config.Hash]ikev1.Integrity{
	0:                      ikev1.None,
	config.SHA1:            ikev1.HMACSHA1_96,
	config.SHA256:          ikev1.HMACSHA256_128,
	config.SHA384:          ikev1.HMACSHA384_192,
	config.SHA512:          ikev1.HMACSHA512_256,
	config.SHA256Truncated: ikev1.HMACSHA256_128, // Config.SHA256Truncation says what it means
}
