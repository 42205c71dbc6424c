package l2tpnl

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pxProtoOL2TP is PX_PROTO_OL2TP of linux/if_pppox.h.
const pxProtoOL2TP = 1

// sockaddrLen is the length of struct sockaddr_pppol2tp, by which the kernel tells it from its L2TPv3 and IPv6 sisters. It is enough
// for tunnels over IPv6: the address in it is ignored.
const sockaddrLen = 38

// OpenSession opens a PPPoL2TP socket connected to a session of an existing tunnel, and attaches it to a PPP channel, so that frames
// of the peer wait in the channel's queue until pppd attaches to it. It creates the session if it does not exist. The tunnel's ids
// must be those that the tunnel was created with.
//
// The file is for handing on to pppd (plugin pppol2tp.so); closing its last copy ends the session. It does not survive the tunnel:
// end its pppd when the tunnel goes.
//
// Errors: [os.ErrNotExist] if there is no such tunnel, [os.ErrExist] if another socket is connected to the session, EAFNOSUPPORT or
// EPROTONOSUPPORT if the kernel has no PPPoL2TP (modprobe l2tp_ppp).
func OpenSession(tunnel, session, peerTunnel, peerSession uint16) (*os.File, error) {
	fail := func(doing string, err error) (*os.File, error) {
		return nil, wrap(fmt.Sprintf("opening L2TP session %d/%d: %s", tunnel, session, doing), err)
	}
	if session == 0 || tunnel == 0 || peerTunnel == 0 || peerSession == 0 {
		// Zero ids would open a management socket.
		return fail("checking its ids", unix.EINVAL)
	}
	fd, err := unix.Socket(unix.AF_PPPOX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, pxProtoOL2TP)
	if err != nil {
		return fail("making a PPPoL2TP socket", err)
	}
	address := sockaddr(tunnel, session, peerTunnel, peerSession)
	// x/sys/unix has no such address, hence the bare system call. Connecting sends nothing and does not wait.
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&address)), sockaddrLen)
	if errno != 0 {
		_ = unix.Close(fd)
		return fail("connecting the PPPoL2TP socket", errno)
	}
	// Asking for the channel's number binds the socket to the channel; until then frames would go to the socket's own queue.
	if _, err := channel(fd); err != nil {
		_ = unix.Close(fd)
		return fail("attaching it to PPP", err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pppol2tp:%d/%d", tunnel, session)), nil
}

// channel returns the number of the PPP channel behind a connected PPPoX socket.
func channel(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.PPPIOCGCHAN) }

// sockaddr lays out struct sockaddr_pppol2tp of linux/if_pppox.h, packed and in native byte order.
func sockaddr(tunnel, session, peerTunnel, peerSession uint16) [sockaddrLen]byte {
	var a [sockaddrLen]byte
	order := binary.NativeEndian
	order.PutUint16(a[0:], unix.AF_PPPOX)
	order.PutUint32(a[2:], pxProtoOL2TP)
	// a[6:10] is the pid, 0 for this process.
	order.PutUint32(a[10:], ^uint32(0)) // fd -1: the tunnel is found by its id
	// a[14:30] is a sockaddr_in that the kernel ignores.
	order.PutUint16(a[30:], tunnel)
	order.PutUint16(a[32:], session)
	order.PutUint16(a[34:], peerTunnel)
	order.PutUint16(a[36:], peerSession)
	return a
}
