package concentrator

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/revocation"
)

const (
	reloadPSK = "another key than the one before"

	reloadBefore = `ike:
  psk: "` + testPSK + `"
pool: 10.0.0.0/16
users:
  - {name: alice, password: canary-one}
  - {name: bob, password: canary-two}
slots: {port_mask: 0xfff0}
`
)

// written is a daemon's configuration file, and what was done because of it.
type written struct {
	*bench
	text   string
	level  string
	kept   []*revocation.Fetcher
	hangup chan os.Signal
	r      *reloader
}

// configured gives the daemon of b a configuration that it can read again.
func (b *bench) configured(text string) *written {
	b.t.Helper()
	w := &written{bench: b, text: text, hangup: make(chan os.Signal)}
	load := func() (*config.Config, error) { return config.Parse("t.yaml", []byte(w.text)) }
	cfg, err := load()
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := newSettings(cfg, zap.NewNop())
	if err != nil {
		b.t.Fatal(err)
	}
	b.on(func() {
		w.r = newReloader(b.c, cfg, s, Reloading{Load: load, SetLevel: func(level string) { w.level = level }, Signals: w.hangup}, func(f *revocation.Fetcher) { w.kept = append(w.kept, f) })
	})
	return w
}

// reload makes replacements in the file and reloads.
func (w *written) reload(replacements ...string) (control.Reload, error) {
	w.text = strings.NewReplacer(replacements...).Replace(w.text)
	return w.c.API().Reload(w.t.Context())
}

// keys names what a reload has changed, with the effect.
func keys(r control.Reload) string {
	var list []string
	for _, ch := range r.Changes {
		list = append(list, ch.Effect+" "+ch.Key)
	}
	return strings.Join(list, ", ")
}

// TestReload: who is connected keeps what he has, and who comes has the new.
func TestReload(t *testing.T) {
	play(t, 90, func(t *testing.T, b *bench) {
		w := b.configured(reloadBefore)
		one := b.connected(1)
		got, err := w.reload(testPSK, reloadPSK, "10.0.0.0/16", "10.7.0.0/24", "canary-one", "canary-three", "0xfff0", "0xffc0",
			"slots:", "ppp: {mtu: 1300}\nl2tp: {host_name: other}\nlog: {level: debug}\nslots:")
		if err != nil {
			t.Fatal(err)
		}
		if want := "now ike.psk, now users[alice].password, now pool, reconnect ppp.local_address, reconnect ppp.mtu, reconnect l2tp.host_name, now log.level, restart slots.port_mask"; keys(got) != want {
			t.Errorf("changed %s, want %s", keys(got), want)
		}
		if want := "alice: another password; session 16384-1 goes on until it ends: l2tpctl session disconnect 16384-1"; len(got.Notes) != 1 || got.Notes[0] != want {
			t.Errorf("notes %q, want %q", got.Notes, want)
		}
		if w.level != "debug" || got.Configuration != "t.yaml" {
			t.Errorf("log level %q, configuration %s", w.level, got.Configuration)
		}
		b.want("nothing happens to who is connected", whole)
		set := b.m.configured
		if len(set.Users) != 2 || set.Users[0].Password != "canary-three" || set.Pool.Contains(netip.MustParseAddr("10.0.0.9")) || set.Pool.Size() != 253 {
			t.Errorf("users %v, pool of %d", set.Users, set.Pool.Size())
		}
		told := b.events(eventReloaded)
		if len(told) != 1 || !strings.Contains(told[0].Text, "changed: ike.psk") || !strings.Contains(told[0].Text, "after a restart: slots.port_mask") {
			t.Errorf("events %+v", told)
		}

		stranger := b.station(3)
		stranger.dial()
		time.Sleep(time.Minute)
		b.want("the old key connects nobody", whole)
		next := b.station(5)
		next.home.PSK = []byte(reloadPSK)
		next.dial()
		b.until("the new key connects", func() bool { return b.count(sessionEstablished) == 2 })
		rows, err := b.c.API().Sessions(t.Context())
		if err != nil || len(rows) != 2 || rows[0].MTU != 1400 || rows[1].MTU != 1300 || rows[0].UptimeSeconds < 60 {
			t.Errorf("sessions %+v, %v", rows, err)
		}
		b.on(func() {
			for _, cl := range b.c.clients {
				for _, s := range cl.sessions {
					if want := map[bool]string{true: "10.0.0.1", false: "10.7.0.1"}[cl == b.clientOf(one)]; s.local.String() != want {
						t.Errorf("session %s: our end is %s, want %s", s.name(), s.local, want)
					}
				}
			}
		})

		b.m.configured.Pool = nil
		again, err := w.reload()
		if err != nil || keys(again) != "restart slots.port_mask" || len(again.Notes) > 0 {
			t.Errorf("once more: %+v, %v", again, err)
		}
		if b.m.configured.Pool != nil {
			t.Error("a pool that has not changed is replaced")
		}
		if b.c.opt.Block.Mask != 0xfff0 || len(w.kept) > 0 {
			t.Errorf("mask %#x, fetchers %v", b.c.opt.Block.Mask, w.kept)
		}
	})
}

