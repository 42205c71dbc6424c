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

// listen creates the control socket with mode 0660 and the group of a. The directory is made if it is missing. A socket that a dead daemon left is
// replaced; one that somebody listens on, or a file that is no socket, is an error.
func listen(ctx context.Context, path string, a access) (*net.UnixListener, error) {
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
	if err := a.apply(path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.UnixListener), nil
}

// access is who may connect besides the owner.
type access struct{ gid int } // -1 for no group

func newAccess(group string) (access, error) {
	if group == "" {
		return access{-1}, nil
	}
	gid, err := lookupGroup(group)
	if err != nil {
		return access{}, fmt.Errorf("control socket: %w", err)
	}
	return access{gid}, nil
}

func (a access) apply(path string) error {
	var err error
	if a.gid >= 0 {
		err = os.Chown(path, -1, a.gid)
	}
	if err = errors.Join(err, os.Chmod(path, socketMode)); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
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

// knock connects and leaves. EAGAIN says that more wait already than there is room for.
func knock(path string) error {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
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
	switch err := knock(path); {
	case err == nil, errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("control socket: another daemon listens on %s, or the keeper of one that has ended holds it: stop it or choose another path"+
			" (control.socket)", path)
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("control socket: trying whether somebody listens: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the control socket of a dead daemon: %w", err)
	}
	return nil
}
