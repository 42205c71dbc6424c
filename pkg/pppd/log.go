package pppd

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxLogLine   = 400             // octets passed on of one line
	logBurst     = 60              // lines at once: more than a complete session writes
	logRefill    = 2 * time.Second // one more line for each of these
	maxLogBuffer = 512
)

// noise is what every session would say and nobody needs: there is no database on purpose, no map of ttys, and the plugin
// prefers our MTU to pppd's own first guess.
var noise = []string{"couldn't open ppp database", "rc_map2id: can't find tty", "Overriding mtu 1500 ", "Overriding mru 1500 "}

// lines cuts what pppd writes into lines and passes on what the rate allows.
type lines struct {
	begun           []byte // of a line without its end, at most maxLogBuffer octets
	tokens, dropped int
	last            time.Time
}

// begin lets a burst pass.
func (l *lines) begin(now time.Time) { l.tokens, l.last = logBurst, now }

// write takes the next octets. now is the clock.
func (l *lines) write(b []byte, now func() time.Time, emit func(string)) {
	for len(b) > 0 {
		line, rest, complete := bytes.Cut(b, []byte{'\n'})
		l.begun = append(l.begun, line[:min(len(line), maxLogBuffer-len(l.begun))]...)
		if complete {
			l.end(now, emit)
		}
		b = rest
	}
}

// end passes on the line that was begun.
func (l *lines) end(now func() time.Time, emit func(string)) {
	clean := printable(l.begun)
	l.begun = l.begun[:0]
	if clean == "" || emit == nil || isNoise(clean) {
		return
	}
	if n := int(now().Sub(l.last) / logRefill); n > 0 {
		l.tokens, l.last = min(logBurst, l.tokens+n), l.last.Add(time.Duration(n)*logRefill)
	}
	if l.tokens == 0 {
		l.dropped++
		return
	}
	l.tokens--
	if l.dropped > 0 {
		clean, l.dropped = fmt.Sprintf("%s (%d lines before it dropped)", clean, l.dropped), 0
	}
	emit(clean)
}

// hear reads p's log until pppd is gone. Between the reading of octets and the end of what they cause the gate is held for
// reading.
func (p *Process) hear(gate *sync.RWMutex, log func(line string)) {
	emit := func(line string) {
		p.heard(line)
		if log != nil {
			log(line)
		}
	}
	caughtUp := sync.OnceFunc(func() { close(p.caughtUp) })
	defer caughtUp()
	p.log.begin(time.Now())
	raw, err := p.logs.SyscallConn()
	for more := true; more && err == nil; {
		err = raw.Read(func(fd uintptr) bool {
			gate.RLock()
			defer gate.RUnlock()
			var b [maxLogBuffer]byte
			n, err := unix.Read(int(fd), b[:])
			for err == unix.EINTR {
				n, err = unix.Read(int(fd), b[:])
			}
			switch {
			case err == unix.EAGAIN:
				caughtUp()
				return false
			case err != nil || n == 0:
				more = false
			default:
				p.log.write(b[:n], time.Now, emit)
			}
			return true
		})
	}
	gate.RLock()
	defer gate.RUnlock()
	p.log.end(time.Now, emit)
	p.logs.Close()
	p.deaf = true
}

func isNoise(line string) bool {
	for _, n := range noise {
		if strings.Contains(line, n) {
			return true
		}
	}
	return false
}

// printable makes a line safe for a terminal: what the peer sent may be in it.
func printable(b []byte) string {
	var sb strings.Builder
	for _, c := range b {
		if sb.Len() >= maxLogLine {
			break
		}
		switch {
		case c == '\n' || c == '\r':
		case c < ' ' || c > '~':
			fmt.Fprintf(&sb, `\x%02x`, c)
		default:
			sb.WriteByte(c)
		}
	}
	return strings.TrimSpace(sb.String())
}