// TestReloadRefused: what cannot be used changes nothing, whatever is at fault.
func TestReloadRefused(t *testing.T) {
	for name, c := range map[string]struct {
		replacements []string
		fault        string
		want         string
	}{
		"faulty file":       {[]string{testPSK, reloadPSK, "10.0.0.0/16", "10.0.0.0/160", "canary-one", `""`}, "", "t.yaml:3:7: pool: found"},
		"authentication":    {[]string{testPSK, reloadPSK, "canary-one", "canary-three"}, "configure logins", "out of luck"},
		"our address":       {[]string{testPSK, reloadPSK, "slots:", "ppp: {local_address: ADDRESS}\nslots:"}, "", "ppp.local_address: ADDRESS is the address of session 16384-1 (alice): end it first"},
		"our former":        {[]string{testPSK, reloadPSK, "10.0.0.0/16", "10.7.0.0/24", "canary-two", "canary-two, address: 10.0.0.1"}, "", "users[bob].address: 10.0.0.1 is our end of session 16384-1"},
		"no authentication": {[]string{`psk: "` + testPSK + `"`, "dpd_interval: 5s"}, "", "t.yaml:2:3: ike: found no way to authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, 91, func(t *testing.T, b *bench) {
				w := b.configured(reloadBefore)
				b.connected(1)
				rows, err := b.c.API().Sessions(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				here := strings.NewReplacer("ADDRESS", rows[0].IP.String())
				for i := range c.replacements {
					c.replacements[i] = here.Replace(c.replacements[i])
				}
				b.m.refuse(func(operation string) bool { return operation == c.fault })
				_, err = w.reload(c.replacements...)
				var e *control.Error
				if !errors.As(err, &e) || e.Status != http.StatusUnprocessableEntity || !strings.Contains(e.Message, here.Replace(c.want)) {
					t.Fatalf("error %v, want one with %q", err, c.want)
				}
				b.m.refuse(nil)
				synctest.Wait()
				failed := b.events(eventReloadFailed)
				if len(failed) != 1 || failed[0].Severity != control.SeverityError || strings.Contains(failed[0].Text, "canary") || strings.Contains(failed[0].Text, "\n") {
					t.Errorf("events %+v", failed)
				}
				if w.level != "" || len(b.m.configured.Users) > 0 || len(b.events(eventReloaded)) > 0 {
					t.Errorf("level %q, users %v", w.level, b.m.configured.Users)
				}
				b.station(3).dial()
				b.until("the old key connects", func() bool { return b.count(sessionEstablished) == 2 })
				// And the running configuration is what it was.
				w.text = reloadBefore
				if got, err := w.reload(); err != nil || len(got.Changes) > 0 {
					t.Errorf("the old file again: %+v, %v", got, err)
				}
			})
		})
	}
}

