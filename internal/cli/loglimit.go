package cli

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The limits of the log, in entries of one kind and one second. Whoever can reach UDP port 500 can cause warnings, so these are few;
// information is about clients that know the pre-shared key.
const (
	limitWindow = time.Second
	limitWarn   = 10 // and errors
	limitInfo   = 200
	// limitRecord lets the records of all users through who come back at once after a power failure, or go with the daemon.
	limitRecord = 5000
	// maxKinds bounds the memory: kinds that come later in a second share one limit.
	maxKinds = 512
)

// records are the messages by which operators account for what their users did.
var records = []string{"session up", "session down"}

// leftOut is written in place of the entries of a kind that a second had too many of. Counters (`stats`) count them all.
const leftOut = "log messages left out"

// limiter is a zapcore.Core that bounds what a flood of events writes.
//
// zap's own sampler is not enough: it counts by the exact text, which many messages fill with addresses and numbers, by a hash that
// a peer who chooses some of that text can make collide with that of a record; and it does not say what it left out.
type limiter struct {
	zapcore.Core
	limits *limits // shared by all loggers made of this one
}

func newLimiter(core zapcore.Core) zapcore.Core {
	return &limiter{core, &limits{out: core, counts: make(map[kind]*count)}}
}

// With implements zapcore.Core.
func (l *limiter) With(fields []zapcore.Field) zapcore.Core {
	return &limiter{l.Core.With(fields), l.limits}
}

// Check implements zapcore.Core.
func (l *limiter) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !l.Enabled(e.Level) || !l.limits.allow(e) {
		return ce
	}
	return l.Core.Check(e, ce)
}

// Sync implements zapcore.Core.
func (l *limiter) Sync() error {
	l.limits.mu.Lock()
	l.limits.report(time.Now())
	l.limits.mu.Unlock()
	return l.Core.Sync()
}

// kind is what entries are counted by.
type kind struct {
	level zapcore.Level
	text  string // as kindOf has it; empty: one of too many kinds
}

type count struct{ written, dropped int }

type limits struct {
	out zapcore.Core

	mu     sync.Mutex
	start  time.Time // of the current second
	counts map[kind]*count
}

// allow counts an entry and says whether it is to be written.
func (l *limits) allow(e zapcore.Entry) bool {
	if e.Level > zapcore.ErrorLevel {
		return true // the process ends with it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if passed := e.Time.Sub(l.start); passed >= limitWindow || passed < 0 {
		l.report(e.Time)
		clear(l.counts)
		l.start = e.Time
	}
	k := kind{e.Level, kindOf(e.Message)}
	c := l.counts[k]
	if c == nil && len(l.counts) >= maxKinds && !slices.Contains(records, k.text) {
		k.text = ""
		c = l.counts[k]
	}
	if c == nil {
		c = &count{}
		l.counts[k] = c
	}
	if c.written >= k.limit() {
		c.dropped++
		return false
	}
	c.written++
	return true
}

func (k kind) limit() int {
	switch {
	case slices.Contains(records, k.text):
		return limitRecord
	case k.level >= zapcore.WarnLevel:
		return limitWarn
	default:
		return limitInfo
	}
}

// report writes what was left out of the second that ends. The caller holds mu.
func (l *limits) report(now time.Time) {
	if !l.out.Enabled(zapcore.WarnLevel) {
		return
	}
	kinds := slices.SortedFunc(maps.Keys(l.counts), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.level, b.level), strings.Compare(a.text, b.text))
	})
	for _, k := range kinds {
		c := l.counts[k]
		if c.dropped == 0 {
			continue
		}
		// An error of the log has nowhere to go.
		_ = l.out.Write(zapcore.Entry{Level: zapcore.WarnLevel, Time: now, Message: leftOut},
			[]zapcore.Field{zap.Int("count", c.dropped), zap.Stringer("of_level", k.level), zap.String("like", cmp.Or(k.text, "various"))})
		c.dropped = 0
	}
}

// kindOf returns the part of a message that is the same for all events of a kind: words with digits in them (numbers, addresses,
// proposals) become "#", and the message ends where a quotation or parenthesis begins, which may hold what a peer wrote.
func kindOf(message string) string {
	const longest = 120
	if i := strings.IndexAny(message, `"(`); i >= 0 {
		message = message[:i]
	}
	message = message[:min(len(message), longest)]
	if !strings.ContainsAny(message, "0123456789") {
		return message
	}
	words := strings.Split(message, " ")
	for i, w := range words {
		if strings.ContainsAny(w, "0123456789") {
			words[i] = "#"
		}
	}
	return strings.Join(words, " ")
}
