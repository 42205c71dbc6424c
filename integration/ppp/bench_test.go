//go:build kernel

package ppp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/pool"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

const (
	marker        = "l2tpctl-test"
	patience      = 20 * time.Second
	ourTunnel     = 16384
	clientTunnel  = 100
	ourPort       = 16384
	clientPort    = 17011
	localIP       = "10.9.0.1"
	clientAddress = "192.0.2.33"
)

// bench is a concentrator's PPP side and a tunnel to a client on the same machine.
type bench struct {
	t        *testing.T
	aaa      *aaa.Server
	launcher *pppd.Launcher
	events   chan aaa.Event
	told     []aaa.Event // and wanted by nobody yet

	// late is by how much the client's PPP starts after the session; if not zero, ours awaits it for patience.
	late, patience time.Duration

	mu       sync.Mutex
	sessions int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	r, err := pool.ParseRange("10.9.0.0/22")
	if err != nil {
		t.Fatal(err)
	}
	p, err := pool.New([]pool.Range{r}, netip.MustParseAddr(localIP))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, events: make(chan aaa.Event, 4096)}
	b.aaa, err = aaa.New(aaa.Config{
		Pool: p,
		Users: []aaa.User{
			{Name: "alice", Password: "wonderland"},
			{Name: "bob", Password: "builder", Address: netip.MustParseAddr("10.9.9.9")},
			{Name: "jürgen", Password: "pässwörd"},
		},
		Notify: func(e aaa.Event) { b.events <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.aaa.Start()
	t.Cleanup(b.aaa.Stop)
	b.launcher, err = pppd.NewLauncher(pppd.LauncherConfig{
		Marker: marker, Radius: pppd.Radius{Server: b.aaa.Addr(), Secret: b.aaa.Secret()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)

	c, err := l2tpnl.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for _, e := range []struct{ id, peer, port, peerPort int }{
		{ourTunnel, clientTunnel, ourPort, clientPort}, {clientTunnel, ourTunnel, clientPort, ourPort},
	} {
		lo := net.IPv4(127, 0, 0, 1)
		udp, err := net.DialUDP("udp4", &net.UDPAddr{IP: lo, Port: e.port}, &net.UDPAddr{IP: lo, Port: e.peerPort})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { udp.Close() })
		raw, err := udp.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			// The tunnel of the test before goes away in its own time.
			eventually(t, "create a tunnel", func() (string, bool) {
				err := c.CreateTunnel(l2tpnl.Tunnel{ID: uint32(e.id), PeerID: uint32(e.peer), FD: int(fd)})
				return fmt.Sprint(err), err == nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.DeleteTunnel(uint32(e.id)) })
	}
	return b
}

func (b *bench) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.launcher.Close(ctx); err != nil {
		b.t.Error(err)
	}
}

// link is one session seen from both ends.
type link struct {
	server    *pppd.Process
	nas       string
	iface     string
	client    *exec.Cmd
	dialled   time.Time
	ended     chan struct{} // closed when the client's pppd has ended
	clientLog *lockedBuffer
	serverLog *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// clientScript gives the client's pppd files of its own; its arguments follow.
const clientScript = `mount -t tmpfs none /etc/ppp && mount -t tmpfs none /run && exec /usr/sbin/pppd "$@"`

// connect opens a session, and starts both ends.
func (b *bench) connect(methods pppd.Auth, user, password string, clientOptions ...string) *link {
	b.t.Helper()
	b.mu.Lock()
	b.sessions++
	id := uint16(b.sessions)
	b.mu.Unlock()
	l := &link{
		nas: aaa.NewNASID(), iface: fmt.Sprintf("l2t%d-%d", ourTunnel, id), ended: make(chan struct{}),
		clientLog: &lockedBuffer{}, serverLog: &lockedBuffer{},
	}
	if err := b.aaa.Open(aaa.Session{NASID: l.nas, PeerAddr: netip.MustParseAddr(clientAddress)}); err != nil {
		b.t.Fatal(err)
	}
	ours, err := openSession(ourTunnel, id, clientTunnel, id+1000)
	if err != nil {
		b.t.Fatal(err)
	}
	serve := func() {
		l.server, err = b.launcher.Start(pppd.Session{
			Name: l.nas, Interface: l.iface, Socket: ours, TunnelID: ourTunnel, SessionID: id,
			LocalIP: netip.MustParseAddr(localIP), DNS: []netip.Addr{netip.MustParseAddr("10.9.0.53")},
			Auth: methods, Peer: netip.MustParseAddr(clientAddress),
			Log: func(line string) { fmt.Fprintln(l.serverLog, line) },
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if b.late == 0 {
		serve()
		b.dial(l, id, user, password, clientOptions...)
		return l
	}
	dialled := make(chan struct{})
	time.AfterFunc(b.late, func() {
		defer close(dialled)
		b.dial(l, id, user, password, clientOptions...)
	})
	ctx, cancel := context.WithTimeout(context.Background(), b.patience)
	defer cancel()
	if err := pppd.AwaitPeer(ctx, ours); err != nil {
		b.t.Fatal(err)
	}
	serve()
	<-dialled
	return l
}

// openSession is l2tpnl.OpenSession. A session of the same number in the tunnel of the test before goes away in its own time.
func openSession(tunnel, session, peerTunnel, peerSession uint16) (*os.File, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		f, err := l2tpnl.OpenSession(tunnel, session, peerTunnel, peerSession)
		if !errors.Is(err, os.ErrExist) || time.Now().After(deadline) {
			return f, err
		}
	}
}

// dial starts the client's end of session id.
func (b *bench) dial(l *link, id uint16, user, password string, clientOptions ...string) {
	theirs, err := openSession(clientTunnel, id+1000, ourTunnel, id)
	if err != nil {
		b.t.Error(err)
		return
	}
	defer theirs.Close()
	l.client = exec.Command("unshare", append([]string{"-m", "sh", "-c", clientScript, "pppd",
		"nodetach", "noauth", "nopersist", "plugin", "pppol2tp.so", "pppol2tp", "3", "user", user, "password", password,
		"noipdefault", "usepeerdns", "nodefaultroute", "mtu", "1400", "mru", "1400",
		"ifname", fmt.Sprintf("cli%d", id), "debug", "logfd", "2", "lcp-restart", "1", "lcp-echo-interval", "0",
	}, clientOptions...)...)
	l.client.ExtraFiles = []*os.File{theirs}
	l.client.Stderr = l.clientLog
	l.dialled = time.Now()
	if err := l.client.Start(); err != nil {
		b.t.Error(err)
		return
	}
	go func() {
		defer close(l.ended)
		_ = l.client.Wait()
	}()
	b.t.Cleanup(func() {
		_ = l.client.Process.Kill()
		<-l.ended
	})
}

// logs is for failure messages.
func (l *link) logs() string {
	return "\n--- our pppd\n" + l.serverLog.String() + "--- the client's pppd\n" + l.clientLog.String()
}

// next waits for the next event of its kind that tells of l. On a machine that is slow enough for a peer to repeat itself, pppd asks and
// tells more than once: others wait for who wants them.
func next[E aaa.Event](b *bench, l *link) E {
	b.t.Helper()
	late := time.After(patience)
	for {
		for i, e := range b.told {
			if e, ok := e.(E); ok && subject(e) == l.nas {
				b.told = slices.Delete(b.told, i, i+1)
				return e
			}
		}
		select {
		case e := <-b.events:
			b.told = append(b.told, e)
		case <-late:
			b.t.Fatalf("no %T in %v%s", *new(E), b.told, l.logs())
		}
	}
}

// last is the last event that tells of l, whose pppd has ended.
func (b *bench) last(l *link) (last aaa.Event) {
	for len(b.events) > 0 {
		b.told = append(b.told, <-b.events)
	}
	for _, e := range b.told {
		if subject(e) == l.nas {
			last = e
		}
	}
	return last
}

// subject is the session that an event tells of.
func subject(e aaa.Event) string {
	switch e := e.(type) {
	case aaa.Authenticated:
		return e.NASID
	case aaa.Rejected:
		return e.NASID
	case aaa.Started:
		return e.NASID
	case aaa.Stopped:
		return e.NASID
	}
	return ""
}

// ended waits for our pppd.
func (b *bench) ended(l *link) pppd.Exit {
	b.t.Helper()
	select {
	case <-l.server.Done():
		return l.server.Wait()
	case <-time.After(patience):
		b.t.Fatalf("our pppd does not end%s", l.logs())
		return pppd.Exit{}
	}
}

func eventually(t *testing.T, what string, done func() (string, bool)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		state, ok := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still %s", what, state)
		}
	}
}

// tree lists the files under the directories, with their sizes.
func tree(t *testing.T, dirs ...string) string {
	t.Helper()
	var sb strings.Builder
	for _, d := range dirs {
		err := filepath.WalkDir(d, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			i, err := e.Info()
			if err == nil {
				fmt.Fprintln(&sb, path, i.Mode(), i.Size())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sb.String()
}
