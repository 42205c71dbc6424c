package xfrm

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"
)

// kernelSays is a Conn whose requests are answered by f.
func kernelSays(t *testing.T, f func(netlink.Message) ([]netlink.Message, error)) *Conn {
	c := &Conn{nl: nltest.Dial(func(reqs []netlink.Message) ([]netlink.Message, error) {
		if len(reqs) == 0 {
			return nil, nil
		}
		return f(reqs[0])
	})}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func acknowledge(req netlink.Message) []netlink.Message {
	return []netlink.Message{{
		Header: netlink.Header{Type: netlink.Error, Flags: netlink.Capped, Sequence: req.Header.Sequence, PID: req.Header.PID},
		Data:   make([]byte, 20),
	}}
}

func TestRequests(t *testing.T) {
	s := inbound()
	for _, c := range []struct {
		name string
		do   func(*Conn) error
		kind netlink.HeaderType
		data []byte
	}{
		{"add", func(c *Conn) error { return c.Add(s) }, 0x10, s.appendTo(nil)},
		{"update", func(c *Conn) error { return c.Update(s) }, 0x1a, s.appendTo(nil)},
		{"delete", func(c *Conn) error { return c.Delete(s.ID) }, 0x11,
			unhex(t, "c0000201 000000000000000000000000 c0ffee01 0200 32 00")},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := kernelSays(t, func(m netlink.Message) ([]netlink.Message, error) {
				if m.Header.Type != c.kind || m.Header.Flags != netlink.Request|netlink.Acknowledge {
					t.Errorf("request %#x with flags %v", uint16(m.Header.Type), m.Header.Flags)
				}
				if !bytes.Equal(m.Data, c.data) {
					t.Errorf("request is\n%x, want\n%x", m.Data, c.data)
				}
				return acknowledge(m), nil
			})
			if err := c.do(conn); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAddESNToOldKernel plays a kernel before 6.10: an outbound SA with ESN needs a window there, and has no direction.
func TestAddESNToOldKernel(t *testing.T) {
	s := states()["esn outbound"]
	for refused, want := range map[int]error{0: nil, 1: nil, 2: unix.EINVAL} {
		var asked []State
		conn := kernelSays(t, func(m netlink.Message) ([]netlink.Message, error) {
			got, err := parseState(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if asked = append(asked, got); len(asked) <= refused {
				return nltest.Error(int(unix.EINVAL), []netlink.Message{m})
			}
			return acknowledge(m), nil
		})
		if err := conn.Add(s); !errors.Is(err, want) {
			t.Errorf("refused %d times: %v, want %v", refused, err, want)
		}
		if len(asked) != min(refused+1, 2) || asked[0].Direction != Out || asked[0].ReplayWindow != 0 {
			t.Fatalf("refused %d times: asked for %v", refused, asked)
		}
		if last := asked[len(asked)-1]; refused > 0 && (last.Direction != 0 || last.ReplayWindow != 1 || !last.ESN || last.Sequence != s.Sequence) {
			t.Errorf("refused %d times: asked for %+v at last", refused, last)
		}
	}
	// What an old kernel refuses for another reason is asked once.
	n := 0
	conn := kernelSays(t, func(m netlink.Message) ([]netlink.Message, error) {
		n++
		return nltest.Error(int(unix.EINVAL), []netlink.Message{m})
	})
	if err := conn.Add(inbound()); !errors.Is(err, unix.EINVAL) || n != 1 {
		t.Errorf("an inbound SA was asked for %d times, error %v", n, err)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		is    error
		text  string
	}{
		{unix.ESRCH, os.ErrNotExist, "delete SA esp spi 0xc0ffee01 to 192.0.2.1"},
		{unix.EEXIST, os.ErrExist, "file exists"},
		{unix.EPERM, os.ErrPermission, "CAP_NET_ADMIN"},
		{unix.EPROTONOSUPPORT, unix.EPROTONOSUPPORT, "esp4"},
	} {
		conn := kernelSays(t, func(m netlink.Message) ([]netlink.Message, error) {
			return nltest.Error(int(c.errno), []netlink.Message{m})
		})
		err := conn.Delete(inbound().ID)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v became %v", c.errno, err)
		}
	}
}

func TestListSkipsOtherProtocols(t *testing.T) {
	ah := inbound().appendTo(nil)
	ah[offSAID+20] = unix.IPPROTO_AH
	conn := kernelSays(t, func(m netlink.Message) ([]netlink.Message, error) {
		if m.Header.Flags != netlink.Request|netlink.Dump || !bytes.Equal(m.Data, []byte{5, 0, 25, 0, 50, 0, 0, 0}) {
			t.Errorf("request is %v", m)
		}
		h := netlink.Header{Type: msgNewSA, Sequence: m.Header.Sequence, PID: m.Header.PID}
		return nltest.Multipart([]netlink.Message{
			{Header: h, Data: inbound().appendTo(nil)}, {Header: h, Data: ah}, {Header: h, Data: inbound().appendTo(nil)},
			{Header: h},
		})
	})
	got, err := conn.List()
	if err != nil || len(got) != 2 {
		t.Errorf("List gave %d SAs and error %v, want 2", len(got), err)
	}
}
