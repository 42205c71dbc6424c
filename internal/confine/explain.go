package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Explain adds to an error that says that a file may not be read, in a confined process, why and what to do. Other errors, and nil, come back
// as they are.
func Explain(err error) error {
	var at *fs.PathError
	if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &at) || !Confined() {
		return err
	}
	// What Landlock closes can still be asked about.
	path, absErr := filepath.Abs(at.Path)
	if absErr != nil {
		return err
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if closed := closedTo(dir, 0o1); closed != "" {
			return fmt.Errorf("%w: the directory %s %s; the daemon has no capabilities: chown it to root, chmod o+x it, or move the file below /etc/l2tpctl",
				err, dir, closed)
		}
		if dir == "/" {
			break
		}
	}
	if closed := closedTo(path, 0o4); closed != "" {
		return fmt.Errorf("%w: it %s; the daemon has no capabilities, and reads files of root only: chown root and chmod 0600 it", err, closed)
	}
	return fmt.Errorf("%w: the daemon may read only /etc and the directories that its configuration named when it started: "+
		"move the file there, or restart the daemon (no session ends)", err)
}

// closedTo returns, if user and group ID 0 without capabilities do not have a permission (an octal digit), why not.
func closedTo(path string, permission uint32) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "" // a directory above it is closed, and will be found
	}
	shift := 0
	switch {
	case st.Uid == uint32(os.Geteuid()):
		shift = 6
	case st.Gid == uint32(os.Getegid()):
		shift = 3
	}
	if st.Mode>>shift&permission != 0 {
		return ""
	}
	return fmt.Sprintf("belongs to user ID %d, and has mode %#o", st.Uid, st.Mode&0o7777)
}
