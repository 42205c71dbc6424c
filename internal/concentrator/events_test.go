package concentrator

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// events are those of one kind so far, of all if it is empty.
func (b *bench) events(kind string) (list []control.Event) {
	b.t.Helper()
	all, _, err := b.c.API().Events(b.t.Context(), control.EventQuery{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range all {
		if kind == "" || e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

func kinds(events []control.Event) string {
	var list []string
	for _, e := range events {
		list = append(list, e.Kind)
	}
	return strings.Join(list, " ")
}

// The life of a client, from its first message to its last.
func TestEventsOfClient(t *testing.T) {
	play(t, 70, func(t *testing.T, b *bench) {
		s := b.connected(1)
		old := s.quick
		s.rekey()
		time.Sleep(5 * time.Second)
		s.do(func() { s.toIKE(s.main.Informational(old.DeleteESP())) })
		s.leave()
		b.until("the client has gone", func() bool { return len(b.events(eventSessionDown)) == 1 && len(b.events(eventClientGone)) == 1 })
		all := b.events("")
		if got, want := kinds(all[:5]), "daemon_started client_connected ipsec_up tunnel_up session_up"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		// The kernel's part of a session ends in its own time.
		for _, kind := range []string{eventSessionDown, eventTunnelDown, eventClientGone} {
			if n := len(b.events(kind)); n != 1 {
				t.Errorf("%d events %s", n, kind)
			}
		}
		if len(all) != 8 {
			t.Errorf("a rekey is no event: %s", kinds(all))
		}
		for i, e := range all {
			if e.Seq != uint64(i+1) || e.Time.IsZero() || e.Text == "" || e.Severity != control.SeverityInfo || e.Cause != "" {
				t.Errorf("event %+v", e)
			}
			if i == 0 {
				continue
			}
			tunnel := uint16(0x4000)
			if e.Kind == eventClientConnected {
				tunnel = 0 // it has none yet
			}
			if e.ClientID != 1 || e.TunnelID != tunnel || e.Peer != s.peer.Addr || e.Identity != "192.168.0.5" {
				t.Errorf("event %+v of client at %v", e, s.peer.Addr)
			}
		}
		if up := all[4]; up.SessionID != "16384-1" || up.User != "alice" || !strings.Contains(up.Text, "on l2t16384-1") {
			t.Errorf("event %+v", up)
		}
	})
}

// A failure of IKE is told with its cause, its cure and both lists, in the log as in the event; strangers cannot fill either.
func TestEventsOfStrangers(t *testing.T) {
	play(t, 71, func(t *testing.T, b *bench) {
		for n := range 200 {
			s := b.station(n)
			s.home.Offer = nil
			for i, group := range []dh.Group{dh.MODP1024, dh.MODP1536} {
				s.home.Offer = append(s.home.Offer, ikev1test.Phase1Transform(uint8(i+1), 256, keymat.SHA1, group))
			}
			s.dial()
			s.vanish()
		}
		time.Sleep(time.Second)
		failed := b.events(eventClientFailed)
		if len(failed) == 0 || len(failed) > 20 {
			t.Fatalf("%d events of 200 strangers: %s", len(failed), kinds(failed))
		}
		e := failed[0]
		if e.Cause != string(ikev1.CauseLegacyProposal) || e.Severity != control.SeverityWarning || !strings.Contains(e.Hint, "ike.profile") ||
			e.Offered != "aes256-sha1-modp1024, aes256-sha1-modp1536" || !strings.HasPrefix(e.Allowed, "aes256-sha256-modp2048, ") {
			t.Errorf("event %+v", e)
		}
		logged := b.logs.FilterMessage("phase 1 failed").All()
		fields := logged[0].ContextMap()
		if len(logged) != len(failed) || fields["code"] != e.Cause || fields["cause"] != e.Text || fields["hint"] != e.Hint ||
			!strings.HasSuffix(fields["allowed"].(string), " more") {
			t.Errorf("logged %d times, first %v", len(logged), fields)
		}
		b.on(func() {
			if n := b.c.counters.ike["no_proposal"]; n != 200 {
				t.Errorf("%d are counted", n)
			}
		})
	})
}

// A certificate that may have been revoked is let in, but not without a word.
func TestEventOfUnknownRevocation(t *testing.T) {
	play(t, 73, func(t *testing.T, b *bench) {
		for id, unknown := range map[ikev1.ClientID]bool{1 << 40: false, 1 << 41: true} {
			e := ikev1.Phase1Established{Client: id, Proposal: "aes256-sha256-ecp256", RevocationUnknown: unknown}
			b.on(func() { b.c.recordIKE(e) })
			all := b.events(eventClientConnected)
			text := all[len(all)-1].Text
			entries := b.logs.FilterField(zap.Bool("revocation_unknown", true)).Len()
			if strings.Contains(text, "revoked") != unknown || (entries > 0) != unknown {
				t.Errorf("unknown %v: %q, %d entries in the log", unknown, text, entries)
			}
			b.logs.TakeAll()
		}
	})
}

// A user who is not let in is told of with the cause, under the name that he used.
func TestEventsOfRejection(t *testing.T) {
	for reason, code := range map[aaa.Reason]string{
		aaa.ReasonWrongPassword: "wrong_password", aaa.ReasonPoolExhausted: "pool_exhausted", aaa.Reason("news"): "rejected",
	} {
		t.Run(code, func(t *testing.T) {
			play(t, 72, func(t *testing.T, b *bench) {
				b.m.login = func(string) login { return login{user: "mallory", rejected: reason} }
				b.station(1).dial()
				b.until("the user is rejected", func() bool { return len(b.events(eventAuthRejected)) == 1 })
				e := b.events(eventAuthRejected)[0]
				if e.Cause != code || e.Text != string(reason) || e.Hint == "" || e.User != "mallory" || e.SessionID != "16384-1" || e.Severity != control.SeverityWarning {
					t.Errorf("event %+v", e)
				}
				told := b.logs.Filter(func(l observer.LoggedEntry) bool {
					return l.Message == "authentication failed" && l.ContextMap()["cause"] == string(reason)
				})
				if told.Len() != 1 {
					t.Errorf("log %v", b.words())
				}
			})
		})
	}
	for reason, c := range rejections {
		if c.code == "" || c.text != string(reason) || c.hint == "" {
			t.Errorf("%q is explained by %+v", reason, c)
		}
	}
}

// Who reads on hears of the goodbyes, and then of the end.
func TestEventsUntilTheEnd(t *testing.T) {
	play(t, 74, func(t *testing.T, b *bench) {
		b.connected(1)
		var heard []control.Event
		done := make(chan error)
		go func() {
			for last := uint64(0); ; {
				events, err := b.c.API().NextEvents(t.Context(), last)
				if err != nil {
					done <- err
					return
				}
				heard = append(heard, events...)
				last = events[len(events)-1].Seq
			}
		}()
		b.shutdown()
		if err := <-done; err == nil || err.Error() != "EOF" {
			t.Errorf("ended with %v", err)
		}
		if got := kinds(heard); !strings.Contains(got, "daemon_stopping") || !strings.Contains(got, "session_down") || !strings.Contains(got, "client_gone") {
			t.Errorf("heard %s", got)
		}
	})
}

// The documentation has every kind and every cause.
func TestEventsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	words := []string{
		eventStarted, eventStopping, eventClientConnected, eventClientFailed, eventClientMoved, eventClientGone, eventIPsecUp, eventTunnelUp, eventTunnelDown,
		eventTunnelSecret, eventCallRefused, eventSessionUp, eventSessionDown, eventSessionFailed, eventAuthRejected, control.EventsLost,
		eventSteeringRestored, eventSteeringMissing, eventSlotsLow, eventSlotsExhausted, eventPortTaken, causeSteering.code, causePortTaken.code,
		eventSALost, eventTunnelLost, eventSessionLost, eventInterfaceLost, causeRemoved.code,
		causeTunnelSecret.code, causePPPStart.code, causeNoMethod.code, causeUnknownRejection.code,
	}
	for _, c := range ikev1.Causes() {
		words = append(words, string(c))
	}
	for _, c := range rejections {
		words = append(words, c.code)
	}
	for _, w := range words {
		if !strings.Contains(string(data), "`"+w+"`") {
			t.Errorf("docs/api.md lacks %s", w)
		}
	}
}
