package concentrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/revocation"
)

// Reloading is how a daemon comes to another configuration.
type Reloading struct {
	// Load reads and validates the configuration that is to be in force.
	Load func() (*config.Config, error)
	// SetLevel sets the level of the log.
	SetLevel func(level string)
	// Signals ask for it, beside the control API. Nil: none do.
	Signals <-chan os.Signal
}

// errDefect is of a reload that was not finished.
var errDefect = errors.New("a defect of this program came between, and part of it may be in force: see the log, report it, and restart the daemon")

// maxKeysTold bounds the settings that an event of a reload names.
const maxKeysTold = 12

// reloader puts one configuration in the place of another.
type reloader struct {
	Reloading
	c    *Concentrator
	keep func(*revocation.Fetcher) // has what keeps a trust informed run, in the place of what did so far; nil: nothing

	mu      sync.Mutex // one at a time
	running *config.Config
	current settings // running, in the terms of the parts
}

func newReloader(c *Concentrator, running *config.Config, current settings, r Reloading, keep func(*revocation.Fetcher)) *reloader {
	out := &reloader{Reloading: r, c: c, keep: keep, running: running, current: current}
	c.reload = out.reload
	return out
}

// serve reloads whenever a signal comes, until ctx ends. What comes of it stands in the log and is an event.
func (r *reloader) serve(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.Signals:
			_, _ = r.reload(ctx)
		}
	}
}

// reload puts the configuration in force that Load returns, or changes nothing and says why.
func (r *reloader) reload(ctx context.Context) (control.Reload, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result, err := r.attempt(context.WithoutCancel(ctx)) // a caller who hangs up half-way finds the change made, or not
	switch {
	case errors.Is(err, errStopped), errors.Is(err, errDefect):
		return result, err
	case err == nil:
		for _, w := range result.Warnings {
			r.c.Log.Warn("configuration: " + w)
		}
		return result, nil
	}
	r.c.post(func() {
		faults := strings.Split(err.Error(), "\n")
		text := "the configuration cannot be used, and nothing was changed: " + faults[0]
		if more := len(faults) - 1; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		r.c.record("reload failed", control.Event{Kind: eventReloadFailed, Severity: control.SeverityError, Text: text}, zap.Strings("faults", faults))
	})
	return result, &control.Error{Status: http.StatusUnprocessableEntity, Message: err.Error()}
}

// attempt prepares all that can fail, and then puts it in place on the loop.
func (r *reloader) attempt(ctx context.Context) (control.Reload, error) {
	loaded, err := r.Load()
	if err != nil {
		return control.Reload{}, err
	}
	changes := config.Compare(r.running, loaded)
	next := config.WithoutRestart(r.running, loaded)
	s, err := newSettings(next, r.c.Log)
	if err != nil {
		return control.Reload{}, fmt.Errorf("configuration %s: %w", loaded.Path, err)
	}
	informed := !slices.ContainsFunc(changes, trusts)
	if informed { // what was fetched for the old trust stays known
		s.ike.Trust, s.revocation = r.current.ike.Trust, r.current.revocation
	} else if s.revocation != nil {
		s.revocation.Load(ctx)
	}
	if slices.Equal(next.Pool, r.running.Pool) && next.PPP.LocalAddress == r.running.PPP.LocalAddress {
		s.users.Pool = nil // the one that is there remembers which addresses rest
	}
	result := control.Reload{Configuration: loaded.Path, Changes: []control.Change{}, Notes: []string{}, Warnings: append([]string{}, loaded.Warnings...)}
	for _, ch := range changes {
		result.Changes = append(result.Changes, control.Change{Key: ch.Key, Old: ch.Old, New: ch.New, Effect: string(ch.Effect)})
	}
	refused := errDefect // the loop outlives a panic
	if err := r.c.call(ctx, func() {
		if refused = r.c.configure(s, r.current); refused == nil {
			result.Notes = append(result.Notes, r.c.remaining(r.running, next)...)
			r.running, r.current = next, s
			r.c.record("configuration reloaded", control.Event{Kind: eventReloaded, Text: summary(changes)}, zap.String("configuration", loaded.Path))
		}
	}); err != nil {
		return control.Reload{}, err
	}
	if errors.Is(refused, errDefect) {
		return control.Reload{}, refused
	}
	if refused != nil {
		return control.Reload{}, fmt.Errorf("configuration %s: %w", loaded.Path, refused)
	}
	r.SetLevel(next.Log.Level)
	if !informed {
		r.keep(s.revocation)
	}
	return result, nil
}

// trusts says whether a change is of what a trust is made of.
func trusts(ch config.Change) bool {
	return slices.Contains([]string{"ike.certificates", "ike.authorities", "ike.allow", "ike.revocation", "ike.crls", "ike.ocsp", "ike.certificate_urls"}, ch.Key)
}

// summary says in a line what was changed.
func summary(changes []config.Change) string {
	if len(changes) == 0 {
		return "nothing has changed"
	}
	var now, later []string
	for _, ch := range changes {
		if ch.Effect == config.EffectRestart {
			later = append(later, ch.Key)
		} else {
			now = append(now, ch.Key)
		}
	}
	var parts []string
	if len(now) > 0 {
		parts = append(parts, "changed: "+someOf(now))
	}
	if len(later) > 0 {
		parts = append(parts, "after a restart: "+someOf(later))
	}
	return strings.Join(parts, "; ")
}

func someOf(keys []string) string {
	if more := len(keys) - maxKeysTold; more > 0 {
		return fmt.Sprintf("%s and %d more", joined(keys[:maxKeysTold]), more)
	}
	return joined(keys)
}
