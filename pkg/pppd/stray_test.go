package pppd

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestStraysOfOthers: what somebody else calls pppd, with our marker, is nothing to wait for or to end.
func TestStraysOfOthers(t *testing.T) {
	const marker = "l2tpctl-test-of-strays"
	for name, c := range map[string]struct {
		credential *syscall.Credential
		want       int
	}{
		"ours":   {nil, 1},
		"theirs": {&syscall.Credential{Uid: 65534, Gid: 65534}, 0},
	} {
		cmd := exec.Command("/bin/sh")
		cmd.Args = []string{"pppd", "-c", "echo; read x", "ipparam", marker + "-1"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it is what it says now
			t.Error(err)
		}
		strays, err := FindStrays(marker)
		if err != nil || len(strays) != c.want || c.want > 0 && strays[0].PID != cmd.Process.Pid {
			t.Errorf("%s: %v, %v", name, strays, err)
		}
		before := time.Now()
		if n, err := EndStrays(t.Context(), marker); err != nil || n != c.want || time.Since(before) > 10*time.Second {
			t.Errorf("%s: ended %d, %v", name, n, err)
		}
		_ = in.Close()
		_ = cmd.Wait() // by a signal, or not
		if ended := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled(); ended != (c.want > 0) {
			t.Errorf("%s: ended by a signal: %t", name, ended)
		}
	}
	for text, want := range map[string]int{"Name:\tx\nUid:\t7\t0\t0\t0\n": 7, "Uid:\t\n": -1, "": -1, "Uid:\tx\t0\n": -1} {
		if got := realUser([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
