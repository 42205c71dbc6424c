package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Open creates the control socket with mode 0660 and, if group is not empty, that group (a name or number), for somebody to hold, so that it
// outlives the daemons that serve on it one after another: it gives the file to hold, and nothing removes the socket. The directory is made if
// it is missing. A socket that a dead daemon left is replaced; one that somebody listens on, or a file that is no socket, is an error. held is
// what is held for this path, nil for nothing: if the path still leads to it, mode and group are set anew and held itself is returned.
// Otherwise its holder should close it.
func Open(ctx context.Context, path, group string, held *os.File) (*os.File, error) {
	a, err := newAccess(group)
	if err != nil {
		return nil, err
	}
	if held != nil {
		leads, err := leadsTo(path, held)
		if err != nil {
			return nil, fmt.Errorf("control socket: looking where %s leads: %w", path, err)
		}
		if leads {
			if err := a.apply(path); err != nil {
				return nil, err
			}
			return held, nil
		}
	}
	l, err := listen(ctx, path, a)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // and until here an error removes it
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	var file *os.File
	err = control(raw.Control, func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			file = os.NewFile(uintptr(dup), path) // unlike File of the listener, it never changes the mode that all copies share
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copying the control socket: %w", err), os.Remove(path))
	}
	return file, nil
}

// ListenOn listens on a file that Open gave, or a copy of it. The file is closed, whatever comes of it. Closing the listener leaves the
// socket in place, and who connects then waits for the next one.
func ListenOn(file *os.File) (_ net.Listener, err error) {
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := checkListening(file); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", file.Name(), err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listening on the control socket %s: %w", file.Name(), err)
	}
	return l, nil
}

// control calls f by a method like RawConn.Control.
func control(call func(func(uintptr)) error, f func(fd int) error) error {
	var err error
	if outer := call(func(fd uintptr) { err = f(int(fd)) }); outer != nil {
		return outer
	}
	return err
}

// checkListening refuses what is no listening unix stream socket.
func checkListening(file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw.Control, func(fd int) error {
		for option, want := range map[int]int{unix.SO_DOMAIN: unix.AF_UNIX, unix.SO_TYPE: unix.SOCK_STREAM, unix.SO_ACCEPTCONN: 1} {
			got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
			if err != nil {
				return err
			}
			if got != want {
				return errors.New("it is no unix socket that listens")
			}
		}
		return nil
	})
}

// leadsTo says whether who connects to path arrives at held. Somebody may have removed the socket, and somebody else made another one.
func leadsTo(path string, held *os.File) (bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	switch err := knock(path); {
	case errors.Is(err, unix.EAGAIN): // nobody has served for long, so it is not a daemon's
		return true, nil
	case err != nil:
		return false, nil // listen will say what is the matter
	}
	raw, err := held.SyscallConn()
	if err != nil {
		return false, err
	}
	waiting := 0
	err = control(raw.Control, func(fd int) (err error) {
		waiting, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err
	})
	return waiting == 1, err
}
