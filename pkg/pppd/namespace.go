package pppd

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// namespace is the mount and the UTS namespace of all pppd. Its methods are called on the launcher's thread.
type namespace struct {
	inside, outside place
	at              *place // where the thread is; nil: neither here nor there
	stays           bool   // the thread stays there for ever
}

// place is where a thread can be.
type place struct {
	mounts, hostname *os.File // namespaces
	root, cwd        *os.File // directories
}

// here returns the calling thread's place.
func here() (place, error) {
	var p place
	var errs []error
	for _, f := range []struct {
		file **os.File
		path string
		flag int
	}{
		{&p.mounts, "/proc/thread-self/ns/mnt", unix.O_RDONLY},
		{&p.hostname, "/proc/thread-self/ns/uts", unix.O_RDONLY},
		{&p.root, "/", unix.O_PATH | unix.O_DIRECTORY},
		{&p.cwd, ".", unix.O_PATH | unix.O_DIRECTORY},
	} {
		fd, err := unix.Open(f.path, f.flag|unix.O_CLOEXEC, 0)
		if err != nil {
			errs = append(errs, fmt.Errorf("find the namespaces of this thread: open %s: %w", f.path, err))
			continue
		}
		*f.file = os.NewFile(uintptr(fd), f.path)
	}
	if err := errors.Join(errs...); err != nil {
		p.close()
		return place{}, err
	}
	return p, nil
}

func (p *place) files() []*os.File { return []*os.File{p.mounts, p.hostname, p.root, p.cwd} }

func (p *place) close() {
	for _, f := range p.files() {
		f.Close() // nil is an error, and none to care about
	}
}

// move takes the calling thread to a place. Entering a mount namespace changes root and working directory, so these come last.
func (p *place) move() error {
	steps := []struct {
		what string
		fd   *os.File
		do   func(fd int) error
	}{
		{"enter a mount namespace (this needs CAP_SYS_ADMIN and CAP_SYS_CHROOT)", p.mounts, func(fd int) error { return unix.Setns(fd, unix.CLONE_NEWNS) }},
		{"enter a UTS namespace", p.hostname, func(fd int) error { return unix.Setns(fd, unix.CLONE_NEWUTS) }},
		{"enter its root directory", p.root, func(fd int) error { return errors.Join(unix.Fchdir(fd), unix.Chroot(".")) }},
		{"enter its working directory", p.cwd, unix.Fchdir},
	}
	for _, s := range steps {
		if err := s.do(int(s.fd.Fd())); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// newNamespace makes the namespaces, puts into them what every pppd reads, and leaves the thread there.
//
// The host name there is 127.0.0.1: radius.so looks up the host's name before each request, and waits for the name servers if
// it is not a plain address.
func newNamespace(r Radius, stays bool) (*namespace, error) {
	if st, err := os.Stat(etcPPP); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("%s is not a directory: install the ppp package, or create the directory (nothing is written to it)", etcPPP)
	}
	outside, err := here()
	if err != nil {
		return nil, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		outside.close()
		return nil, fmt.Errorf("create a mount and a UTS namespace for pppd (this needs CAP_SYS_ADMIN): %w", err)
	}
	n := &namespace{outside: outside, stays: stays}
	if n.inside, err = here(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.at = &n.inside
	if err := unix.Sethostname([]byte("127.0.0.1")); err != nil {
		return nil, errors.Join(fmt.Errorf("name the UTS namespace of pppd: %w", err), n.close())
	}
	if err := errors.Join(prepareMounts(), furnish(r)); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// adoptNamespace enters namespaces that another image of this process has made, and leaves the thread there.
func adoptNamespace(inside place, r Radius) (*namespace, error) {
	outside, err := here()
	if err != nil {
		return nil, err
	}
	n := &namespace{inside: inside, outside: outside}
	// Who shares directories with other threads may not enter a mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		outside.close()
		return nil, fmt.Errorf("have a working directory for pppd: %w", err)
	}
	if err := errors.Join(n.enter(), furnish(r)); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *namespace) enter() error { return n.move(&n.inside) }

// leave returns the thread to where it came from.
func (n *namespace) leave() error {
	if n.stays {
		return nil
	}
	return n.move(&n.outside)
}

func (n *namespace) move(to *place) error {
	if n.at == to {
		return nil
	}
	n.at = nil
	if err := to.move(); err != nil {
		return err
	}
	n.at = to
	return nil
}

// close leaves, and gives up our hold on the namespaces, which end when the last pppd has.
func (n *namespace) close() error {
	err := n.leave()
	for _, f := range slices.Concat(n.inside.files(), n.outside.files()) {
		f.Close()
	}
	return err
}
