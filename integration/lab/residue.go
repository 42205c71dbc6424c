package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Residue lists what there is of the daemon's clients: SAs, policies, L2TP tunnels and sessions, interfaces, addresses, pppd processes, and
// sockets at the ports of slots. If stopped is true, it also lists what only a daemon that runs may have: its nftables table, any other
// UDP socket (those of IKE and RADIUS are such), and the file of the control socket.
func (s *Server) Residue(ctx context.Context, stopped bool) ([]string, error) {
	var found []string
	note := func(what, text string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				found = append(found, what+": "+line)
			}
		}
	}
	tables, sockets := contains(), ownPort
	if stopped {
		tables, sockets = contains(" l2tpctl"), contains(":") // every socket: nobody else has any in the server's namespace
	}
	queries := []struct {
		what string
		args []string
		keep func(line string) bool
	}{
		{"SA", []string{"ip", "xfrm", "state", "list"}, startsWith("src")},
		{"policy", []string{"ip", "xfrm", "policy", "list", "nosock"}, startsWith("src")},
		{"socket policy", []string{"ip", "xfrm", "policy", "list"}, contains("tmpl ")},
		{"L2TP tunnel", []string{"ip", "l2tp", "show", "tunnel"}, startsWith("Tunnel")},
		{"L2TP session", []string{"ip", "l2tp", "show", "session"}, startsWith("Session")},
		{"interface", []string{"ip", "-o", "link", "show"}, contains(": l2t", ": ppp")},
		{"address", []string{"ip", "-o", "address", "show"}, contains(" l2t", " ppp")},
		{"nftables", []string{"nft", "list", "tables"}, tables},
		{"socket", []string{"ss", "-H", "-u", "-a", "-n", "-p"}, sockets},
	}
	for _, query := range queries {
		out, err := s.Run(ctx, query.args...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			if query.keep(line) {
				note(query.what, line)
			}
		}
	}
	pids, err := processesIn("net", s.path())
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if name := programName(pid); name == "pppd" {
			found = append(found, fmt.Sprintf("process: %s %d", name, pid))
		}
	}
	if _, err := os.Stat(s.Socket()); stopped && !errors.Is(err, fs.ErrNotExist) {
		found = append(found, fmt.Sprintf("control socket: %s (%v)", s.Socket(), err))
	}
	return found, nil
}

// WaitClean waits until there is no residue.
func (s *Server) WaitClean(ctx context.Context, limit time.Duration, stopped bool) error {
	return Until(ctx, limit, "the kernel has nothing of the daemon's clients", func() error {
		found, err := s.Residue(ctx, stopped)
		if err == nil && len(found) > 0 {
			err = errors.New(strings.Join(found, "\n  "))
		}
		return err
	})
}

func startsWith(prefix string) func(string) bool {
	return func(line string) bool { return strings.HasPrefix(line, prefix) }
}

func contains(parts ...string) func(string) bool {
	return func(line string) bool {
		for _, part := range parts {
			if strings.Contains(line, part) {
				return true
			}
		}
		return false
	}
}

// ownPort says whether a line of ss shows a socket at a port of the default slots, 16384 to 32767, or of those of plain tunnels, 8192 to 16383.
func ownPort(line string) bool {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return false
	}
	_, port, found := cutLast(fields[3], ":")
	var number int
	_, err := fmt.Sscan(port, &number)
	return found && err == nil && (number&0xC000 == 0x4000 || number&0xE000 == 0x2000)
}

func cutLast(s, separator string) (before, after string, found bool) {
	at := strings.LastIndex(s, separator)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(separator):], true
}
