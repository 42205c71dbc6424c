package confine

import (
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const pid = 4711

// judgement is a filter for this machine's architecture, run outside of the kernel.
type judgement struct {
	on *arch.Info
	vm *bpf.VM
}

func newJudgement(t *testing.T, unixSockets bool) judgement {
	t.Helper()
	on, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	return judgementOn(t, on, unixSockets)
}

func judgementOn(t *testing.T, on *arch.Info, unixSockets bool) judgement {
	t.Helper()
	code, err := program(on, pid, unixSockets)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := bpf.Assemble(code); err != nil || len(raw) > 4096 {
		t.Fatalf("%d instructions, %v; the kernel takes 4096", len(raw), err)
	}
	return judgement{on, vm}
}

// of returns what becomes of a call. The machine reads big-endian words, and the low half of an argument first.
func (j judgement) of(t *testing.T, architecture, number uint32, args ...uint64) uint32 {
	t.Helper()
	words := []uint32{number, architecture, 0, 0}
	for i := range 6 {
		var a uint64
		if i < len(args) {
			a = args[i]
		}
		words = append(words, uint32(a), uint32(a>>32))
	}
	var call []byte
	for _, w := range words {
		call = binary.BigEndian.AppendUint32(call, w)
	}
	verdict, err := j.vm.Run(call)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(verdict)
}

func (j judgement) named(t *testing.T, name string, args ...uint64) uint32 {
	t.Helper()
	number, ok := j.on.SyscallNames[name]
	if !ok {
		t.Fatalf("no call %s", name)
	}
	return j.of(t, uint32(j.on.ID), uint32(number), args...)
}

// TestEveryCall compares the program with the lists.
func TestEveryCall(t *testing.T) {
	j := newJudgement(t, false)
	conditional := guarded(pid, false)
	simple := slices.Concat(data, sockets, files, runtimes)
	for _, name := range slices.Sorted(maps.Keys(j.on.SyscallNames)) {
		want := uint32(refuse)
		switch {
		case conditional[name] != nil:
			continue
		case slices.Contains(simple, name):
			want = allow
		case slices.Contains(fatal, name):
			want = end
		case slices.Contains(unseen, name):
			want = absent
		}
		if got := j.named(t, name); got != want {
			t.Errorf("%s: %#x, want %#x", name, got, want)
		}
	}
	read := uint32(j.on.SyscallNames["read"])
	if got := j.of(t, uint32(j.on.ID)^1, read); got != refuse {
		t.Errorf("a call of another architecture: %#x", got)
	}
	if got := j.of(t, uint32(j.on.ID), read|0x40000000); got != refuse {
		t.Errorf("a call of x32: %#x", got)
	}
}

// TestNothingIsListedTwice also finds names that no architecture knows.
func TestNothingIsListedTwice(t *testing.T) {
	amd64, err := arch.GetInfo("amd64")
	if err != nil {
		t.Fatal(err)
	}
	arm64, err := arch.GetInfo("arm64")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, name := range slices.Concat(data, sockets, files, runtimes, unseen, fatal) {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		_, on1 := amd64.SyscallNames[name]
		_, on2 := arm64.SyscallNames[name]
		if !on1 && !on2 {
			t.Errorf("%s is no system call", name)
		}
	}
	for _, on := range []*arch.Info{amd64, arm64} {
		code, err := program(on, pid, true)
		if err != nil || len(code) < 400 {
			t.Errorf("%s: %d instructions, %v", on.Name, len(code), err)
		}
	}
}

// TestNumbers knows calls of every program by the numbers of asm-generic/unistd.h and of amd64: a name of another architecture is passed over.
func TestNumbers(t *testing.T) {
	for architecture, numbers := range map[string]map[string]uint32{
		"arm64": {
			"epoll_pwait": 22, "fcntl": 25, "openat": 56, "close": 57, "getdents64": 61, "lseek": 62, "read": 63, "write": 64, "pread64": 67, "readlinkat": 78,
			"fstatat": 79, "fstat": 80, "exit_group": 94, "futex": 98, "nanosleep": 101, "rt_sigreturn": 139, "getpid": 172, "socket": 198, "sendto": 206,
			"recvmsg": 212, "munmap": 215, "clone": 220, "mmap": 222, "madvise": 233, "accept4": 242, "getrandom": 278, "statx": 291, "faccessat2": 439,
		},
		"amd64": {
			"read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "lseek": 8, "mmap": 9, "munmap": 11, "rt_sigreturn": 15, "pread64": 17, "madvise": 28,
			"nanosleep": 35, "getpid": 39, "socket": 41, "sendto": 44, "recvmsg": 47, "clone": 56, "fcntl": 72, "futex": 202, "getdents64": 217, "exit_group": 231,
			"openat": 257, "newfstatat": 262, "readlinkat": 267, "epoll_pwait": 281, "accept4": 288, "getrandom": 318, "statx": 332, "faccessat2": 439,
		},
	} {
		on, err := arch.GetInfo(architecture)
		if err != nil {
			t.Fatal(err)
		}
		j := judgementOn(t, on, false)
		for name, number := range numbers {
			args := map[string][]uint64{"clone": {unix.CLONE_VM | unix.CLONE_THREAD}, "socket": {unix.AF_INET, unix.SOCK_DGRAM}, "fcntl": {0, unix.F_GETFL}}[name]
			if got := j.of(t, uint32(on.ID), number, args...); got != allow {
				t.Errorf("%s on %s: %#x", name, architecture, got)
			}
		}
	}
}

// TestChanges: nothing that changes files, processes or the machine is allowed, whatever its arguments.
func TestChanges(t *testing.T) {
	j := newJudgement(t, true)
	for _, name := range []string{
		"unlinkat", "renameat2", "linkat", "symlinkat", "mkdirat", "mknodat", "fchmod", "fchmodat", "fchown", "fchownat", "truncate", "ftruncate",
		"fallocate", "utimensat", "setxattr", "removexattr", "copy_file_range", "splice", "vmsplice", "memfd_create", "socketpair", "setuid",
		"setresuid", "setgroups", "capset", "setpriority", "sched_setaffinity", "setrlimit", "sethostname", "settimeofday", "clock_settime",
		"clock_adjtime", "acct", "quotactl", "syslog", "ioctl", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal",
		"shmat", "shmget", "msgget", "semget", "mq_open", "pkey_mprotect", "remap_file_pages", "seccomp", "landlock_restrict_self",
		"chdir", "fchdir", "umask", "setsid", "setpgid", "fanotify_init", "name_to_handle_at", "lookup_dcookie", "move_pages", "migrate_pages",
	} {
		if got := j.named(t, name); got != refuse {
			t.Errorf("%s: %#x, want EPERM", name, got)
		}
	}
	for _, name := range []string{"execve", "execveat", "ptrace", "process_vm_writev", "bpf", "mount", "setns", "unshare", "keyctl",
		"io_uring_setup", "perf_event_open", "init_module", "kexec_load"} {
		if got := j.named(t, name); got != end {
			t.Errorf("%s: %#x, want the end", name, got)
		}
	}
}

func TestArguments(t *testing.T) {
	const high = 1 << 40
	thread := uint64(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD)
	j, withUnix := newJudgement(t, false), newJudgement(t, true)
	cloexec := uint64(unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK)
	for _, c := range []struct {
		name string
		args []uint64
		want uint32
	}{
		{"openat", []uint64{0, 0, unix.O_RDONLY | unix.O_CLOEXEC | unix.O_DIRECTORY}, allow},
		{"openat", []uint64{0, 0, unix.O_WRONLY}, refuse},
		{"openat", []uint64{0, 0, unix.O_RDWR | unix.O_CLOEXEC}, refuse},
		{"openat", []uint64{0, 0, unix.O_CREAT}, refuse},
		{"openat", []uint64{0, 0, unix.O_TRUNC}, refuse},
		{"openat", []uint64{0, 0, unix.O_TMPFILE | unix.O_RDWR}, refuse},
		{"openat", []uint64{0, 0, high | unix.O_WRONLY}, refuse},
		{"mmap", []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE}, allow},
		{"mmap", []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, refuse},
		{"mprotect", []uint64{0, 4096, unix.PROT_READ}, allow},
		{"mprotect", []uint64{0, 4096, high | unix.PROT_EXEC}, refuse},
		{"clone", []uint64{thread}, allow},
		{"clone", []uint64{thread | unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID}, allow},
		{"clone", []uint64{uint64(unix.SIGCHLD)}, refuse},
		{"clone", []uint64{unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)}, refuse},
		{"clone", []uint64{thread | unix.CLONE_NEWNET}, refuse},
		{"clone", []uint64{thread | unix.CLONE_NEWUSER}, refuse},
		{"kill", []uint64{pid, 1}, allow},
		{"kill", []uint64{1, 9}, refuse},
		{"kill", []uint64{^uint64(0), 9}, refuse},
		{"kill", []uint64{0, 9}, refuse},
		{"tgkill", []uint64{pid, pid, 23}, allow},
		{"tgkill", []uint64{pid + 1, pid + 1, 23}, refuse},
		{"prlimit64", []uint64{0, unix.RLIMIT_NOFILE, 0, 0xc000}, allow},
		{"prlimit64", []uint64{0, unix.RLIMIT_NOFILE, 0xc000, 0}, refuse},
		{"prlimit64", []uint64{0, unix.RLIMIT_NOFILE, 0xc000 << 32, 0}, refuse},
		{"prlimit64", []uint64{1, unix.RLIMIT_NOFILE, 0, 0xc000}, refuse},
		{"fcntl", []uint64{3, unix.F_DUPFD_CLOEXEC}, allow},
		{"fcntl", []uint64{3, unix.F_SETOWN}, refuse},
		{"fcntl", []uint64{3, unix.F_NOTIFY}, refuse},
		{"prctl", []uint64{unix.PR_GET_NO_NEW_PRIVS}, allow},
		{"prctl", []uint64{unix.PR_SET_DUMPABLE, 1}, refuse},
		{"prctl", []uint64{unix.PR_SET_PTRACER, 1}, refuse},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_DGRAM | cloexec, 0}, allow},
		{"socket", []uint64{unix.AF_INET6, unix.SOCK_STREAM | cloexec, unix.IPPROTO_MPTCP}, allow},
		{"socket", []uint64{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP}, allow},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, refuse},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, refuse},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_RAW | cloexec, unix.IPPROTO_ICMP}, refuse},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW | cloexec, unix.NETLINK_ROUTE}, allow},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW | cloexec, unix.NETLINK_GENERIC}, allow},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW | cloexec, unix.NETLINK_NETFILTER}, refuse},
		{"socket", []uint64{unix.AF_PACKET, unix.SOCK_RAW, 0}, refuse},
		{"socket", []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, refuse},
		{"socket", []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, refuse},
		{"socket", []uint64{unix.AF_UNIX, unix.SOCK_STREAM | cloexec, 0}, refuse},
	} {
		if got := j.named(t, c.name, c.args...); got != c.want {
			t.Errorf("%s(%#x): %#x, want %#x", c.name, c.args, got, c.want)
		}
		want := c.want
		if c.name == "socket" && c.args[0] == unix.AF_UNIX {
			want = allow
		}
		if got := withUnix.named(t, c.name, c.args...); got != want {
			t.Errorf("with unix sockets: %s(%#x): %#x, want %#x", c.name, c.args, got, want)
		}
	}
}
