package keeper

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

func TestShutdown(t *testing.T) {
	k := start(t, nil)
	kernel := k.possess()
	c := k.dial(t)
	if err := c.SAs().Add(inbound(1000)); err != nil {
		t.Fatal(err)
	}
	foreign := inbound(2000)
	foreign.ReqID = 1
	if err := kernel.Add(foreign); err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.ended(t)
	<-c.Done()
	if !errors.Is(c.Err(), client.ErrGone) {
		t.Errorf("after the end: %v", c.Err())
	}
	if err := c.SAs().Add(inbound(1)); !errors.Is(err, client.ErrGone) {
		t.Errorf("a request after the end: %v", err)
	}
	if _, ok := kernel.states[foreign.ID]; !ok || len(kernel.states) != 1 {
		t.Errorf("SAs after the end: %v", kernel.states)
	}
}

func TestEndsWithoutADaemon(t *testing.T) {
	k := start(t, func(c *Config) { c.Linger = 200 * time.Millisecond })
	c := k.dial(t)
	time.Sleep(400 * time.Millisecond)
	if c.Err() != nil {
		t.Fatalf("it has ended with a daemon: %v", c.Err())
	}
	c.Close()
	k.ended(t)
}

// TestSignal lets the daemon say goodbye before the keeper ends.
func TestSignal(t *testing.T) {
	k := start(t, nil)
	c := k.dial(t)
	stopping := make(chan struct{})
	k.stop()
	time.Sleep(50 * time.Millisecond) // the event is kept until somebody wants to hear of it
	c.Handle(client.Handlers{Stopping: func() { close(stopping) }})
	<-stopping
	if err := c.Hold("x", os.Stdin); err != nil {
		t.Errorf("a request meanwhile: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	k.ended(t)
}

func TestSignalAndADaemonThatLeaves(t *testing.T) {
	k := start(t, nil)
	c := k.dial(t)
	k.stop()
	c.Close()
	k.ended(t)
}

// TestStrangers talks nonsense to the keeper.
func TestStrangers(t *testing.T) {
	k := start(t, nil)
	say := func(m protocol.Message) *protocol.Transport {
		conn, err := net.Dial("unixpacket", k.path)
		if err != nil {
			t.Fatal(err)
		}
		tr := protocol.NewTransport(conn.(*net.UnixConn), 1000, 1)
		t.Cleanup(func() { tr.Close() })
		if err := tr.Write(m); err != nil {
			t.Fatal(err)
		}
		return tr
	}
	for name, m := range map[string]protocol.Message{
		"no hello":    {Kind: protocol.Request, Op: protocol.OpAddSA, ID: 1},
		"no request":  {Kind: protocol.Event, Op: protocol.OpHello, ID: 1},
		"no CBOR":     {Kind: protocol.Request, Op: protocol.OpHello, ID: 1, Body: []byte{0xff}},
		"no body":     {Kind: protocol.Request, Op: protocol.OpHello, ID: 1},
		"too much":    {Kind: protocol.Request, Op: protocol.OpHello, ID: 1, Body: make([]byte, protocol.MaxRequest+1)},
		"other files": {Kind: protocol.Request, Op: protocol.OpHello, ID: 1, Files: []*os.File{os.Stdin, os.Stdin}},
	} {
		if _, err := say(m).Read(); err == nil {
			t.Errorf("%s was answered", name)
		}
	}
	c := k.dial(t)
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

// TestShutdownWaitsForRequests: what is being made when the end comes is made, and then given back with everything else.
func TestShutdownWaitsForRequests(t *testing.T) {
	k := start(t, nil)
	block := make(chan struct{})
	kernel := k.possess(func(m *machine) { m.sas.(*memory).block = block })
	if err := kernel.CreateTunnel(l2tpnl.Tunnel{ID: 16384}); err != nil {
		t.Fatal(err)
	}
	c := k.dial(t)
	listed, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.SAs().List()
		listed <- err
	}()
	for len(k.connected().places) == 0 {
		time.Sleep(time.Millisecond)
	}
	go func() { ended <- c.Shutdown(t.Context()) }()
	for {
		if _, err := k.ready(); errors.Is(err, protocol.ErrStopping) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	if _, err := kernel.Tunnel(16384); err != nil {
		t.Errorf("a tunnel was removed while a request was being done: %v", err)
	}
	if err := c.SAs().Add(inbound(1000)); !errors.Is(err, protocol.ErrStopping) {
		t.Errorf("a request at the end: %v", err)
	}
	close(block)
	if err := errors.Join(<-listed, <-ended); err != nil {
		t.Error(err)
	}
	if _, err := kernel.Tunnel(16384); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a tunnel is left: %v", err)
	}
}

// TestDeafStranger: who says hello and does not read the answer is not the daemon for ever.
func TestDeafStranger(t *testing.T) {
	k := newKeeper(Config{Build: "v1", Log: zap.NewNop()})
	k.helloWait = 50 * time.Millisecond
	k.radius = os.Stdin
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := os.NewFile(uintptr(fds[0]), "end")
	stranger := os.NewFile(uintptr(fds[1]), "stranger")
	defer stranger.Close()
	conn, err := net.FileConn(end)
	if err := errors.Join(err, end.Close()); err != nil {
		t.Fatal(err)
	}
	tr := protocol.NewTransport(conn.(*net.UnixConn), 1000, 1)
	raw, err := tr.Conn().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var full error
	if err := raw.Control(func(fd uintptr) {
		for full == nil { // until there is no room for an answer
			_, full = unix.Write(int(fd), make([]byte, 1000))
		}
	}); err != nil || !errors.Is(full, unix.EAGAIN) {
		t.Fatal(err, full)
	}
	hello, err := protocol.Marshal(protocol.Hello{Protocol: protocol.Current, Build: "deaf"})
	if err != nil {
		t.Fatal(err)
	}
	frame := append([]byte{byte(protocol.Request), 0, 0, byte(protocol.OpHello), 0, 0, 0, 1}, hello...)
	if _, err := stranger.Write(frame); err != nil {
		t.Fatal(err)
	}
	greeted := make(chan error, 1)
	go func() {
		_, err := k.greet(tr, 1)
		greeted <- err
	}()
	select {
	case err := <-greeted:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the keeper waits for ever")
	}
	if k.connected() != nil {
		t.Error("the stranger is the daemon")
	}
}

func TestVersions(t *testing.T) {
	k := start(t, nil)
	conn, err := net.Dial("unixpacket", k.path)
	if err != nil {
		t.Fatal(err)
	}
	tr := protocol.NewTransport(conn.(*net.UnixConn), 10000, 1)
	defer tr.Close()
	hello := func(version uint32) protocol.Message {
		b, err := protocol.Marshal(protocol.Hello{Protocol: version, Build: "from the future"})
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Write(protocol.Message{Kind: protocol.Request, Op: protocol.OpHello, ID: version, Body: b}); err != nil {
			t.Fatal(err)
		}
		m, err := tr.Read()
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		return m
	}
	m := hello(99)
	var e protocol.Error
	if err := protocol.Unmarshal(m.Body, &e); err != nil || !m.Failed {
		t.Fatalf("%v, %v", m.Failed, err)
	}
	if e.Refusal == nil || e.Refusal.Oldest != protocol.Oldest || e.Refusal.Newest != protocol.Current || e.Refusal.Build != "v1.2.3" {
		t.Errorf("%+v", e)
	}
	if m := hello(protocol.Current); m.Failed {
		t.Error("the keeper's own version is not good any more after a wrong one")
	}
}

// TestPlainSockets: what is opened without IPsec has a port of its block, and is connected to nobody but those who may do without.
func TestPlainSockets(t *testing.T) {
	k := start(t, nil)
	s := testSetup
	s.Steering.PlainPeers = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	k.possess(func(m *machine) { m.setup = s })
	lo := netip.MustParseAddr("127.0.0.1")
	for name, o := range map[string]protocol.OpenClient{
		"neither block":   {Local: lo, Port: 500, Mark: 0x170101f4},
		"another's mark":  {Local: lo, Port: 8192, Mark: 0x17012001},
		"another tag":     {Local: lo, Port: 8192, Mark: 0x17022000},
		"a client's mark": {Local: lo, Port: 8192, Mark: 0x17014000},
	} {
		if _, err := k.machine.openClient(t.Context(), o); !errors.Is(err, protocol.ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for to, want := range map[string]error{"127.0.0.9:1701": nil, "198.51.100.7:1701": protocol.ErrNotOurs} {
		if err := k.machine.mayConnect(protocol.Connect{Port: 8192, Remote: netip.MustParseAddrPort(to)}); !errors.Is(err, want) {
			t.Errorf("a plain socket to %s: %v", to, err)
		}
		if err := k.machine.mayConnect(protocol.Connect{Port: 16384, Remote: netip.MustParseAddrPort(to)}); err != nil {
			t.Errorf("a client's socket to %s: %v", to, err)
		}
	}
}
