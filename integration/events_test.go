//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// TestEvents follows a client that may not come in and one that comes and goes, until the daemon says goodbye.
func TestEvents(t *testing.T) {
	t.Parallel() // the client that may not takes long to give up
	f := setUp(t, config("", "alice"))
	heard := make(chan control.Event, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- f.Server.FollowEvents(context.WithoutCancel(f.ctx), func(e control.Event) { heard <- e })
	}()

	o := options("mallory")
	o.PSK = "another key"
	mallory := f.started(f.HomeClient("mallory", o))
	if err := mallory.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp: %v, want %v", err, lab.ErrIPsec)
	}
	alice := f.public("alice")
	session := f.connect(alice)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
	f.stopped()
	if err := <-ended; err != nil {
		t.Errorf("the follower ended with %v", err)
	}
	close(heard)

	var kinds []string
	last := uint64(0)
	for e := range heard {
		if e.Seq != last+1 || e.Time.IsZero() || e.Text == "" {
			t.Errorf("after number %d: %+v", last, e)
		}
		last = e.Seq
		kinds = append(kinds, e.Kind)
		switch e.Kind {
		case "client_failed":
			if e.Cause != "psk_mismatch" || e.Severity != "warning" || e.Peer.Addr() != lab.NATAddress || !strings.Contains(e.Hint, lab.NATAddress.String()) || e.ClientKind != "strongswan" {
				t.Errorf("%+v", e)
			}
		case "session_up", "session_down":
			if e.User != "alice" || e.SessionID != session.ID || e.TunnelID != session.TunnelID || e.Peer != session.Peer {
				t.Errorf("%+v of session %+v", e, session)
			}
		}
	}
	for _, kind := range []string{"daemon_started", "client_failed", "client_connected", "ipsec_up", "tunnel_up", "session_up", "session_down", "tunnel_down", "client_gone", "daemon_stopping"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no event %s among %v", kind, kinds)
		}
	}
}

// TestSHA256Truncation has a client whose kernel cuts HMAC-SHA2-256 off after 96 bits, like those of old Androids: the kernel's counters
// tell why it is never heard.
func TestSHA256Truncation(t *testing.T) {
	t.Parallel()
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.ESP, o.IPsec = "aes256-sha256", []string{"rekey=no", "sha256_96=yes"}
	alice := f.started(f.HomeClient("alice", o))
	f.must(alice.IPsecUp(f.ctx))
	f.must(alice.StartDialing())
	f.must(lab.Until(f.ctx, 60*time.Second, "packets that are refused", func() error {
		sas, err := f.Server.SAs(f.ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(sas, func(sa control.SA) bool { return sa.Direction == "in" && sa.IntegrityErrors > 0 && sa.Packets == 0 }) {
			return fmt.Errorf("SAs %+v", sas)
		}
		return nil
	}))
	f.must(alice.IPsecDown(f.ctx))
	f.empty()
	failed, err := f.Server.Events(f.ctx, "client_failed")
	f.must(err)
	if len(failed) != 1 || failed[0].Cause != "sha256_truncation" || failed[0].Peer.Addr() != lab.NATAddress || !strings.Contains(failed[0].Hint, "sha256") {
		t.Errorf("events %+v", failed)
	}
}
