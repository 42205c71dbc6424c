//go:build kernel

package ppp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// execBench has its sessions' server side in a keeper.
type execBench struct {
	*bench
	cmd   *exec.Cmd
	in    io.Writer
	out   *bufio.Scanner
	links []*link
	pids  map[string]int
}

// newExecBench starts a keeper for at most max sessions.
func newExecBench(t *testing.T, max int) *execBench {
	t.Helper()
	b := &execBench{bench: newBench(t), pids: map[string]int{}}
	first := keeperState{Radius: pppd.Radius{Server: b.aaa.Addr(), Secret: b.aaa.Secret()}}
	for id := range max {
		first.Sockets = append(first.Sockets, 4+id)
	}
	state, err := first.file()
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.cmd = exec.Command(self)
	b.cmd.Env = []string{keeperEnv + "=3"}
	b.cmd.Stderr = os.Stderr
	b.cmd.ExtraFiles = []*os.File{state}
	for id := range uint16(max) {
		s, err := openSession(ourTunnel, id+1, clientTunnel, id+1001)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		b.cmd.ExtraFiles = append(b.cmd.ExtraFiles, s)
	}
	in, err := b.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.in, b.out = in, bufio.NewScanner(out)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = b.cmd.Wait()
	})
	if r := b.reply(); r.PID != b.cmd.Process.Pid || r.Images != 0 {
		t.Fatalf("the keeper says %+v", r)
	}
	return b
}

