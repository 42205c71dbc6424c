// Package client is the daemon's side of the keeper: sockets, SAs, tunnels, pppd and records, for a process without privileges.
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// ErrNoKeeper says that there is no keeper in this network namespace.
var ErrNoKeeper = errors.New("no keeper runs in this network namespace")

// ErrGone is the error of all that is asked for when the keeper has ended.
var ErrGone = errors.New("the keeper has ended, and with it every session")

const (
	// busyWait is how long the keeper may take to notice that the daemon before us has ended.
	busyWait  = 2 * time.Second
	busyPause = 20 * time.Millisecond
	// helloWait is for a keeper that does nothing else.
	helloWait = 10 * time.Second
)

// A VersionError says that the keeper that runs and this daemon do not understand each other.
type VersionError struct {
	KeeperBuild, Build         string
	KeeperOldest, KeeperNewest uint32 // what the keeper speaks
	Oldest, Newest             uint32 // what we speak
}

// Error says what both are, and what to do.
func (e *VersionError) Error() string {
	cure := "upgrade the keeper first, which drops no session: `systemctl reload l2tpctl-keeper`, or send it SIGHUP, when the new program is in its place;" +
		" if that does not help, `systemctl restart l2tpctl-keeper` does, and ends all sessions"
	if e.KeeperOldest > e.Newest {
		cure = "start a daemon of the keeper's version, or `systemctl restart l2tpctl-keeper`, which ends all sessions"
	}
	return fmt.Sprintf("the keeper that runs (build %s) speaks versions %d to %d of its protocol, and this daemon (build %s) versions %d to %d; %s",
		e.KeeperBuild, e.KeeperOldest, e.KeeperNewest, e.Build, e.Oldest, e.Newest, cure)
}

// A BusyError says that another daemon is connected to the keeper.
type BusyError struct {
	PID         int
	KeeperBuild string
}

// Error names the other daemon.
func (e *BusyError) Error() string {
	return fmt.Sprintf("another l2tpctl serves in this network namespace (process %d): stop it first", e.PID)
}

// Path is the socket of the keeper of the calling thread's network namespace.
func Path() (string, error) {
	namespace, err := protocol.Namespace()
	if err != nil {
		return "", err
	}
	return protocol.SocketPath(protocol.Dir, namespace), nil
}

// Dial connects to the keeper at a path; build is our own version, for its log. The error may be ErrNoKeeper, a *VersionError or a *BusyError, the
// latter if another daemon is still connected after two seconds.
func Dial(ctx context.Context, path, build string) (*Conn, error) {
	give := time.Now().Add(busyWait)
	for {
		c, err := DialOnce(ctx, path, build)
		_, busy := errors.AsType[*BusyError](err)
		// A keeper that becomes another program forgets who has not said hello yet.
		if !busy && !errors.Is(err, ErrGone) || time.Now().After(give) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(busyPause):
		}
	}
}

// DialOnce is Dial for one that is not in earnest: a keeper that has a daemon is not asked again.
func DialOnce(ctx context.Context, path, build string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloWait)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unixpacket", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w (%s)", ErrNoKeeper, path)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the keeper: %w", err)
	}
	c := newConn(conn.(*net.UnixConn))
	if err := c.hello(ctx, build); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// hello finds the newest version that both sides speak.
func (c *Conn) hello(ctx context.Context, build string) error {
	for version := protocol.Current; ; {
		m, err := c.call(ctx, protocol.OpHello, protocol.Hello{Protocol: version, Build: build}, nil)
		if err == nil {
			return c.welcome(m)
		}
		refused, ok := errors.AsType[*protocol.Error](err)
		if !ok || refused.Refusal == nil {
			return fmt.Errorf("say hello to the keeper: %w", err)
		}
		r := refused.Refusal
		if r.BusyWith != 0 {
			return &BusyError{PID: r.BusyWith, KeeperBuild: r.Build}
		}
		if common := min(r.Newest, protocol.Current); common < version && common >= max(r.Oldest, protocol.Oldest) {
			version = common
			continue
		}
		return &VersionError{
			KeeperBuild: r.Build, KeeperOldest: r.Oldest, KeeperNewest: r.Newest,
			Build: build, Oldest: protocol.Oldest, Newest: protocol.Current,
		}
	}
}
