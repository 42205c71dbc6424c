package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/config"
)

// handClock is a clock that is set by hand.
type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time                       { return c.now }
func (c *handClock) NewTicker(time.Duration) *time.Ticker { return nil }

func limitedLogger(t *testing.T, level string) (*zap.Logger, *handClock, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	log, _, err := NewLogger(config.Log{Level: level, Format: "json"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	clock := &handClock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	return log.WithOptions(zap.WithClock(clock)), clock, &out
}

// tally counts the written entries that contain text, and adds up what is said to be left out of them.
func tally(t *testing.T, out *bytes.Buffer, text string) (written, left int) {
	t.Helper()
	for line := range strings.Lines(out.String()) {
		var e struct {
			Msg, Like string
			Count     int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.Contains(e.Msg, text):
			written++
		case e.Msg == leftOut && strings.Contains(e.Like, text):
			left += e.Count
		}
	}
	return written, left
}

func TestLogFlood(t *testing.T) {
	log, clock, out := limitedLogger(t, "info")
	named := log.With(zap.String("part", "ike")) // shares the limits
	const flood, seconds = 100_000, 4
	for i := range flood {
		clock.now = clock.now.Add(seconds * time.Second / flood)
		switch i % 3 {
		case 0:
			log.Warn("phase 1 failed", zap.Int("n", i))
		case 1:
			named.Warn("phase 1 failed")
		case 2:
			log.Info(fmt.Sprintf("tunnel %d: call %d refused: $(%d)", i, i, i)) // a new text each time
		}
		if i%100 == 0 {
			log.Info("session up", zap.Int("n", i))
		}
	}
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text         string
		limit, total int
	}{{"phase", limitWarn, flood/3*2 + 1}, {"refused", limitInfo, flood / 3}} {
		written, left := tally(t, out, c.text)
		if written < c.limit*seconds || written > c.limit*(seconds+1) {
			t.Errorf("%s: %d entries in %d s, limit is %d/s", c.text, written, seconds, c.limit)
		}
		if written+left != c.total {
			t.Errorf("%s: %d written and %d left out, together not %d", c.text, written, left, c.total)
		}
	}
	if written, _ := tally(t, out, "session up"); written != flood/100 {
		t.Errorf("%d of %d records survived the flood", written, flood/100)
	}
}

// TestLogRecords: everybody comes back at once, and goes at once.
func TestLogRecords(t *testing.T) {
	log, _, out := limitedLogger(t, "info")
	for i := range 3000 {
		log.Info("session up", zap.Int("n", i))
		log.Info("session down", zap.Int("n", i))
	}
	for _, text := range []string{"session up", "session down"} {
		if written, left := tally(t, out, text); written != 3000 || left != 0 {
			t.Errorf("%s: %d written, %d left out", text, written, left)
		}
	}
}

func TestLogKinds(t *testing.T) {
	for message, want := range map[string]string{
		"session up": "session up",
		"tunnel 16384 up (peer 7, 203.0.113.9:1701, host \"a\", vendor \"b\")":        "tunnel # up ",
		"client 3: child 4 established with [2001:db8::1]:4500, aes256-sha1, SPIs in": "client # child # established with # # SPIs in",
		`user "session up" rejected`: "user ",
		"":                           "",
		strings.Repeat("x", 500):     strings.Repeat("x", 120),
	} {
		if got := kindOf(message); got != want {
			t.Errorf("kindOf(%q) = %q, want %q", message, got, want)
		}
	}
	log, _, out := limitedLogger(t, "info")
	for i := range 100_000 { // as many kinds as messages
		log.Warn(strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(i)))
	}
	log.Info("session up")
	if lines := strings.Count(out.String(), "\n"); lines > maxKinds+limitWarn+1 {
		t.Errorf("%d lines", lines)
	}
	if written, _ := tally(t, out, "session up"); written != 1 {
		t.Error("too many kinds drowned a record")
	}
}
