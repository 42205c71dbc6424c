package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Rules say what Filter leaves to the process.
type Rules struct {
	// Read are directories (or files, as long as nobody replaces them) that the process reads, with all that is below, besides those of
	// the system that Readable names. What does not exist is left out.
	Read []string
	// UnixSockets allows new sockets of the AF_UNIX family. Those that are open work anyway, as do the connections that they accept.
	// A process of user ID 0 that may connect to others' sockets can ask them (systemd, D-Bus, container runtimes) to run programs for it.
	UnixSockets bool
	// Require makes it an error if the kernel lacks system call filters or Landlock; nothing is changed then.
	Require bool
}

// Unsupported says what is missing to confine the process wholly. What is not missing is in force.
type Unsupported struct {
	Seccomp  error // why system calls are not filtered; nil if they are
	Landlock error // why the kernel does not keep the process from reading files; nil if it does
}

func (u *Unsupported) Error() string {
	var missing []string
	if u.Seccomp != nil {
		missing = append(missing, "system calls are not filtered: "+u.Seccomp.Error())
	}
	if u.Landlock != nil {
		missing = append(missing, "files that root may read are not closed to it: "+u.Landlock.Error())
	}
	return "the daemon has no capabilities, but " + strings.Join(missing, "; and ")
}

func (u *Unsupported) Unwrap() []error {
	var errs []error
	for _, err := range []error{u.Seccomp, u.Landlock} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Hide keeps the memory of this process, which will have keys in it, from core dumps and from debuggers without CAP_SYS_PTRACE. Execve
// undoes it, so that each stage has to do it for itself.
func Hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep memory out of core dumps: %w", refused(err))
	}
	return nil
}

// Filter restricts all threads, present and future, to what the package comment says: system calls by seccomp, on amd64 and arm64, and
// files by Landlock. It also does what Hide does. There is no way back. A *Unsupported is returned after the rest was done; after any other
// error the process is not to go on.
func Filter(r Rules) error {
	if err := Hide(); err != nil {
		return err
	}
	missing := &Unsupported{Seccomp: seccompSupport(), Landlock: landlockSupport()}
	if r.Require && (missing.Seccomp != nil || missing.Landlock != nil) {
		// Not %w: it is no *Unsupported, with which the caller may go on.
		return fmt.Errorf("%v; the configuration does not allow to serve like this", missing)
	}
	if missing.Landlock == nil {
		if err := restrictFiles(append(Readable(), r.Read...), r.UnixSockets); err != nil {
			return err
		}
	}
	if missing.Seccomp == nil {
		if err := restrictCalls(r.UnixSockets); err != nil {
			return err
		}
	}
	if missing.Seccomp != nil || missing.Landlock != nil {
		return missing
	}
	return nil
}

// seccompSupport returns why no filter can be installed here.
func seccompSupport() error {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return fmt.Errorf("no list of system calls has been tried on %s yet", runtime.GOARCH)
	}
	if !seccomp.Supported() {
		return errors.New("this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER), or the container runtime refuses the seccomp call")
	}
	return nil
}

func restrictCalls(unixSockets bool) error {
	filter, err := assemble(unixSockets)
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	runtime.LockOSThread() // no-new-privs and the filter are for one thread, which then makes the others follow
	defer runtime.UnlockOSThread()
	if err := seccomp.SetNoNewPrivs(); err != nil {
		return fmt.Errorf("filter system calls: set no-new-privs: %w", refused(err))
	}
	if err := install(filter); err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	return eachThread(func(tid int, status map[string]string) error {
		if status["Seccomp"] != "2" {
			return fmt.Errorf("filter system calls: thread %d did not take the filter over", tid)
		}
		return nil
	})
}

// install gives the filter to all threads, which log what it refuses.
func install(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_LOG
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("install the filter: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("thread %d has a filter of its own", thread)
	}
	return nil
}

// assemble returns the filter in the kernel's form.
func assemble(unixSockets bool) ([]unix.SockFilter, error) {
	on, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	code, err := program(on, os.Getpid(), unixSockets)
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(code)
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}
