package keeper

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// TestUpgrade lets a keeper become another program, again and again, under a daemon that stores without a pause.
func TestUpgrade(t *testing.T) {
	k := startProcess(t, "v1")
	c, err := client.Dial(t.Context(), k.path, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if w := c.Welcome(); w.Build != "v1" || w.PID != k.process.Process.Pid {
		t.Errorf("%+v", w)
	}
	if err := c.Hold("null", os.Stdin); err != nil {
		t.Fatal(err)
	}
	stop, stored := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				stored <- n
				return
			default:
			}
			if err := c.Store([]protocol.Change{{Key: fmt.Sprintf("%06d", n), Value: []byte("value")}}); err != nil {
				t.Errorf("record %d: %v", n, err)
				stored <- n
				return
			}
			n++
			if n%100 == 0 {
				if err := c.Hold(fmt.Sprintf("null %d", n%1000), os.Stdin); err != nil { // which is answered
					t.Errorf("after record %d: %v", n, err)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for i := 2; i <= 5; i++ {
		k.install(fmt.Sprintf("v%d", i))
		k.upgrade(fmt.Sprintf("\"build\": \"v%d\", \"before\": \"v%d\"", i, i-1))
	}
	close(stop)
	n := <-stored
	if err := c.Release("null"); err != nil {
		t.Errorf("what was held before: %v", err)
	}
	// Nothing was set up, so nobody tells what there is but the keeper's state.
	secret, radius := c.Welcome().Radius.Secret, c.Welcome().Radius.Conn.LocalAddr().String()
	c.Close()
	next, err := client.Dial(t.Context(), k.path, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	w := next.Welcome()
	if w.Build != "v5" || w.PID != k.process.Process.Pid || w.Radius.Secret != secret || w.Radius.Conn.LocalAddr().String() != radius {
		t.Errorf("%+v: RADIUS at %v, before at %s", w, w.Radius.Conn.LocalAddr(), radius)
	}
	if strings.Contains(k.text(), secret) {
		t.Error("the secret is in the log")
	}
	if err := next.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-k.ended
	if !strings.Contains(k.text(), fmt.Sprintf("\"records\": %d}", n)) {
		t.Errorf("%d records were stored", n)
	}
	if left, err := os.ReadDir(k.directory + "/run"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestUpgradeToNonsense tries programs that cannot go on: the keeper says so and stays what it is.
func TestUpgradeToNonsense(t *testing.T) {
	k := startProcess(t, "v1")
	c, err := client.Dial(t.Context(), k.path, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, script := range []string{
		"#!/bin/sh\necho this is too old >&2\nexit 2\n",
		"no program\n",
		"#!/does/not/exist\n",
		"#!/bin/sh\nsleep 100 &\nexit 2\n", // the sleeper has our end of the log
	} {
		k.replace(script)
		before := strings.Count(k.text(), "the upgrade failed")
		k.upgrade("the upgrade failed")
		for deadline := time.Now().Add(10 * time.Second); strings.Count(k.text(), "the upgrade failed") == before && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		if err := c.Hold(fmt.Sprint(i), os.Stdin); err != nil {
			t.Errorf("after program %d: %v", i, err)
		}
	}
	k.await("this is too old")
	k.install("v2")
	k.upgrade(`"build": "v2"`)
	if err := c.Release("0"); err != nil {
		t.Error(err)
	}
}

// TestUpgradeWithoutADaemon has nobody whose connection is inherited.
func TestUpgradeWithoutADaemon(t *testing.T) {
	k := startProcess(t, "v1")
	k.install("v2")
	k.upgrade(`"build": "v2"`)
	c, err := client.Dial(t.Context(), k.path, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	if c.Welcome().Build != "v2" {
		t.Errorf("%+v", c.Welcome())
	}
	c.Close()
}

// fullState has everything that a state can have.
func fullState() *state {
	setup := testSetup
	return &state{
		Version: stateVersion, Build: "v1", Secret: "hush", Path: "/run/x.sock", Locked: "/run/x.lock", Lock: 3, Socket: 4, Radius: 5,
		Inventory: protocol.Inventory{
			IKE:       []protocol.IKESocket{{File: 6}},
			Clients:   []protocol.Client{{Open: 7, Tunnel: 8}},
			Sessions:  []protocol.SessionID{{Tunnel: 1, Session: 2}},
			Processes: []protocol.Process{{Interface: "l2t1-1"}},
			Records:   []protocol.Change{{Key: "k", Value: []byte("v")}},
			Held:      []protocol.Held{{Name: "n", File: 9}},
			Plain:     []protocol.PlainSocket{{File: 10}},
		},
		SessionFiles: []int{11}, Setup: &setup,
		PPP:    &pppd.State{Mounts: 12, Processes: []pppd.ProcessState{{PID: 13, Name: "nas", Interface: "l2t1-1", Pidfd: 14, Log: 15, Begun: []byte("x"), Dead: true}}},
		Daemon: &daemonState{Socket: 16, PID: 17, Build: "d"},
	}
}

func TestStateComesBack(t *testing.T) {
	want := fullState()
	for i, v := 0, reflect.ValueOf(want).Elem(); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set, and the test proves nothing of it", v.Type().Field(i).Name)
		}
	}
	f, err := want.memory()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0}, 0); err == nil {
		t.Error("the state can be changed")
	}
	for range 2 { // the trial and the program itself
		got, err := readState(f)
		if err != nil {
			t.Fatal(err)
		}
		a, aErr := protocol.Marshal(want)
		b, bErr := protocol.Marshal(got)
		if aErr != nil || bErr != nil || string(a) != string(b) {
			t.Errorf("%x\ncame back as\n%x (%v, %v)", a, b, aErr, bErr)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", want, want, want); strings.Contains(text, "hush") {
		t.Error(text)
	}
}

func TestStateOfAnotherTime(t *testing.T) {
	for name, change := range map[string]func(*state){
		"version 2, and this program reads 1 to 1": func(s *state) { s.Version = 2 },
		"version 0":    func(s *state) { s.Version = 0 },
		"not whole":    func(s *state) { s.SessionFiles = nil },
		"is not whole": func(s *state) { s.PPP = nil },
		"it is not":    func(s *state) { s.Path = "" },
		"marker":       func(s *state) { s.Setup.Marker = "" },
	} {
		s := fullState()
		change(s)
		f, err := s.memory()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := protocol.Duplicate(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := Try(fd); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			t.Errorf("%s: the descriptor is still open", name)
		}
	}
	if Try(-1) == nil || Try(1<<20) == nil {
		t.Error("no descriptor was taken for a state")
	}
}