// TestReloadTakesOldAddresses: an address that is our end of a link which is up is not given to a client.
func TestReloadTakesOldAddresses(t *testing.T) {
	play(t, 92, func(t *testing.T, b *bench) {
		w := b.configured(reloadBefore)
		b.connected(1)
		if _, err := w.reload("slots:", "ppp: {local_address: 192.168.7.1}\nslots:"); err != nil {
			t.Fatal(err)
		}
		p := b.m.configured.Pool
		if first, err := p.Allocate(); err != nil || first != netip.MustParseAddr("10.0.0.2") {
			t.Errorf("the pool gives %v, %v", first, err)
		}
	})
}

// TestReloadWithDefect: nobody is told that nothing was changed if that is not known.
func TestReloadWithDefect(t *testing.T) {
	play(t, 95, func(t *testing.T, b *bench) {
		w := b.configured(reloadBefore)
		b.panics = 1
		b.m.refuse(func(operation string) bool {
			if operation == "configure logins" {
				panic("a defect")
			}
			return false
		})
		_, err := w.reload("canary-one", "canary-three")
		var e *control.Error
		if !errors.Is(err, errDefect) || errors.As(err, &e) || w.level != "" || len(b.events(eventReloadFailed)) > 0 {
			t.Errorf("%v, level %q", err, w.level)
		}
		b.m.refuse(nil)
		if got, err := w.reload(); err != nil || keys(got) != "now users[alice].password" {
			t.Errorf("afterwards: %+v, %v", got, err)
		}
		b.connected(1)
	})
}

// TestReloadBySignal: SIGHUP does the same.
func TestReloadBySignal(t *testing.T) {
	play(t, 93, func(t *testing.T, b *bench) {
		w := b.configured(reloadBefore)
		served := make(chan error)
		go func() { served <- w.r.serve(b.c.serving) }()
		w.text = strings.Replace(reloadBefore, testPSK, reloadPSK, 1)
		w.hangup <- nil
		b.until("the reload", func() bool { return len(b.events(eventReloaded)) == 1 })
		w.text = "ike: {}\n"
		w.hangup <- nil
		b.until("the refusal", func() bool { return len(b.events(eventReloadFailed)) == 1 })
		b.shutdown()
		if err := <-served; err != nil {
			t.Error(err)
		}
		w.text = reloadBefore
		if _, err := w.r.reload(t.Context()); !errors.Is(err, errStopped) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestReloadTrust: a certificate that was replaced in its file makes another trust, and nothing else does.
func TestReloadTrust(t *testing.T) {
	ca := newTestCA(t)
	text := "ike:\n  certificates: [{certificate: " + filepath.Join(ca.dir, "server.pem") + ", key: " + filepath.Join(ca.dir, "server.key") + "}]\n" +
		"  authorities: " + filepath.Join(ca.dir, "ca.pem") + "\n  crls: " + filepath.Join(ca.dir, "ca.crl") + "\npool: 10.0.0.0/16\nusers: [{name: alice, password: x}]\nslots: {port_mask: 0xfff0}\n"
	b := newBench(t, 94)
	w := b.configured(text)
	old := w.r.current.ike.Trust
	if got, err := w.reload("password: x", "password: y"); err != nil || keys(got) != "now users[alice].password" || w.r.current.ike.Trust != old || len(w.kept) > 0 {
		t.Errorf("%s, %v, kept %v", keys(got), err, w.kept)
	}
	other := newTestCA(t)
	cert, err := os.ReadFile(filepath.Join(other.dir, "server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(other.dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca.write("server.pem", cert)
	if _, err := w.reload(); err == nil || !strings.Contains(err.Error(), "the key of another certificate") || w.r.current.ike.Trust != old {
		t.Errorf("half-way: %v", err)
	}
	ca.write("server.key", key)
	got, err := w.reload()
	if err != nil || keys(got) != "now ike.certificates" || len(w.kept) != 1 || w.kept[0] == nil || w.r.current.ike.Trust == old {
		t.Fatalf("%s, %v, kept %v", keys(got), err, w.kept)
	}
	if len(w.r.current.ike.Credentials) != 1 || w.r.current.ike.Credentials[0].Certificate().SerialNumber.Int64() != 2 {
		t.Errorf("credentials %v", w.r.current.ike.Credentials)
	}
	b.shutdown()
}
