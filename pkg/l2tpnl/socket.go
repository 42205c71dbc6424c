package l2tpnl

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket options of PPPoL2TP sockets, PPPOL2TP_SO_* of linux/if_pppol2tp.h.
const (
	soDebug     = 1
	soRecvSeq   = 2
	soSendSeq   = 3
	soLNSMode   = 4
	soReorderTO = 5
)

const (
	sockaddrLen6 = 50 // of struct sockaddr_pppol2tpin6, in which the ids come before the address of the tunnel's peer
	sizeIocStats = 72 // of struct pppol2tp_ioc_stats
)

// SocketSession asks a PPPoL2TP socket, as [OpenSession] returns, for its session: the ids, the options and the counters except
// RxInvalid. It needs no privilege, works with any copy of the socket, also in another network namespace, and does not disturb who
// uses it.
//
// Errors: ENOTCONN or EBADF if the socket's session has ended, [os.ErrClosed], [os.ErrInvalid] if f is no socket of PPP over L2TPv2.
func SocketSession(f *os.File) (Session, error) {
	var s Session
	err := control(f, "asking a PPPoL2TP socket for its session", func(fd int) error {
		var stats [sizeIocStats]byte
		var name [128]byte
		length := uint32(len(name))
		if _, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&length))); errno != 0 {
			return errno
		}
		if err := s.decodeName(name[:min(length, uint32(len(name)))]); err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.PPPIOCGL2TPSTATS, uintptr(unsafe.Pointer(&stats))); errno != 0 {
			return errno
		}
		s.decodeIocStats(&stats)
		for option, set := range map[int]func(int){
			soRecvSeq:   func(v int) { s.RecvSeq = v != 0 },
			soSendSeq:   func(v int) { s.SendSeq = v != 0 },
			soLNSMode:   func(v int) { s.LNSMode = v != 0 },
			soReorderTO: func(v int) { s.ReorderTimeout = time.Duration(max(v, 0)) * time.Millisecond },
			soDebug:     func(v int) { s.Debug = DebugFlags(v) },
		} {
			value, err := unix.GetsockoptInt(fd, unix.SOL_PPPOL2TP, option)
			if err != nil {
				return err
			}
			set(value)
		}
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	return s, nil
}

// SetSocketOptions changes options of the session of a PPPoL2TP socket. It needs no privilege. The errors are those of
// [SocketSession]; a failure may leave a part of the options changed.
func SetSocketOptions(f *os.File, o Options) error {
	const doing = "setting options of a PPPoL2TP socket"
	if err := o.check(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return control(f, doing, func(fd int) error {
		set := func(option int, value int64) error {
			return unix.SetsockoptInt(fd, unix.SOL_PPPOL2TP, option, int(value))
		}
		for _, flag := range []struct {
			option int
			value  *bool
		}{{soRecvSeq, o.RecvSeq}, {soSendSeq, o.SendSeq}, {soLNSMode, o.LNSMode}} {
			if flag.value == nil {
				continue
			}
			if err := set(flag.option, int64(octet(*flag.value))); err != nil {
				return err
			}
		}
		if o.ReorderTimeout != nil {
			if err := set(soReorderTO, milliseconds(*o.ReorderTimeout)); err != nil {
				return err
			}
		}
		if o.Debug != nil {
			return set(soDebug, int64(*o.Debug))
		}
		return nil
	})
}

// control calls fn with f's descriptor, which stays open meanwhile.
func control(f *os.File, doing string, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return wrap(doing, err)
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return wrap(doing, os.ErrClosed) // the only cause, but without a name of its own
	}
	return wrap(doing, inner)
}

// decodeName takes the ids from a socket's address.
func (s *Session) decodeName(b []byte) error {
	order := binary.NativeEndian
	// Sockets of other kinds have addresses of other families, those of L2TPv3 addresses of other lengths.
	if len(b) < 6 || order.Uint16(b) != unix.AF_PPPOX || order.Uint32(b[2:]) != pxProtoOL2TP {
		return fmt.Errorf("%w: no PPPoL2TP socket", os.ErrInvalid)
	}
	var ids []byte
	switch len(b) {
	case sockaddrLen:
		ids = b[30:]
	case sockaddrLen6:
		ids = b[14:]
	default:
		return fmt.Errorf("%w: an address of %d octets is not of L2TPv2", os.ErrInvalid, len(b))
	}
	s.TunnelID, s.ID = uint32(order.Uint16(ids)), uint32(order.Uint16(ids[2:]))
	s.PeerTunnelID, s.PeerID = uint32(order.Uint16(ids[4:])), uint32(order.Uint16(ids[6:]))
	return nil
}

// decodeIocStats reads struct pppol2tp_ioc_stats after the ids, which decodeName has.
func (s *Session) decodeIocStats(b *[sizeIocStats]byte) {
	order := binary.NativeEndian
	s.UsingIPsec = order.Uint32(b[4:]) != 0 // a bit field of one bit
	s.Stats = Stats{}
	for i, counter := range []*uint64{
		&s.Stats.TxPackets, &s.Stats.TxBytes, &s.Stats.TxErrors,
		&s.Stats.RxPackets, &s.Stats.RxBytes, &s.Stats.RxSeqDiscards, &s.Stats.RxOOS, &s.Stats.RxErrors,
	} {
		*counter = order.Uint64(b[8+8*i:])
	}
}
