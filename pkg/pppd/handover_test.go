package pppd

import (
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAdoptRefuses shows that a state that cannot be adopted leaves no descriptor behind.
func TestAdoptRefuses(t *testing.T) {
	cfg := LauncherConfig{
		Path: "/bin/sh", Marker: "l2tpctl", Thread: NewThread(),
		Radius: Radius{Server: netip.MustParseAddrPort("127.0.0.1:1812"), Secret: "0123456789abcdef"},
	}
	for name, spoil := range map[string]func(c *LauncherConfig, s *State){
		"no thread":      func(c *LauncherConfig, _ *State) { c.Thread = nil },
		"another server": func(_ *LauncherConfig, s *State) { s.Radius = netip.MustParseAddrPort("127.0.0.1:1813") },
		"no marker":      func(c *LauncherConfig, _ *State) { c.Marker = "" },
		"no descriptor":  func(_ *LauncherConfig, s *State) { s.Processes = append(s.Processes, ProcessState{Pidfd: -1, Log: -1}) },
	} {
		s := State{Radius: cfg.Radius.Server, Processes: []ProcessState{{PID: 1, Interface: "x"}}}
		fds := append(s.place(), &s.Processes[0].Pidfd, &s.Processes[0].Log)
		for _, fd := range fds {
			var err error
			if *fd, err = unix.Open(os.DevNull, unix.O_RDONLY, 0); err != nil {
				t.Fatal(err)
			}
		}
		c := cfg
		spoil(&c, &s)
		if _, adopted, err := Adopt(c, s, nil); err == nil {
			t.Errorf("%s: adopted %v", name, adopted)
		}
		for _, fd := range fds {
			if _, err := unix.FcntlInt(uintptr(*fd), unix.F_GETFD, 0); err != unix.EBADF {
				t.Errorf("%s: descriptor %d is still open", name, *fd)
			}
		}
	}
}

// TestThread shows that Run refuses any thread but the first.
func TestThread(t *testing.T) {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: were it the first thread, the next test would not be on it
		if unix.Gettid() == os.Getpid() {
			go func() {
				runtime.LockOSThread()
				result <- NewThread().Run(t.Context())
			}()
			return
		}
		result <- NewThread().Run(t.Context())
	}()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "not the first") {
		t.Errorf("Run on another thread: %v", err)
	}
	th := NewThread()
	close(th.ended)
	if err := th.do(func() error { return nil }); err != errThreadEnded {
		t.Errorf("a job for a thread that has ended: %v", err)
	}
}

// TestWatch collects the status of a process that had ended before anybody watched it, and reads its log first.
func TestWatch(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(uintptr(pipe[1]), "log")
	defer out.Close()
	pidfd := -1
	child, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "echo ' appears to be disconnected.'; exit 16"}, &os.ProcAttr{
		Files: []*os.File{nil, out}, Sys: &unix.SysProcAttr{PidFD: &pidfd},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		t.Fatal(err)
	}
	if !waitid(child.Pid, 0) || !waitid(child.Pid, unix.WNOHANG) {
		t.Fatal("the child has not ended, or its status is gone")
	}
	l := &Launcher{processes: map[string]*Process{}, thread: NewThread()}
	close(l.thread.ended)
	p := &Process{
		PID: child.Pid, Interface: "x", running: true, caughtUp: make(chan struct{}), done: make(chan struct{}),
		pidfd: os.NewFile(uintptr(pidfd), "pidfd"), logs: os.NewFile(uintptr(pipe[0]), "log"),
	}
	p.log.begun = []byte("Serial link") // read by the image before
	l.watchers.Add(1)
	var log []string
	l.attend(p, func(line string) { log = append(log, line) })
	if exit := p.Wait(); exit.Code != ExitPeerDead {
		t.Errorf("%+v, want code %d", exit, ExitPeerDead)
	}
	if len(log) != 1 || log[0] != "Serial link appears to be disconnected." {
		t.Errorf("log %q", log)
	}
	l.watchers.Wait()
}
