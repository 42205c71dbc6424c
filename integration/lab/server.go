package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

// Server is the program under test in a namespace of its own.
type Server struct {
	*Namespace
	Process *Process // nil before the first Start

	binary string
	dir    string
	config string // path
	socket string // path of the control socket
}

// Server prepares the program in a namespace; config is the text of its YAML file, without the section control.
func (l *Lab) Server(space *Namespace, binary, config string) (*Server, error) {
	dir := filepath.Join(l.Dir, space.Name)
	s := &Server{Namespace: space, binary: binary, dir: dir, config: filepath.Join(dir, "config.yaml"), socket: filepath.Join(dir, "control.sock")}
	return s, s.Configure(config)
}

// Configure writes another configuration for the next Start.
func (s *Server) Configure(config string) error {
	_, err := s.lab.file(config+"control:\n  socket: "+s.Socket()+"\n", s.Name, "config.yaml")
	return err
}

// Socket is the path of the control socket.
func (s *Server) Socket() string { return s.socket }

// Start starts the daemon and waits until it answers on its control socket.
func (s *Server) Start(ctx context.Context) error {
	if err := s.Launch(); err != nil {
		return err
	}
	return Until(ctx, 60*time.Second, "the daemon answers", func() error {
		select {
		case <-s.Process.Ended():
			return fmt.Errorf("%w: the daemon ended (%v): %s", errStop, s.Process.err, tail(s.Process.Log, 20))
		default:
			_, err := s.Tunnels(ctx)
			return err
		}
	})
}

// Launch is Start without waiting.
func (s *Server) Launch() (err error) {
	s.Process, err = s.lab.start(s.Command(context.Background(), s.binary, "serve", "-c", s.config), s.Name, "serve.log")
	return err
}

// Stop ends the daemon with SIGTERM. An exit status that is not zero is an error.
func (s *Server) Stop() error { return s.Process.Signal(syscall.SIGTERM, 60*time.Second) }

// CLI runs l2tpctl against the daemon and returns what it printed.
func (s *Server) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.binary, append([]string{"--socket", s.Socket()}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("l2tpctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.String(), nil
}

// Drift asks for the differences between daemon and kernel.
func (s *Server) Drift(ctx context.Context) ([]control.Drift, error) {
	c := control.NewClient(s.Socket())
	defer c.Close()
	return c.Drift(ctx)
}

// Doctor runs l2tpctl doctor where the daemon runs. That it finds failures is not an error.
func (s *Server) Doctor(ctx context.Context) ([]doctor.Finding, error) {
	return findings(s.Command(ctx, s.binary, "doctor", "-c", s.config, "-o", "json"))
}

// findings runs a doctor.
func findings(cmd *exec.Cmd) ([]doctor.Finding, error) {
	out, err := cmd.Output()
	var findings []doctor.Finding
	if decodeErr := json.Unmarshal(out, &findings); decodeErr != nil {
		return nil, fmt.Errorf("l2tpctl doctor: %w: %s", errors.Join(err, decodeErr), out)
	}
	return findings, nil
}

func query[T any](ctx context.Context, s *Server, args ...string) (T, error) {
	var result T
	out, err := s.CLI(ctx, append(args, "-o", "json")...)
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return result, fmt.Errorf("decode what l2tpctl %s printed: %w: %s", strings.Join(args, " "), err, out)
	}
	return result, nil
}

// Tunnels asks the daemon for its tunnels.
func (s *Server) Tunnels(ctx context.Context) ([]control.Tunnel, error) {
	return query[[]control.Tunnel](ctx, s, "tunnel", "list")
}

// Sessions asks the daemon for its sessions.
func (s *Server) Sessions(ctx context.Context) ([]control.Session, error) {
	return query[[]control.Session](ctx, s, "session", "list")
}

// SAs asks the daemon for its SAs.
func (s *Server) SAs(ctx context.Context) ([]control.SA, error) {
	return query[[]control.SA](ctx, s, "sa", "list")
}

// Stats asks the daemon for its counters.
func (s *Server) Stats(ctx context.Context) (control.Stats, error) {
	return query[control.Stats](ctx, s, "stats")
}

// Events asks the daemon for its events of one kind.
func (s *Server) Events(ctx context.Context, kind string) ([]control.Event, error) {
	return query[[]control.Event](ctx, s, "events", "--match", "kind="+kind)
}

// FollowEvents runs l2tpctl events --follow until the context or the daemon ends. Each event goes to each; the error is that of the
// program.
func (s *Server) FollowEvents(ctx context.Context, each func(control.Event)) error {
	cmd := exec.CommandContext(ctx, s.binary, "--socket", s.Socket(), "events", "--follow", "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("follow events: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("follow events: %w", err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e control.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return errors.Join(fmt.Errorf("decode event %q: %w", lines.Text(), err), cmd.Cancel(), cmd.Wait())
		}
		each(e)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("l2tpctl events --follow: %w", err)
	}
	return nil
}

// SessionOf returns the session of a user once it is up.
func (s *Server) SessionOf(ctx context.Context, user string) (control.Session, error) {
	var found control.Session
	err := Until(ctx, 60*time.Second, "session of "+user, func() error {
		sessions, err := s.Sessions(ctx)
		if err != nil {
			return err
		}
		for _, session := range sessions {
			if session.User == user && session.State == "established" {
				found = session
				return nil
			}
		}
		return fmt.Errorf("there are %+v", sessions)
	})
	return found, err
}

// WaitEmpty waits until the daemon has no tunnel, session and SA.
func (s *Server) WaitEmpty(ctx context.Context, limit time.Duration) error {
	return Until(ctx, limit, "the daemon has no clients", func() error {
		tunnels, errTunnels := s.Tunnels(ctx)
		sessions, errSessions := s.Sessions(ctx)
		sas, errSAs := s.SAs(ctx)
		if err := errors.Join(errTunnels, errSessions, errSAs); err != nil {
			return err
		}
		if len(tunnels)+len(sessions)+len(sas) > 0 {
			return fmt.Errorf("there are tunnels %+v, sessions %+v, SAs %v", tunnels, sessions, sas)
		}
		return nil
	})
}

// Says waits until a line of the daemon's log contains all of the words.
func (s *Server) Says(ctx context.Context, limit time.Duration, words ...string) error {
	return Until(ctx, limit, fmt.Sprintf("%q in the daemon's log", words), func() error {
		for line := range strings.Lines(after(s.Process.Log, s.Process.from)) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return nil
			}
		}
		return errors.New("not there")
	})
}

// FDs returns how many file descriptors the daemon has open.
func (s *Server) FDs() (int, error) { return FDs(s.Process.PID()) }
