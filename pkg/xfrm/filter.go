package xfrm

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// restrictEvents lets only what parseEvents reads, of SAs whose reqid has the value of reqids in the bits of its mask, into the queue of a socket, for good.
func restrictEvents(fd int, reqids Mark) error {
	program := eventFilter(reqids)
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return wrap("attach a filter to XFRM netlink", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1); err != nil {
		return wrap("lock the filter of XFRM netlink", err)
	}
	return nil
}

// eventFilter is classic BPF, which reads numbers in network order and drops a message at a load beyond its end. It keeps messages whole or not
// at all: the kernel shares them among listeners, who would all get what one filter has cut off.
func eventFilter(reqids Mark) []unix.SockFilter {
	const (
		offType = 4 // struct nlmsghdr
		all     = 0xffffffff
	)
	// Where the reqid is. In DELSA the SA is in the first attribute (xfrm_notify_sa).
	places := []struct{ kind, offset uint32 }{
		{msgExpire, unix.NLMSG_HDRLEN + offSAReqID},
		{msgDelSA, unix.NLMSG_HDRLEN + sizeUserSAID + unix.NLA_HDRLEN + offSAReqID},
		{msgMapping, unix.NLMSG_HDRLEN + offMappingReqID},
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: offType},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: wire16(msgFlushSA)},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
	}
	for _, p := range places {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 5, K: wire16(uint16(p.kind))},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: p.offset},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: wire32(reqids.Mask)},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: wire32(reqids.Value & reqids.Mask)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: all},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		)
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
}

// wire16 and wire32 are how BPF sees a number of the kernel.
func wire16(v uint16) uint32 { return uint32(binary.BigEndian.Uint16(native.AppendUint16(nil, v))) }
func wire32(v uint32) uint32 { return binary.BigEndian.Uint32(native.AppendUint32(nil, v)) }
