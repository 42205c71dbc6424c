package ikev1

import (
	"errors"
	"fmt"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// Configure puts cfg in the place of the configuration. On an error, which says which part of cfg cannot be used, nothing changes.
//
// ISAKMP SAs and children that exist keep what was negotiated, also where cfg would not allow it any more, until they are rekeyed. A
// handshake under way goes on with the keys, certificates and trust that it began with. All else, limits and dead peer detection of
// clients that are connected among it, follows cfg from now on; a limit that is exceeded already ends nobody.
func (e *Engine) Configure(cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	for _, conn := range e.connections {
		if err := cfg.serves(conn.Connection); err != nil {
			return fmt.Errorf("ikev1: the connection to %s: %w", conn.Remote, err)
		}
	}
	anew := cfg.Records && !e.cfg.Records
	e.cfg, e.phase1, e.phase2 = &cfg, rank(cfg.Phase1), rank(cfg.Phase2)
	for _, sa := range e.sas {
		e.rearm(sa)
	}
	if anew {
		for _, c := range e.clients {
			e.touch(c) // the next call says all
		}
	}
	return nil
}

// serves says why we could not authenticate for a connection.
func (c *Config) serves(conn Connection) error {
	switch {
	case conn.Method == pki.PSK && len(c.PSK(conn.Local.Addr(), conn.Remote.Addr())) == 0:
		return errors.New("there is no pre-shared key for this peer")
	case conn.Method != pki.PSK && (c.credential(conn.Method) == nil || c.Trust == nil):
		return fmt.Errorf("there is no certificate of ours for the method %s, or nobody to trust", conn.Method)
	}
	return nil
}
