package l2tpnl

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const testFamily = 0x1c

// dial returns a connection whose kernel is the function.
func dial(t *testing.T, kernel genltest.Func) *Conn {
	t.Helper()
	c, err := newConn(genltest.Dial(genltest.ServeFamily(genetlink.Family{ID: testFamily, Version: 1, Name: familyName}, kernel)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// attributes decodes a message into numbers, for comparing.
func attributes(t *testing.T, data []byte) map[uint16]uint64 {
	t.Helper()
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint16]uint64{}
	for d.Next() {
		switch len(d.Bytes()) {
		case 1:
			got[d.Type()] = uint64(d.Uint8())
		case 2:
			got[d.Type()] = uint64(d.Uint16())
		case 4:
			got[d.Type()] = uint64(d.Uint32())
		case 8:
			got[d.Type()] = d.Uint64()
		default: // addresses and flags
			got[d.Type()] = uint64(len(d.Bytes()))
		}
	}
	return got
}

func encode(t *testing.T, fn func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	e := netlink.NewAttributeEncoder()
	fn(e)
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequests(t *testing.T) {
	const change, get, dump = netlink.Request | netlink.Acknowledge, netlink.Request, netlink.Request | netlink.Dump
	tunnel := encode(t, func(e *netlink.AttributeEncoder) { e.Uint32(attrConnID, 16384) })
	for _, c := range []struct {
		name    string
		call    func(*Conn) error
		command uint8
		flags   netlink.HeaderFlags
		want    map[uint16]uint64
	}{
		{"create tunnel", func(c *Conn) error { return c.CreateTunnel(Tunnel{ID: 16384, PeerID: 7, FD: 42}) }, 1, change,
			map[uint16]uint64{9: 16384, 10: 7, 7: 2, 2: 0, 23: 42}},
		{"delete tunnel", func(c *Conn) error { return c.DeleteTunnel(16384) }, 2, change, map[uint16]uint64{9: 16384}},
		{"get tunnel", func(c *Conn) error { _, err := c.Tunnel(16384); return err }, 4, get, map[uint16]uint64{9: 16384}},
		{"list tunnels", func(c *Conn) error { _, err := c.Tunnels(); return err }, 4, dump, map[uint16]uint64{}},
		{"create session", func(c *Conn) error { return c.CreateSession(Session{TunnelID: 16384, ID: 3, PeerID: 9}) }, 5, change,
			map[uint16]uint64{9: 16384, 11: 3, 12: 9, 1: 7}},
		{"create session with sequence numbers", func(c *Conn) error {
			return c.CreateSession(Session{TunnelID: 16384, ID: 3, PeerID: 9, LNSMode: true, SendSeq: true, RecvSeq: true,
				ReorderTimeout: 1500 * time.Millisecond})
		}, 5, change, map[uint16]uint64{9: 16384, 11: 3, 12: 9, 1: 7, 18: 1, 19: 1, 20: 1, 22: 1500}},
		{"modify tunnel", func(c *Conn) error { return c.ModifyTunnel(16384) }, 3, change, map[uint16]uint64{9: 16384}},
		{"create tunnel with the kernel's socket", func(c *Conn) error {
			return c.CreateTunnel(Tunnel{ID: 16384, PeerID: 7, FD: -1, Local: netip.MustParseAddrPort("127.0.0.1:5000"),
				Remote: netip.MustParseAddrPort("[::ffff:127.0.0.2]:1701")})
		}, 1, change, map[uint16]uint64{9: 16384, 10: 7, 7: 2, 2: 0, 24: 0x0100007f, 25: 0x0200007f, 26: 5000, 27: 1701, 13: 1}},
		{"create tunnel with the kernel's socket and no checksums", func(c *Conn) error {
			return c.CreateTunnel(Tunnel{ID: 16384, PeerID: 7, FD: -1, Local: netip.MustParseAddrPort("127.0.0.1:5000"),
				Remote: netip.MustParseAddrPort("127.0.0.2:1701"), NoChecksum: true})
		}, 1, change, map[uint16]uint64{9: 16384, 10: 7, 7: 2, 2: 0, 24: 0x0100007f, 25: 0x0200007f, 26: 5000, 27: 1701}},
		{"create tunnel over IPv6 with the kernel's socket", func(c *Conn) error {
			return c.CreateTunnel(Tunnel{ID: 16384, PeerID: 7, FD: -1, Local: netip.MustParseAddrPort("[::1]:5000"),
				Remote: netip.MustParseAddrPort("[2001:db8::1]:1701")})
		}, 1, change, map[uint16]uint64{9: 16384, 10: 7, 7: 2, 2: 0, 26: 5000, 27: 1701, 31: 16, 32: 16}},
		{"create tunnel over IPv6 with the kernel's socket and no checksums", func(c *Conn) error {
			return c.CreateTunnel(Tunnel{ID: 16384, PeerID: 7, FD: -1, Local: netip.MustParseAddrPort("[::1]:5000"),
				Remote: netip.MustParseAddrPort("[2001:db8::1]:1701"), NoChecksum: true})
		}, 1, change, map[uint16]uint64{9: 16384, 10: 7, 7: 2, 2: 0, 26: 5000, 27: 1701, 31: 16, 32: 16, 33: 0, 34: 0}},
		{"modify nothing of a session", func(c *Conn) error { return c.ModifySession(16384, 3, Options{}) }, 7, change,
			map[uint16]uint64{9: 16384, 11: 3}},
		{"modify a session", func(c *Conn) error {
			return c.ModifySession(16384, 3, Options{LNSMode: new(true), SendSeq: new(false), RecvSeq: new(true),
				ReorderTimeout: new(time.Duration(1)), Debug: new(DebugSequence | DebugData)})
		}, 7, change, map[uint16]uint64{9: 16384, 11: 3, 20: 1, 19: 0, 18: 1, 22: 1, 17: 12}},
		{"modify a session to the utmost", func(c *Conn) error {
			return c.ModifySession(16384, 3, Options{ReorderTimeout: new(MaxReorderTimeout)})
		}, 7, change, map[uint16]uint64{9: 16384, 11: 3, 22: 24 * 24 * 3600 * 1000}},
		{"create session with debug flags", func(c *Conn) error {
			return c.CreateSession(Session{TunnelID: 16384, ID: 3, PeerID: 9, Debug: DebugVerbose | DebugControl})
		}, 5, change, map[uint16]uint64{9: 16384, 11: 3, 12: 9, 1: 7, 17: 3}},
		{"delete session", func(c *Conn) error { return c.DeleteSession(16384, 3) }, 6, change, map[uint16]uint64{9: 16384, 11: 3}},
		{"get session", func(c *Conn) error { _, err := c.Session(16384, 3); return err }, 8, get, map[uint16]uint64{9: 16384, 11: 3}},
		{"list sessions", func(c *Conn) error { _, err := c.Sessions(); return err }, 8, dump, map[uint16]uint64{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			called := false
			conn := dial(t, genltest.CheckRequest(testFamily, c.command, c.flags,
				func(request genetlink.Message, n netlink.Message) ([]genetlink.Message, error) {
					called = true
					if n.Header.Flags != c.flags {
						t.Errorf("flags %v, want %v", n.Header.Flags, c.flags)
					}
					if diff := cmp.Diff(c.want, attributes(t, request.Data)); diff != "" {
						t.Errorf("attributes (-want +got):\n%s", diff)
					}
					return []genetlink.Message{{Data: tunnel}}, nil
				}))
			if err := c.call(conn); err != nil {
				t.Error(err)
			}
			if !called {
				t.Error("nothing was sent")
			}
		})
	}
}

func TestDecode(t *testing.T) {
	wantStats := Stats{TxPackets: 1, TxBytes: 2, TxErrors: 3, RxPackets: 4, RxBytes: 1 << 40, RxSeqDiscards: 6, RxOOS: 7, RxErrors: 8,
		RxCookieDiscards: 10, RxInvalid: 11}
	stats := func(e *netlink.AttributeEncoder) {
		e.Nested(attrStats, func(e *netlink.AttributeEncoder) error {
			for i, v := range []uint64{1: 1, 2: 2, 3: 3, 4: 4, 5: 1 << 40, 6: 6, 7: 7, 8: 8, 10: 10, 11: 11} {
				if i != 0 && i != 9 {
					e.Uint64(uint16(i), v)
				}
			}
			return nil
		})
	}
	v4 := func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, 16384)
		e.Uint32(attrPeerConnID, 7)
		e.Uint8(attrProtoVersion, 2)
		e.Uint16(attrEncapType, 0)
		stats(e)
		e.Bytes(attrIPSaddr, []byte{192, 0, 2, 1})
		e.Bytes(attrIPDaddr, []byte{198, 51, 100, 7})
		e.Uint8(attrUDPCsum, 1)
		e.Uint16(attrUDPSport, 16384)
		e.Uint16(attrUDPDport, 1701)
		e.Bytes(99, []byte("an attribute of a later kernel"))
	}
	v6 := func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, 5)
		e.Uint8(attrProtoVersion, 2)
		e.Uint16(attrUDPSport, 5000)
		addr := netip.MustParseAddr("2001:db8::1").As16()
		e.Bytes(attrIP6Saddr, addr[:])
		e.Bytes(attrIP6Daddr, addr[:])
		e.Flag(attrZeroCsum6Tx, true)
	}
	v3 := func(e *netlink.AttributeEncoder) { e.Uint32(attrConnID, 6); e.Uint8(attrProtoVersion, 3) }
	ip := func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, 6)
		e.Uint8(attrProtoVersion, 2)
		e.Uint16(attrEncapType, 1)
	}
	ppp := func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, 16384)
		e.Uint32(attrPeerConnID, 7)
		e.Uint32(attrSessionID, 3)
		e.Uint32(attrPeerSessionID, 9)
		e.Uint16(attrPWType, 7)
		e.String(attrIfname, "x0")
		e.Uint8(attrRecvSeq, 1)
		e.Uint8(attrSendSeq, 0)
		e.Uint8(attrLNSMode, 1)
		e.Uint8(attrUsingIPsec, 1)
		e.Uint64(attrRecvTimeout, 250)
		e.Uint32(attrDebug, 4)
		stats(e)
	}
	eth := func(e *netlink.AttributeEncoder) { e.Uint32(attrConnID, 6); e.Uint16(attrPWType, 5) }
	conn := dial(t, func(request genetlink.Message, n netlink.Message) ([]genetlink.Message, error) {
		var answers []genetlink.Message
		bodies := []func(*netlink.AttributeEncoder){v4, v6, v3, ip}
		if request.Header.Command == cmdSessionGet {
			bodies = []func(*netlink.AttributeEncoder){ppp, eth}
		}
		for _, b := range bodies {
			answers = append(answers, genetlink.Message{Data: encode(t, b)})
		}
		if n.Header.Flags&netlink.Dump == 0 {
			answers = answers[:1]
		}
		return answers, nil
	})

	wantTunnels := []Tunnel{
		{ID: 16384, PeerID: 7, FD: -1, Local: netip.MustParseAddrPort("192.0.2.1:16384"),
			Remote: netip.MustParseAddrPort("198.51.100.7:1701"), Stats: wantStats},
		{ID: 5, FD: -1, NoChecksum: true, Local: netip.MustParseAddrPort("[2001:db8::1]:5000"), Remote: netip.MustParseAddrPort("[2001:db8::1]:0")},
	}
	wantSession := Session{TunnelID: 16384, ID: 3, PeerID: 9, LNSMode: true, RecvSeq: true, ReorderTimeout: 250 * time.Millisecond, Debug: DebugSequence,
		PeerTunnelID: 7, Interface: "x0", UsingIPsec: true, Stats: wantStats}
	addresses := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

	tunnels, err := conn.Tunnels()
	if diff := cmp.Diff(wantTunnels, tunnels, addresses); err != nil || diff != "" {
		t.Errorf("Tunnels: %v\n%s", err, diff)
	}
	tunnel, err := conn.Tunnel(16384)
	if diff := cmp.Diff(wantTunnels[0], tunnel, addresses); err != nil || diff != "" {
		t.Errorf("Tunnel: %v\n%s", err, diff)
	}
	sessions, err := conn.Sessions()
	if diff := cmp.Diff([]Session{wantSession}, sessions); err != nil || diff != "" {
		t.Errorf("Sessions: %v\n%s", err, diff)
	}
	session, err := conn.Session(16384, 3)
	if diff := cmp.Diff(wantSession, session); err != nil || diff != "" {
		t.Errorf("Session: %v\n%s", err, diff)
	}
}

