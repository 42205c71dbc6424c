package xfrm

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Multicast groups, enum xfrm_nlgroups. ACQUIRE (1) is left out on purpose: with a listener the kernel makes a larval SA
// for each destination that has a policy and no SA.
const (
	groupExpire  = 2
	groupSA      = 3
	groupMapping = 8
)

// ErrOverrun says that the kernel dropped events because they were not read in time: compare with List.
var ErrOverrun = errors.New("XFRM events were lost")

// Monitor receives events of all SAs in a network namespace.
type Monitor struct {
	file   *os.File
	raw    syscall.RawConn
	buffer []byte
	lost   bool // events, and ErrOverrun is still to be returned
}

const (
	// receiveBuffer, in octets: a rekey of many clients expires many SAs at once.
	receiveBuffer = 4 << 20
	// maxEvent is more octets than an event has, whatever the SA's algorithms.
	maxEvent = 32 << 10
)

// NewMonitor is OpenMonitor, for all SAs, and MonitorFile.
func NewMonitor() (*Monitor, error) {
	f, err := OpenMonitor(Mark{})
	if err != nil {
		return nil, err
	}
	return MonitorFile(f)
}

// OpenMonitor opens a socket that hears of the EXPIRE, SA and MAPPING groups in the network namespace of the calling thread, for MonitorFile in this
// process or another. It hears only of SAs whose reqid has the value of reqids in the bits of its mask, the zero Mark being all, and of flushes;
// what the kernel tells of an SA that is deleted includes the keys, and whoever has the socket can read that. This cannot be changed any
// more. CAP_NET_ADMIN is required.
func OpenMonitor(reqids Mark) (_ *os.File, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_XFRM)
	if err != nil {
		return nil, wrap("open XFRM netlink", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, wrap("bind to XFRM netlink", err)
	}
	if err := restrictEvents(fd, reqids); err != nil {
		return nil, err
	}
	for _, group := range []int{groupExpire, groupSA, groupMapping} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return nil, wrap(fmt.Sprintf("join XFRM group %d", group), err)
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // best effort: rmem_max may be lower
	}
	return os.NewFile(uintptr(fd), "XFRM monitor"), nil
}

// MonitorFile makes a Monitor of a socket that OpenMonitor has opened, which it takes over whatever comes of it. No privilege is required.
func MonitorFile(f *os.File) (*Monitor, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(wrap("read XFRM netlink", err), f.Close())
	}
	return &Monitor{file: f, raw: raw, buffer: make([]byte, maxEvent)}, nil
}

// Receive waits for events. ErrOverrun comes after the events that were not lost, is not final, and whatever happens from then
// on is told again; any other error is final. Close makes it return os.ErrClosed. It is for one goroutine.
func (m *Monitor) Receive() ([]Event, error) {
	for {
		// After an overrun the kernel drops everything, and says so only once, until nothing waits any more: whoever compared
		// before would miss what happens between the comparison and the last old event.
		if m.lost && !readable(m.raw) {
			m.lost = false
			return nil, fmt.Errorf("receive XFRM events: %w", ErrOverrun)
		}
		n, err := m.read()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			m.lost = true
			continue
		case errors.Is(err, os.ErrClosed):
			return nil, fmt.Errorf("receive XFRM events: %w", os.ErrClosed)
		case err != nil:
			return nil, wrap("receive XFRM events", err)
		}
		if events := parseEvents(m.buffer[:n]); len(events) > 0 {
			return events, nil
		}
	}
}

// read waits for what the kernel sends next; what anybody else sends is passed over.
func (m *Monitor) read() (n int, err error) {
	waitErr := m.raw.Read(func(fd uintptr) bool {
		for {
			var from unix.Sockaddr
			n, from, err = unix.Recvfrom(int(fd), m.buffer, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if sender, ok := from.(*unix.SockaddrNetlink); err == nil && ok && sender.Pid != 0 {
				continue
			}
			return !errors.Is(err, unix.EAGAIN)
		}
	})
	if waitErr != nil {
		return 0, os.ErrClosed // the only cause, but without a name of its own
	}
	return n, err
}

// Close ends the Monitor and a waiting Receive. It may be called again.
func (m *Monitor) Close() error {
	if err := m.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// readable tells whether something can be read without waiting for it.
func readable(raw syscall.RawConn) bool {
	fds := []unix.PollFd{{Events: unix.POLLIN}}
	err := raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		for {
			if _, err := unix.Poll(fds, 0); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return err == nil && fds[0].Revents&unix.POLLIN != 0
}
