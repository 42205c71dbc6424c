package pppd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// AwaitPeer waits until the peer's first PPP frame lies in the queue of a connected PPPoL2TP socket's channel, or ctx is
// done (no error). It reads nothing: pppd finds the frame when it starts.
//
// A client begins with PPP some time after it has sent ICCN. What a pppd started at ICCN sends before that is lost, and its
// next Configure-Request comes a whole second later, the shortest interval it knows. So it is faster to start pppd when the
// client has spoken; but not to wait for ever, for a LAC that forwards somebody else's call may expect us to begin. A second
// is a good limit.
//
// It opens /dev/ppp, which takes CAP_NET_ADMIN.
func AwaitPeer(ctx context.Context, socket *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return fmt.Errorf("await the peer's first PPP frame: %w", err)
	}
	channel, chanErr := -1, error(nil)
	if err := raw.Control(func(fd uintptr) { channel, chanErr = unix.IoctlGetInt(int(fd), unix.PPPIOCGCHAN) }); err != nil || chanErr != nil {
		return fmt.Errorf("await the peer's first PPP frame: find the PPP channel: %w", errors.Join(err, chanErr))
	}
	fd, err := unix.Open("/dev/ppp", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("await the peer's first PPP frame: open /dev/ppp: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.PPPIOCATTCHAN, channel); err != nil {
		unix.Close(fd)
		return fmt.Errorf("await the peer's first PPP frame: attach to PPP channel %d: %w", channel, err)
	}
	// Only now does the file have a queue to poll, so only now may the runtime's poller see it.
	ppp := os.NewFile(uintptr(fd), "/dev/ppp")
	defer ppp.Close()
	defer context.AfterFunc(ctx, func() { _ = ppp.SetReadDeadline(time.Unix(1, 0)) })()
	if raw, err = ppp.SyscallConn(); err != nil {
		return fmt.Errorf("await the peer's first PPP frame: %w", err)
	}
	err = raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return n > 0 || (err != nil && err != unix.EINTR)
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("await the peer's first PPP frame: %w", err)
	}
	return nil
}
