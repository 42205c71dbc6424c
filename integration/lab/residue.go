package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Residue lists what there is of the daemon's in the kernel: SAs, policies, L2TP tunnels and sessions, interfaces, nftables tables,
// pppd processes, sockets and routes. It is empty before the first client and after the last, but for the nftables table of
// a daemon that runs, which counts only if table is true.
func (s *Server) Residue(ctx context.Context, table bool) ([]string, error) {
	var found []string
	note := func(what, text string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				found = append(found, what+": "+line)
			}
		}
	}
	queries := []struct {
		what   string
		args   []string
		keep   func(line string) bool
		wanted bool
	}{
		{"SA", []string{"ip", "xfrm", "state", "list"}, startsWith("src"), true},
		{"policy", []string{"ip", "xfrm", "policy", "list", "nosock"}, startsWith("src"), true},
		{"socket policy", []string{"ip", "xfrm", "policy", "list"}, contains("tmpl "), true},
		{"L2TP tunnel", []string{"ip", "l2tp", "show", "tunnel"}, startsWith("Tunnel"), true},
		{"L2TP session", []string{"ip", "l2tp", "show", "session"}, startsWith("Session"), true},
		{"interface", []string{"ip", "-o", "link", "show"}, contains(": l2t", ": ppp"), true},
		{"address", []string{"ip", "-o", "address", "show"}, contains(" l2t", " ppp"), true},
		{"nftables", []string{"nft", "list", "tables"}, contains(" l2tpctl"), table},
		{"socket", []string{"ss", "-H", "-u", "-a", "-n", "-p"}, ownPort, true},
	}
	for _, query := range queries {
		if !query.wanted {
			continue
		}
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
	return found, nil
}

// WaitClean waits until there is no residue.
func (s *Server) WaitClean(ctx context.Context, limit time.Duration, table bool) error {
	return Until(ctx, limit, "the kernel has nothing of the daemon's clients", func() error {
		found, err := s.Residue(ctx, table)
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

// ownPort says whether a line of ss shows a socket at a port of the default slots, 16384 to 32767.
func ownPort(line string) bool {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return false
	}
	_, port, found := cutLast(fields[3], ":")
	var number int
	_, err := fmt.Sscan(port, &number)
	return found && err == nil && number&0xC000 == 0x4000
}

func cutLast(s, separator string) (before, after string, found bool) {
	at := strings.LastIndex(s, separator)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(separator):], true
}
