package udp

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setControlFilter lets only L2TP control messages into the socket's queue. The kernel takes the data of existing
// sessions out before; data of sessions that are gone, or never were, would wake us for nothing.
func setControlFilter(fd int) error {
	program := controlFilter()
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attach a filter to a socket: %w", err)
	}
	return nil
}

// controlFilter is classic BPF: accept if the T bit (RFC 2661 section 3.1) is set. Offsets count from the UDP header; a
// load beyond the end drops.
func controlFilter() []unix.SockFilter {
	const (
		firstOctet = 8 // after the UDP header
		typeBit    = 0x80
		all        = 0xffffffff
	)
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: firstOctet},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: typeBit},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}