func (b *execBench) reply() reply {
	b.t.Helper()
	if !b.out.Scan() {
		b.t.Fatalf("the keeper is gone: %v", b.out.Err())
	}
	var r reply
	if err := json.Unmarshal(b.out.Bytes(), &r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *execBench) ask(o order) reply {
	b.t.Helper()
	if err := json.NewEncoder(b.in).Encode(o); err != nil {
		b.t.Fatal(err)
	}
	return b.reply()
}

func (b *execBench) must(o order) reply {
	b.t.Helper()
	r := b.ask(o)
	if r.Error != "" {
		b.t.Fatalf("%s: %s", o.Do, r.Error)
	}
	return r
}

// up brings a session up, with a pppd of the keeper's image of now.
func (b *execBench) up() *link {
	b.t.Helper()
	b.sessions++
	id := uint16(b.sessions)
	l := &link{
		nas: aaa.NewNASID(), iface: fmt.Sprintf("l2t%d-%d", ourTunnel, id), ended: make(chan struct{}),
		clientLog: &lockedBuffer{}, serverLog: &lockedBuffer{},
	}
	if err := b.aaa.Open(aaa.Session{NASID: l.nas, PeerAddr: netip.MustParseAddr(clientAddress)}); err != nil {
		b.t.Fatal(err)
	}
	r := b.must(order{Do: "start", Socket: 3 + int(id), Session: pppd.Session{
		Name: l.nas, Interface: l.iface, TunnelID: ourTunnel, SessionID: id, LocalIP: localAddress, Auth: all,
		Peer: netip.MustParseAddr(clientAddress),
	}})
	b.pids[l.iface] = r.PID
	b.dial(l, id, "alice", "wonderland")
	next[aaa.Authenticated](b.bench, l)
	next[aaa.Started](b.bench, l)
	b.links = append(b.links, l)
	return l
}

// exec makes the keeper exec itself, and looks at what came of it.
func (b *execBench) exec(images int, o order) {
	b.t.Helper()
	if r := b.must(o); r.PID != b.cmd.Process.Pid || r.Images != images {
		b.t.Fatalf("image %d says %+v, want it to be process %d still", images, r, b.cmd.Process.Pid)
	}
}

// check compares the keeper's processes with what should run.
func (b *execBench) check(want ...*link) {
	b.t.Helper()
	r := b.must(order{Do: "list"})
	if len(r.Running) != len(want) {
		b.t.Errorf("running: %v, want %d", r.Running, len(want))
	}
	child := regexp.MustCompile(fmt.Sprintf(`^\d+ \(pppd\) [SRD] %d `, b.cmd.Process.Pid))
	for _, l := range want {
		pid := b.pids[l.iface]
		if r.Running[l.iface] != pid {
			b.t.Errorf("%s: process %d, want %d", l.iface, r.Running[l.iface], pid)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || !child.Match(stat) {
			b.t.Errorf("process %d: %.60s, %v, want a pppd that is the keeper's child", pid, stat, err)
		}
		if _, err := net.InterfaceByName(l.iface); err != nil {
			b.t.Errorf("%s: %v", l.iface, err)
		}
	}
	if len(r.Strange) != 0 {
		b.t.Errorf("threads in the namespace of pppd: %q", r.Strange)
	}
}

// wait asks the keeper how a pppd ended.
func (b *execBench) wait(l *link) pppd.Exit {
	b.t.Helper()
	return b.must(order{Do: "wait", Name: l.iface}).Exit
}

// inherited lists the descriptors of a process that are for the keeper only.
func (b *execBench) inherited(pid int) []string {
	b.t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		b.t.Fatal(err)
	}
	var found []string
	for _, l := range links {
		target, _ := os.Readlink(l)
		if strings.HasPrefix(target, "mnt:") || strings.HasPrefix(target, "uts:") || strings.Contains(target, "pidfd") || target == "/" {
			found = append(found, target)
		}
	}
	return found
}

// TestExec has pppd processes live through two changes of the program whose children they are.
func TestExec(t *testing.T) {
	b := newExecBench(t, 7)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	terminated, killed, hungUp, stays := b.up(), b.up(), b.up(), b.up()
	if r := b.ask(order{Do: "exec", Name: "/nonexistent/keeper"}); !strings.Contains(r.Error, "exec /nonexistent/keeper: no such file") {
		t.Errorf("exec of a program that does not exist: %+v", r)
	}
	b.check(terminated, killed, hungUp, stays)
	late := b.up()
	if fds := b.inherited(b.pids[late.iface]); len(fds) != 0 {
		t.Errorf("pppd inherited %q after the exec that failed", fds)
	}

	if err := b.launcher.Exec(nil); err == nil {
		t.Error("exec with a thread of its own")
	}

	b.exec(1, order{Do: "exec", Name: self})
	b.check(terminated, killed, hungUp, stays, late)
	second := b.up()
	if fds := b.inherited(b.pids[second.iface]); len(fds) != 0 {
		t.Errorf("pppd inherited %q", fds)
	}
	where := func(pid int) string {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err != nil {
			t.Error(err)
		}
		return ns
	}
	if was, is := where(b.pids[stays.iface]), where(b.pids[second.iface]); was != is || is == before {
		t.Errorf("pppd of the second image in %s, of the first in %s, the host's is %s", is, was, before)
	}
	if is := where(b.cmd.Process.Pid); is != before {
		t.Errorf("the keeper is in %s, want %s", is, before)
	}

	b.exec(2, order{Do: "exec while killing", Name: killed.iface})
	if exit := b.wait(killed); exit.Code != -1 || exit.Signal != unix.SIGKILL {
		t.Errorf("killed while the keeper execed: %+v", exit)
	}
	b.check(terminated, hungUp, stays, late, second)
	third := b.up()

	if r := b.must(order{Do: "terminate", Name: terminated.iface}); r.Error != "" {
		t.Error(r.Error)
	}
	if exit := b.wait(terminated); exit.Code != pppd.ExitUserRequest {
		t.Errorf("terminated: %+v, want code %d", exit, pppd.ExitUserRequest)
	}
	log := b.must(order{Do: "log", Name: terminated.iface}).Log
	for _, want := range []string{"local  IP address " + localIP, "Terminating on signal 15"} {
		if !slices.ContainsFunc(log, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("the log lacks %q: %q", want, log)
		}
	}
	_ = hungUp.client.Process.Signal(os.Interrupt)
	if exit := b.wait(hungUp); exit.Code != pppd.ExitOK && exit.Code != pppd.ExitHangup {
		t.Errorf("hung up: %+v, want code 0 or 16", exit)
	}
	b.check(stays, late, second, third)
	next[aaa.Stopped](b.bench, terminated)
	next[aaa.Stopped](b.bench, hungUp)
}

// TestExecKilled shows that pppd processes do not outlive a process that has execed.
func TestExecKilled(t *testing.T) {
	b := newExecBench(t, 3)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.up()
	b.up()
	b.exec(1, order{Do: "exec", Name: self})
	b.up()
	b.exec(2, order{Do: "exec", Name: self})
	b.check(b.links...)
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for iface, pid := range b.pids {
		eventually(t, iface+" without the keeper", func() (string, bool) {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // of an orphan, which process 1 may forget
			return string(stat), err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}
