package l2tpnl

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// sockaddr6 lays out struct sockaddr_pppol2tpin6.
func sockaddr6() []byte {
	b := make([]byte, sockaddrLen6)
	order := binary.NativeEndian
	order.PutUint16(b, unix.AF_PPPOX)
	order.PutUint32(b[2:], pxProtoOL2TP)
	for i, id := range []uint16{0x0102, 0x0304, 0x0506, 0x0708} {
		order.PutUint16(b[14+2*i:], id)
	}
	order.PutUint16(b[22:], unix.AF_INET6)
	return b
}

func TestDecodeName(t *testing.T) {
	v4 := sockaddr(0x0102, 0x0304, 0x0506, 0x0708)
	want := Session{TunnelID: 0x0102, ID: 0x0304, PeerTunnelID: 0x0506, PeerID: 0x0708}
	for name, b := range map[string][]byte{"IPv4": v4[:], "IPv6": sockaddr6()} {
		var s Session
		if err := s.decodeName(b); err != nil || s != want {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		for n := range len(b) {
			if n == sockaddrLen {
				continue // what is left of IPv6 is as long as IPv4
			}
			if err := s.decodeName(b[:n]); !errors.Is(err, os.ErrInvalid) {
				t.Errorf("%d octets of %s were taken: %v", n, name, err)
			}
		}
	}
	pppoe := v4
	pppoe[2] = 0
	var s Session
	if err := s.decodeName(pppoe[:]); !errors.Is(err, os.ErrInvalid) || s != (Session{}) {
		t.Errorf("PPPoE was taken: %+v, %v", s, err)
	}
}

func TestDecodeIocStats(t *testing.T) {
	var b [sizeIocStats]byte
	binary.NativeEndian.PutUint32(b[4:], 1)
	for i := range uint64(8) {
		binary.NativeEndian.PutUint64(b[8+8*i:], 1<<40+i)
	}
	s := Session{ID: 5, Stats: Stats{RxInvalid: 9}}
	s.decodeIocStats(&b)
	const n = 1 << 40
	want := Session{ID: 5, UsingIPsec: true, Stats: Stats{TxPackets: n, TxBytes: n + 1, TxErrors: n + 2, RxPackets: n + 3, RxBytes: n + 4,
		RxSeqDiscards: n + 5, RxOOS: n + 6, RxErrors: n + 7}}
	if s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// TestOtherFiles asks files that are no PPPoL2TP sockets.
func TestOtherFiles(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pair := [2]*os.File{os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")}
	defer pair[0].Close()
	defer pair[1].Close()
	if s, err := SocketSession(pair[0]); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("a UNIX socket has session %+v, %v", s, err)
	}
	if err := SetSocketOptions(pair[0], Options{SendSeq: new(true)}); err == nil {
		t.Error("a UNIX socket took options")
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := SocketSession(file); !errors.Is(err, unix.ENOTSOCK) {
		t.Errorf("a file has session %+v, %v", s, err)
	}
	_ = file.Close()
	if s, err := SocketSession(file); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file has session %+v, %v", s, err)
	}
	if err := SetSocketOptions(pair[1], Options{ReorderTimeout: new(MaxReorderTimeout + 1)}); err == nil || errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a timeout out of range: %v", err)
	}
}

// FuzzName checks that what is taken for the address of a PPPoL2TP socket has the ids of the address that they make.
func FuzzName(f *testing.F) {
	v4 := sockaddr(1, 2, 3, 4)
	f.Add(v4[:])
	f.Add(sockaddr6())
	f.Add([]byte{24, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, again Session
		if first.decodeName(b) != nil {
			return
		}
		name := sockaddr(uint16(first.TunnelID), uint16(first.ID), uint16(first.PeerTunnelID), uint16(first.PeerID))
		if err := again.decodeName(name[:]); err != nil || first != again {
			t.Errorf("%+v, then %+v, %v", first, again, err)
		}
	})
}
