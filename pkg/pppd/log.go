package pppd

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
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

// pump reads lines until the writer is gone and passes on what the rate allows. now is the clock.
func pump(r io.Reader, now func() time.Time, emit func(string)) {
	br := bufio.NewReaderSize(r, maxLogBuffer)
	tokens, last, dropped := logBurst, now(), 0
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			clean := printable(line)
			for err == bufio.ErrBufferFull { // the rest of an overlong line
				_, err = br.ReadSlice('\n')
			}
			if clean != "" && emit != nil && !isNoise(clean) {
				if n := int(now().Sub(last) / logRefill); n > 0 {
					tokens, last = min(logBurst, tokens+n), last.Add(time.Duration(n)*logRefill)
				}
				if tokens == 0 {
					dropped++
				} else {
					tokens--
					if dropped > 0 {
						clean, dropped = fmt.Sprintf("%s (%d lines before it dropped)", clean, dropped), 0
					}
					emit(clean)
				}
			}
		}
		if err != nil {
			return
		}
	}
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
