package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// running is a keeper of a test, without privileges.
type running struct {
	*Keeper
	logs *observer.ObservedLogs
	stop context.CancelFunc
	done chan error // of Run
}

// start runs a keeper in a directory of its own.
func start(t *testing.T, change func(*Config)) *running {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	cfg := Config{Dir: t.TempDir(), Build: "v1.2.3", Log: zap.New(core)}
	if change != nil {
		change(&cfg)
	}
	k, err := open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{k, logs, cancel, make(chan error, 1)}
	go func() { r.done <- k.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-r.done
		close(r.done)
	})
	return r
}

// ended waits for the keeper's end.
func (r *running) ended(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.done:
		if err != nil {
			t.Error(err)
		}
		r.done <- nil // for the cleanup
	case <-time.After(10 * time.Second):
		t.Fatal("the keeper does not end")
	}
	left, err := os.ReadDir(r.cfg.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func (r *running) dial(t *testing.T) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), r.path, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestWelcome(t *testing.T) {
	k := start(t, func(c *Config) { c.ForServe = true })
	c := k.dial(t)
	w := c.Welcome()
	if w.Build != "v1.2.3" || w.Protocol != protocol.Current || !w.ForServe || w.PID != os.Getpid() || w.Setup != nil || w.Radius.Secret != k.secret {
		t.Errorf("%+v", w)
	}
	address := w.Radius.Conn.LocalAddr().(*net.UDPAddr)
	if !address.IP.IsLoopback() {
		t.Errorf("RADIUS listens on %v", address)
	}
	// The daemon reads what is sent there, and the next one on the same socket, too.
	for range 2 {
		sender, err := net.DialUDP("udp4", nil, address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sender.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		n, err := c.Welcome().Radius.Conn.Read(b)
		if err != nil || string(b[:n]) != "hello" {
			t.Errorf("%q, %v", b[:n], err)
		}
		sender.Close()
		c.Welcome().Radius.Conn.Close()
		c.Close()
		c = k.dial(t)
	}
	for _, e := range k.logs.All() {
		if strings.Contains(fmt.Sprint(e.Message, e.ContextMap()), k.secret) {
			t.Errorf("the secret is in the log: %v", e)
		}
	}
}

func TestNoKeeper(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	if _, err := client.Dial(t.Context(), path, "daemon"); !errors.Is(err, client.ErrNoKeeper) {
		t.Error(err)
	}
	k := start(t, nil)
	k.stop()
	k.ended(t)
	if _, err := client.Dial(t.Context(), k.path, "daemon"); !errors.Is(err, client.ErrNoKeeper) {
		t.Error(err)
	}
}

func TestOneDaemonAtATime(t *testing.T) {
	k := start(t, nil)
	first := k.dial(t)
	began := time.Now()
	_, err := client.Dial(t.Context(), k.path, "second")
	if busy, ok := errors.AsType[*client.BusyError](err); !ok || busy.PID != os.Getpid() {
		t.Errorf("a second daemon: %v", err)
	}
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("it gave up after %v", waited)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		first.Close()
	}()
	second, err := client.Dial(t.Context(), k.path, "second")
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	second.Close()
}

func TestOneKeeperAtATime(t *testing.T) {
	k := start(t, nil)
	if _, err := open(k.cfg); err == nil || !strings.Contains(err.Error(), "another l2tpctl") {
		t.Errorf("a second keeper: %v", err)
	}
	k.dial(t) // the first is as it was
}