func TestEmptyDump(t *testing.T) {
	conn := dial(t, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) { return nil, io.EOF })
	if tunnels, err := conn.Tunnels(); err != nil || len(tunnels) != 0 {
		t.Errorf("Tunnels: %v, %v", tunnels, err)
	}
	if sessions, err := conn.Sessions(); err != nil || len(sessions) != 0 {
		t.Errorf("Sessions: %v, %v", sessions, err)
	}
}

func TestDecodeRefusesShortValues(t *testing.T) {
	data := encode(t, func(e *netlink.AttributeEncoder) { e.Bytes(attrConnID, []byte{1, 2}) })
	if _, _, err := decodeTunnel(data); err == nil {
		t.Error("a tunnel id of two octets was taken")
	}
	if _, _, err := decodeSession(data); err == nil {
		t.Error("a session's tunnel id of two octets was taken")
	}
	if _, _, err := decodeTunnel([]byte{1}); err == nil {
		t.Error("one octet was taken for a tunnel")
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		errno unix.Errno
		want  error
	}{{unix.ENOENT, os.ErrNotExist}, {unix.ENODEV, os.ErrNotExist}, {unix.EEXIST, os.ErrExist}, {unix.EBUSY, unix.EBUSY}, {unix.EPERM, os.ErrPermission}} {
		conn := dial(t, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
			return nil, genltest.Error(int(c.errno))
		})
		for name, call := range map[string]func() error{
			"CreateTunnel":  func() error { return conn.CreateTunnel(Tunnel{ID: 1, PeerID: 1}) },
			"ModifyTunnel":  func() error { return conn.ModifyTunnel(1) },
			"ModifySession": func() error { return conn.ModifySession(1, 1, Options{SendSeq: new(true)}) },
			"DeleteTunnel":  func() error { return conn.DeleteTunnel(1) },
			"CreateSession": func() error { return conn.CreateSession(Session{TunnelID: 1, ID: 1, PeerID: 1}) },
			"DeleteSession": func() error { return conn.DeleteSession(1, 1) },
			"Tunnel":        func() error { _, err := conn.Tunnel(1); return err },
			"Session":       func() error { _, err := conn.Session(1, 1); return err },
		} {
			err := call()
			if !errors.Is(err, c.want) || !errors.Is(err, c.errno) {
				t.Errorf("%s after %v: %v", name, c.errno, err)
			}
			if errors.Is(err, os.ErrNotExist) != (c.want == os.ErrNotExist) || errors.Is(err, os.ErrExist) != (c.want == os.ErrExist) {
				t.Errorf("%s after %v says too much: %v", name, c.errno, err)
			}
		}
	}
}

