package protocol

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a connection.
func pair(t *testing.T, maxOctets, maxFiles int) (a, b *Transport) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*Transport, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		ends[i] = NewTransport(conn.(*net.UnixConn), maxOctets, maxFiles)
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

func TestMessagesArriveWhole(t *testing.T) {
	a, b := pair(t, 1<<20, 1000)
	pipes := make([]*os.File, 600)
	for i := range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := w.Write([]byte{byte(i), byte(i >> 8)}); err != nil {
			t.Fatal(err)
		}
		w.Close()
		pipes[i] = r
	}
	long := bytes.Repeat([]byte("0123456789"), 50_000)
	for _, want := range []Message{
		{Kind: Request, Op: OpStore},
		{Kind: Reply, Op: OpSetup, ID: 7, Failed: true, Body: []byte("x")},
		{Kind: Event, Op: OpStopping, Body: long[:frameSize-headerSize]},
		{Kind: Request, Op: OpStore, ID: ^uint32(0), Body: long},
		{Kind: Reply, Op: OpSetup, ID: 1, Files: pipes},
		{Kind: Reply, Op: OpSetup, ID: 1, Body: long, Files: pipes[:1]},
	} {
		written := make(chan error, 1)
		go func() { written <- a.Write(want) }()
		got, err := b.Read()
		if err != nil {
			t.Fatal(err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		if got.Kind != want.Kind || got.Failed != want.Failed || got.Op != want.Op || got.ID != want.ID || !bytes.Equal(got.Body, want.Body) {
			t.Errorf("got %v %v %v %d of %d octets, want %v %v %v %d of %d", got.Kind, got.Failed, got.Op, got.ID, len(got.Body),
				want.Kind, want.Failed, want.Op, want.ID, len(want.Body))
		}
		if len(got.Files) != len(want.Files) {
			t.Fatalf("%d files of %d", len(got.Files), len(want.Files))
		}
		if len(want.Files) > 1 {
			for i, f := range got.Files {
				var b [2]byte
				if _, err := io.ReadFull(f, b[:]); err != nil || int(b[0])|int(b[1])<<8 != i {
					t.Fatalf("file %d has %v, %v", i, b, err)
				}
			}
		}
		got.Close()
	}
}

// TestWhatWasWrittenOutlivesTheWriter is what records rely on: a daemon that dies with replies unread has still said what it said.
func TestWhatWasWrittenOutlivesTheWriter(t *testing.T) {
	a, b := pair(t, 1<<20, 1)
	for range 3 {
		if err := b.Write(Message{Kind: Reply, Op: OpAddSA, ID: 1}); err != nil {
			t.Fatal(err)
		}
	}
	const count = 100
	for i := range count {
		if err := a.Write(Message{Kind: Request, Op: OpStore, Body: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	a.Close() // with three replies unread, for which the kernel resets the connection
	for i := range count {
		m, err := b.Read()
		if err != nil {
			t.Fatalf("message %d of %d: %v", i, count, err)
		}
		if len(m.Body) != 1 || m.Body[0] != byte(i) {
			t.Errorf("message %d is %v", i, m.Body)
		}
	}
	if _, err := b.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last message: %v", err)
	}
}

func TestBounds(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, m := range map[string]Message{
		"octets": {Kind: Request, Body: make([]byte, 100_001)},
		"files":  {Kind: Request, Files: []*os.File{null, null}},
	} {
		a, b := pair(t, 100_000, 1)
		if err := a.Write(m); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(); !errors.Is(err, ErrMalformed) {
			t.Errorf("too many %s: %v", name, err)
		}
	}
}

func TestNonsense(t *testing.T) {
	first := []byte{byte(Request), flagMore, 0, 3, 0, 0, 0, 1, 'a'}
	for name, frames := range map[string][][]byte{
		"short":    {{1, 0, 0}},
		"too long": {make([]byte, frameSize+1)},
		"another":  {first, {byte(Request), 0, 0, 3, 0, 0, 0, 2, 'b'}},
		"its kind": {first, {byte(Reply), 0, 0, 3, 0, 0, 0, 1, 'b'}},
	} {
		a, b := pair(t, 1<<20, 1)
		for _, f := range frames {
			if _, err := a.Conn().Write(f); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Read(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, b := pair(t, 1<<20, 1)
	if _, err := a.Conn().Write(first); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := b.Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a message: %v", err)
	}
}

// TestInterrupt reads nothing between two messages, and all of a message that has begun.
func TestInterrupt(t *testing.T) {
	a, b := pair(t, 1<<20, 1)
	got := make(chan error, 1)
	read := func() {
		_, err := b.Read()
		got <- err
	}
	go read()
	b.Interrupt()
	if err := <-got; !errors.Is(err, ErrInterrupted) {
		t.Errorf("without a message: %v", err)
	}
	if err := a.Write(Message{Kind: Request, Op: OpStore}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(); !errors.Is(err, ErrInterrupted) {
		t.Errorf("before a message: %v", err)
	}
	b.Resume()
	if m, err := b.Read(); err != nil || m.Op != OpStore {
		t.Errorf("after the interruption: %v, %v", m.Op, err)
	}

	if _, err := a.Conn().Write([]byte{byte(Request), flagMore, 0, 3, 0, 0, 0, 1, 'a'}); err != nil {
		t.Fatal(err)
	}
	whole := make(chan Message, 1)
	go func() {
		m, err := b.Read()
		if err != nil {
			t.Error(err)
		}
		whole <- m
	}()
	for queued := 1; queued > 0; time.Sleep(time.Millisecond) { // until the beginning was read
		raw, err := b.Conn().SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) { queued, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }); err != nil {
			t.Fatal(err)
		}
	}
	b.Interrupt()
	if _, err := a.Conn().Write([]byte{byte(Request), 0, 0, 3, 0, 0, 0, 1, 'b'}); err != nil {
		t.Fatal(err)
	}
	if m := <-whole; string(m.Body) != "ab" {
		t.Errorf("the message that had begun: %q", m.Body)
	}
}

// TestInterruptThatIsTakenBack: the reader does not take it for anything else, however late it notices.
func TestInterruptThatIsTakenBack(t *testing.T) {
	a, b := pair(t, 1<<20, 1)
	const messages = 2000
	go func() {
		for range messages {
			if a.Write(Message{Kind: Request, Op: OpStore}) != nil {
				return // the reader has failed
			}
			b.Interrupt()
			b.Resume()
		}
	}()
	for n := 0; n < messages; {
		_, err := b.Read()
		switch {
		case err == nil:
			n++
		case !errors.Is(err, ErrInterrupted):
			t.Fatal(err)
		}
	}
}

// TestInterruptOfEndlessMessage: who never comes to the end of a message does not keep the reading from ending.
func TestInterruptOfEndlessMessage(t *testing.T) {
	a, b := pair(t, 1<<20, 1)
	b.restWait = 300 * time.Millisecond
	within := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			if _, err := a.Conn().Write([]byte{byte(Request), flagMore, 0, 3, 0, 0, 0, 1}); err != nil {
				return
			}
			if n == 20_000 { // more than the socket has room for: some were read
				close(within)
			}
		}
	}()
	got := make(chan error, 1)
	go func() {
		_, err := b.Read()
		got <- err
	}()
	<-within
	b.Interrupt()
	select {
	case err := <-got:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the reading does not end")
	}
	b.Close()
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{byte(Request), flagMore, 0, 3, 0, 0, 0, 1, 'a'}, []byte{byte(Request), 0, 0, 3, 0, 0, 0, 1, 'b'})
	f.Add([]byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		end := os.NewFile(uintptr(fds[0]), "end")
		defer end.Close()
		conn, err := net.FileConn(end)
		if err != nil {
			t.Fatal(err)
		}
		tr := NewTransport(conn.(*net.UnixConn), 1000, 1)
		defer tr.Close()
		for _, b := range [][]byte{one, two} {
			if len(b) > 0 && len(b) < 60_000 {
				if err := unix.Sendmsg(fds[1], b, nil, nil, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := unix.Shutdown(fds[1], unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := tr.Read()
			if err != nil {
				return
			}
			if len(m.Body) > 1000 {
				t.Fatalf("a message of %d octets", len(m.Body))
			}
		}
	})
}
