package client

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// other is a keeper that answers in its own way.
func other(t *testing.T, answer func(t *protocol.Transport, m protocol.Message)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keeper.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			tr := protocol.NewTransport(conn, 1<<20, 1)
			go func() {
				defer tr.Close()
				for {
					m, err := tr.Read()
					if err != nil {
						return
					}
					answer(tr, m)
				}
			}()
		}
	}()
	return path
}

func TestKeeperOfAnotherTime(t *testing.T) {
	for _, c := range []struct {
		oldest, newest uint32
		want           []string
	}{
		{protocol.Current + 1, protocol.Current + 2, []string{"build v9", "versions 2 to 3", "build v1", "versions 1 to 1", "start a daemon of the keeper's version"}},
		{0, protocol.Oldest - 1, []string{"systemctl reload l2tpctl-keeper", "SIGHUP"}},
	} {
		path := other(t, func(tr *protocol.Transport, m protocol.Message) {
			body, err := protocol.Marshal(&protocol.Error{Text: "no", Refusal: &protocol.Refusal{Oldest: c.oldest, Newest: c.newest, Build: "v9"}})
			if err != nil {
				t.Error(err)
			}
			_ = tr.Write(protocol.Message{Kind: protocol.Reply, Failed: true, Op: m.Op, ID: m.ID, Body: body})
		})
		_, err := Dial(t.Context(), path, "v1")
		if _, ok := errors.AsType[*VersionError](err); !ok {
			t.Errorf("%d to %d: %v", c.oldest, c.newest, err)
			continue
		}
		for _, text := range c.want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%q lacks %q", err, text)
			}
		}
	}
}

// TestKeeperThatIsBeingReplaced closes the connection of who says hello once, as the end of a program does.
func TestKeeperThatIsBeingReplaced(t *testing.T) {
	var hellos atomic.Int32
	path := other(t, func(tr *protocol.Transport, m protocol.Message) {
		if hellos.Add(1) == 1 {
			tr.Close()
			return
		}
		body, err := protocol.Marshal(&protocol.Error{Text: "no", Refusal: &protocol.Refusal{Oldest: 7, Newest: 7}})
		if err != nil {
			t.Error(err)
		}
		_ = tr.Write(protocol.Message{Kind: protocol.Reply, Failed: true, Op: m.Op, ID: m.ID, Body: body})
	})
	if _, err := Dial(t.Context(), path, "v1"); err == nil || !strings.Contains(err.Error(), "versions 7 to 7") {
		t.Errorf("%v", err)
	}
}