func TestMissingFamily(t *testing.T) {
	_, err := newConn(genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, genltest.Error(int(unix.ENOENT))
	}))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestIDsOutOfRangeNeverReachTheKernel(t *testing.T) {
	conn := dial(t, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		t.Error("sent")
		return nil, nil
	})
	for name, err := range map[string]error{
		"tunnel 0":        conn.CreateTunnel(Tunnel{ID: 0, PeerID: 1}),
		"tunnel 65536":    conn.CreateTunnel(Tunnel{ID: 65536, PeerID: 1}),
		"peer's tunnel 0": conn.CreateTunnel(Tunnel{ID: 1}),
		"no socket":       conn.CreateTunnel(Tunnel{ID: 1, PeerID: 1, FD: -1}),
		"session 0":       conn.CreateSession(Session{TunnelID: 1, PeerID: 1}),
		"addresses of two families": conn.CreateTunnel(Tunnel{ID: 1, PeerID: 1, FD: -1, Local: netip.MustParseAddrPort("127.0.0.1:1"),
			Remote: netip.MustParseAddrPort("[::1]:1")}),
		"no peer's port": conn.CreateTunnel(Tunnel{ID: 1, PeerID: 1, FD: -1, Local: netip.MustParseAddrPort("127.0.0.1:1"),
			Remote: netip.MustParseAddrPort("127.0.0.1:0")}),
		"no peer's address": conn.CreateTunnel(Tunnel{ID: 1, PeerID: 1, FD: -1, Local: netip.MustParseAddrPort("127.0.0.1:1"),
			Remote: netip.MustParseAddrPort("0.0.0.0:1")}),
		"a zone": conn.CreateTunnel(Tunnel{ID: 1, PeerID: 1, FD: -1, Local: netip.MustParseAddrPort("[fe80::1%eth0]:1"),
			Remote: netip.MustParseAddrPort("[fe80::2%eth0]:1")}),
		"timeout below 0":       conn.CreateSession(Session{TunnelID: 1, ID: 1, PeerID: 1, ReorderTimeout: -1}),
		"timeout of a month":    conn.ModifySession(1, 1, Options{ReorderTimeout: new(MaxReorderTimeout + 1)}),
		"peer's session 100000": conn.CreateSession(Session{TunnelID: 1, ID: 1, PeerID: 100000}),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestHalfDoneCreation plays a kernel up to 6.12 with a slow listener: an error, and yet the object is there.
func TestHalfDoneCreation(t *testing.T) {
	for _, c := range []struct {
		name   string
		peer   uint32
		delete bool
	}{{"ours is removed", 7, true}, {"another's stays", 8, false}} {
		t.Run(c.name, func(t *testing.T) {
			deleted := 0
			conn := dial(t, func(request genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
				switch request.Header.Command {
				case cmdTunnelCreate, cmdSessionCreate:
					return nil, genltest.Error(int(unix.ENOBUFS))
				case cmdTunnelGet, cmdSessionGet:
					return []genetlink.Message{{Data: encode(t, func(e *netlink.AttributeEncoder) {
						e.Uint32(attrConnID, 1)
						e.Uint32(attrPeerConnID, c.peer)
						e.Uint32(attrSessionID, 1)
						e.Uint32(attrPeerSessionID, c.peer)
					})}}, nil
				}
				deleted++
				return []genetlink.Message{{}}, nil
			})
			want := 0
			if c.delete {
				want = 1
			}
			if err := conn.CreateTunnel(Tunnel{ID: 1, PeerID: 7}); !errors.Is(err, unix.ENOBUFS) || deleted != want {
				t.Errorf("tunnel: %v, %d deletions", err, deleted)
			}
			deleted = 0
			if err := conn.CreateSession(Session{TunnelID: 1, ID: 1, PeerID: 7}); !errors.Is(err, unix.ENOBUFS) || deleted != want {
				t.Errorf("session: %v, %d deletions", err, deleted)
			}
		})
	}
}