func TestRecordsOutliveTheDaemon(t *testing.T) {
	k := start(t, nil)
	k.possess()
	long := bytes.Repeat([]byte("x"), protocol.MaxValue)
	c := k.dial(t)
	if err := c.Store([]protocol.Change{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: "c", Value: []byte{}}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Store([]protocol.Change{{Key: "a", Value: []byte("3")}, {Key: "b"}, {Key: "long", Value: long}, {Key: "longer", Value: long}, {Key: "d", Value: []byte("4")}}); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c = k.dial(t)
	i, err := c.Setup(t.Context(), testSetup)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	want := map[string]string{"a": "3", "c": "", "long": string(long), "longer": string(long), "d": "4"}
	if len(i.Records) != len(want) {
		t.Errorf("%d records of %d", len(i.Records), len(want))
	}
	for key, value := range want {
		if got, ok := i.Records[key]; !ok || string(got) != value {
			t.Errorf("record %s has %d octets", key, len(got))
		}
	}
	for _, bad := range []protocol.Change{{Value: []byte("x")}, {Key: strings.Repeat("k", protocol.MaxKey+1)}, {Key: "k", Value: append(long, 'x')}} {
		if err := c.Store([]protocol.Change{bad}); err == nil {
			t.Errorf("a key of %d octets and a value of %d were taken", len(bad.Key), len(bad.Value))
		}
	}
}

// TestWriteAhead stores in a daemon that dies at once, with much unread.
func TestWriteAhead(t *testing.T) {
	k := start(t, nil)
	k.possess()
	for round := range 20 {
		conn, err := net.Dial("unixpacket", k.path)
		if err != nil {
			t.Fatal(err)
		}
		tr := protocol.NewTransport(conn.(*net.UnixConn), protocol.MaxReply, 10)
		say := func(op protocol.Op, id uint32, body any) {
			b, err := protocol.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			if err := tr.Write(protocol.Message{Kind: protocol.Request, Op: op, ID: id, Body: b}); err != nil {
				t.Fatal(err)
			}
		}
		for {
			say(protocol.OpHello, 1, protocol.Hello{Protocol: protocol.Current})
			m, err := tr.Read()
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
			if !m.Failed {
				break // the one before has gone
			}
			time.Sleep(time.Millisecond)
		}
		for n := range 50 {
			say(protocol.OpGetSA, uint32(n+2), nil) // is answered, and nobody reads it
			say(protocol.OpStore, 0, protocol.Store{Changes: []protocol.Change{{Key: fmt.Sprintf("%d/%d", round, n), Value: []byte("x")}}})
		}
		tr.Close()
	}
	c := k.dial(t)
	i, err := c.Setup(t.Context(), testSetup)
	if err != nil {
		t.Fatal(err)
	}
	if len(i.Records) != 20*50 {
		t.Errorf("%d records of %d were kept", len(i.Records), 20*50)
	}
}

func TestHeldFiles(t *testing.T) {
	k := start(t, nil)
	k.possess()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	c := k.dial(t)
	if err := c.Hold("control "+path, f); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for range 2 { // the second takes the place of the first
		if err := c.Hold("null", null); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Hold("", null); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("without a name: %v", err)
	}
	if err := c.Release("other"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("release of what is not held: %v", err)
	}
	f.Close()
	l.Close()
	c.Close()

	c = k.dial(t)
	i, err := c.Setup(t.Context(), testSetup)
	if err != nil {
		t.Fatal(err)
	}
	held := i.Held["control "+path]
	if len(i.Held) != 2 || held == nil {
		t.Fatalf("held: %v", i.Held)
	}
	again, err := net.FileListener(held)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if caller, err := net.Dial("unix", path); err == nil {
			io.WriteString(caller, "hello")
			caller.Close()
		}
	}()
	called, err := again.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(called); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	again.Close()
	i.Close()
	if err := c.Release("null"); err != nil {
		t.Error(err)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path of the held listener after the end: %v", err)
	}
	k.ended(t)
}

// TestLongBodies: many requests are done side by side, so each has to be small.
func TestLongBodies(t *testing.T) {
	k := start(t, nil)
	c := k.dial(t)
	s := testSetup
	s.Listen = make([]netip.Addr, 8<<10)
	for i := range s.Listen {
		s.Listen[i] = netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)})
	}
	if _, err := c.Setup(t.Context(), s); !errors.Is(err, client.ErrGone) {
		t.Errorf("a setup with %d addresses: %v", len(s.Listen), err)
	}
}
