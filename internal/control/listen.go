package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketMode lets the owner and the group connect, and nobody else.
const socketMode = 0o660

// Listen creates the control socket with mode 0660 and, if group is not empty, that group (a name or number). The directory
// is made if it is missing. A socket that a dead daemon left is replaced; one that somebody listens on, or a file that is no
// socket, is an error.
func Listen(ctx context.Context, path, group string) (net.Listener, error) {
	gid := -1
	if group != "" {
		var err error
		if gid, err = lookupGroup(group); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the control socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// Linux creates the socket file with the mode of the socket's inode: nobody else can connect before chmod.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmod)
	}}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on the control socket: %w", err)
	}
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(path, socketMode)); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

func lookupGroup(group string) (int, error) {
	g, err := user.LookupGroup(group)
	if err != nil {
		if n, numErr := strconv.Atoi(group); numErr == nil && n >= 0 {
			return n, nil
		}
		return 0, fmt.Errorf("%w: create it (groupadd --system %s) or change control.group", err, group)
	}
	return strconv.Atoi(g.Gid)
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket: %s exists and is no socket: remove it or choose another path (control.socket)", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("control socket: another daemon listens on %s: stop it or choose another path (control.socket)", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("control socket: trying whether somebody listens: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the control socket of a dead daemon: %w", err)
	}
	return nil
}
