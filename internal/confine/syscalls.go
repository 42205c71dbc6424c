package confine

import "golang.org/x/sys/unix"

// What the filter answers. A refusal is EPERM, and is written to the kernel's log: a library that tries something harmless and can do
// without goes on, and whoever looks for the reason finds the number of the call. Calls by which code that has been smuggled in would
// take over the machine, and which nothing in a Go program makes by itself, end the process at once: then it is no longer ours, must
// get no second try, and its successor continues every session.
const (
	allow  = unix.SECCOMP_RET_ALLOW
	refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	end    = unix.SECCOMP_RET_KILL_PROCESS
	// Arguments in memory cannot be looked at. The caller takes the older call, whose arguments can.
	absent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// fatal are the calls that end the process. Starting a process is not among them: os.FindProcess and others try whether they could.
var fatal = []string{
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open", "userfaultfd",
	"io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl",
	"mount", "umount2", "pivot_root", "chroot", "fsopen", "fsmount", "fsconfig", "fspick", "move_mount", "open_tree", "mount_setattr",
	"setns", "unshare", "open_by_handle_at", "reboot", "swapon", "swapoff", "iopl", "ioperm", "modify_ldt", "personality",
}

var unseen = []string{"clone3", "openat2"}

// data are the calls of every packet: they come first.
var data = []string{
	"recvmmsg", "sendmmsg", "recvmsg", "sendmsg", "recvfrom", "sendto", "read", "write", "epoll_pwait", "epoll_wait", "futex",
	"nanosleep", "clock_gettime", "sched_yield", "madvise", "munmap", "getrandom", "close", "readv", "writev", "pread64", "pwrite64",
}

var sockets = []string{
	"accept", "accept4", "bind", "connect", "listen", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt", "sendfile",
	"epoll_create1", "epoll_ctl", "epoll_pwait2", "eventfd2", "pipe2", "poll", "ppoll", "select", "pselect6", "dup", "dup3",
}

// files are calls that open nothing and change nothing. fsync is for the log. newfstatat and fstatat are one call, by its names on amd64 and arm64.
var files = []string{
	"fstat", "newfstatat", "fstatat", "stat", "lstat", "statx", "statfs", "fstatfs", "readlink", "readlinkat", "access", "faccessat", "faccessat2",
	"getdents64", "lseek", "getcwd", "fsync", "fdatasync", "flock", "fadvise64",
}

// runtimes are what the Go runtime, the C library's threads and the race detector need.
var runtimes = []string{
	"brk", "mremap", "mincore", "membarrier", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
	"sigaltstack", "restart_syscall", "exit", "exit_group", "set_robust_list", "rseq", "set_tid_address", "sched_getaffinity",
	"sched_getparam", "sched_getscheduler", "getcpu", "gettid", "getpid", "getppid", "getpgid", "getpgrp", "getsid", "getuid", "geteuid",
	"getgid", "getegid", "getgroups", "getresuid", "getresgid", "capget", "uname", "sysinfo", "times", "getrusage", "getrlimit",
	"clock_getres", "clock_nanosleep", "gettimeofday", "time", "timer_create", "timer_settime", "timer_gettime", "timer_delete",
	"setitimer", "getitimer", "timerfd_create", "timerfd_settime", "timerfd_gettime", "pause", "wait4", "waitid",
}

const (
	writing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	// What pthread_create and the Go runtime may ask of a new thread: no namespace, no exit signal, no tracing.
	threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
		unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_CHILD_SETTID | unix.CLONE_DETACHED
)

// guarded are the calls that are allowed with certain arguments only: with each of the sets of conditions by itself.
func guarded(pid int, unixSockets bool) map[string][][]condition {
	self := uint32(pid)
	calls := map[string][][]condition{
		"mmap":     {{lacks(2, unix.PROT_EXEC)}},
		"mprotect": {{lacks(2, unix.PROT_EXEC)}},
		"clone":    {{masked(0, ^uint32(threadFlags)|unix.CLONE_THREAD, unix.CLONE_THREAD)}},
		"open":     {{lacks(1, writing)}},
		"openat":   {{lacks(2, writing)}},
		"tgkill":   {{is(0, self)}},
		"kill":     {{is(0, self)}},
		// Own limits, to be read.
		"prlimit64": {{is(0, 0), is(2, 0), high(2, 0)}},
		// Not F_SETOWN: it would let the kernel send signals to others.
		"fcntl": oneOf(1, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC),
		"prctl": oneOf(0, unix.PR_GET_NO_NEW_PRIVS, unix.PR_GET_SECUREBITS, unix.PR_CAPBSET_READ, unix.PR_GET_DUMPABLE,
			unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA),
	}
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		calls["socket"] = append(calls["socket"],
			socket(family, unix.SOCK_DGRAM, 0), socket(family, unix.SOCK_DGRAM, unix.IPPROTO_UDP),
			socket(family, unix.SOCK_STREAM, 0), socket(family, unix.SOCK_STREAM, unix.IPPROTO_TCP),
			socket(family, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)) // Go listens with MPTCP if it can
	}
	// Of XFRM and nftables the kernel tells nobody without CAP_NET_ADMIN.
	for _, protocol := range []uint32{unix.NETLINK_ROUTE, unix.NETLINK_GENERIC} {
		calls["socket"] = append(calls["socket"],
			socket(unix.AF_NETLINK, unix.SOCK_RAW, protocol), socket(unix.AF_NETLINK, unix.SOCK_DGRAM, protocol))
	}
	if unixSockets {
		for _, kind := range []uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
			calls["socket"] = append(calls["socket"], socket(unix.AF_UNIX, kind, 0))
		}
	}
	return calls
}

func socket(family, kind, protocol uint32) []condition {
	return []condition{is(0, family), masked(1, ^uint32(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK), kind), is(2, protocol)}
}
