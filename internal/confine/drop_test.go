package confine

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestDrop proves in a process of each kind what it can do afterwards, and what not.
func TestDrop(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func() error
		env     []string
	}{
		"as we are": {},
		"under NoNewPrivileges=yes": {prepare: func() error {
			return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		}},
		"in a container with few capabilities": {prepare: func() error {
			return only(unix.CAP_CHOWN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETPCAP)
		}},
		"without CAP_SETPCAP": {prepare: func() error {
			return only(unix.CAP_CHOWN, unix.CAP_NET_ADMIN, unix.CAP_DAC_READ_SEARCH)
		}, env: []string{envBound + "=kept"}},
		"under a filter of the unit": {prepare: func() error {
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return err
			}
			filter := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: allow}
			program := unix.SockFprog{Len: 1, Filter: &filter}
			_, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)))
			if errno != 0 {
				return errno
			}
			return nil
		}},
		"with a locked secure bit": {prepare: func() error {
			return privileged(func() error { return unix.Prctl(unix.PR_SET_SECUREBITS, secNoSetuidFixup<<1, 0, 0, 0) })
		}, env: []string{envUnlock + "=" + fmt.Sprint(secNoSetuidFixup)}},
		"with ambient capabilities": {prepare: func() error {
			return privileged(func() error {
				if err := inherit(); err != nil {
					return err
				}
				return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_RAW, 0, 0)
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			env := append(c.env, envDir+"="+directories(t))
			if !powerful() { // the bounding set is what it is
				env = append(env, envBound+"=kept")
			}
			h := start(t, "prove", c.prepare, env...)
			sendFile(t, h.peer)
			t.Log("\n" + h.wait(t))
		})
	}
}

// directories makes a readable directory with a file of root, one of another, and a link, and beside it one that is closed.
func directories(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(top, "open")
	for _, path := range []string{"open/ours", "open/others", "closed/ours", "closed/secret"} {
		path = filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if powerful() {
		for _, path := range []string{"open/others", "closed/secret"} {
			if err := os.Chown(filepath.Join(top, path), 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	return open
}

// sendFile passes a file that can be written over the socket.
func sendFile(t *testing.T, to *net.UnixConn) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "passed"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, "passed"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.WriteMsgUnix([]byte{1}, unix.UnixRights(int(f.Fd())), nil); err != nil {
		t.Fatal(err)
	}
}

// powerful reports whether there is anything to drop that these tests look at.
func powerful() bool {
	return Holds(unix.CAP_SETPCAP) && Holds(unix.CAP_CHOWN) && Holds(unix.CAP_NET_RAW)
}

// privileged runs what only root can do; without root the case is the same as the first.
func privileged(do func() error) error {
	if !powerful() {
		return nil
	}
	return do()
}

// only leaves the thread, and what it starts, those capabilities.
func only(keep ...uintptr) error {
	return privileged(func() error {
		var mask uint64
		for _, c := range keep {
			mask |= 1 << c
		}
		for c := range uintptr(unix.CAP_LAST_CAP + 1) {
			if mask&(1<<c) == 0 {
				if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
					return err
				}
			}
		}
		return setCapabilities(func(d *[2]unix.CapUserData) {
			for i, half := range []uint32{uint32(mask), uint32(mask >> 32)} {
				d[i].Permitted, d[i].Effective, d[i].Inheritable = d[i].Permitted&half, d[i].Effective&half, half
			}
		})
	})
}

func inherit() error {
	return setCapabilities(func(d *[2]unix.CapUserData) {
		d[0].Inheritable, d[1].Inheritable = d[0].Permitted, d[1].Permitted
	})
}

func setCapabilities(change func(*[2]unix.CapUserData)) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&hdr, &d[0]); err != nil {
		return err
	}
	change(&d)
	return unix.Capset(&hdr, &d[0])
}
