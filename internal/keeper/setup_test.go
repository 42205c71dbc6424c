package keeper

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// TestSetupOfThePowerless: who has dropped all privileges may be told what there is, and let in nobody else.
func TestSetupOfThePowerless(t *testing.T) {
	cmd := exec.Command("cat") // waits for input
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	open := testSetup
	open.Steering.PlainPeers = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	theirs, ours := &connection{pid: cmd.Process.Pid}, &connection{pid: os.Getpid()}
	if err := theirs.mayChange(testSetup, open); !errors.Is(err, protocol.ErrOtherSetup) {
		t.Errorf("a change by a process without privileges: %v", err)
	}
	if err := theirs.mayChange(testSetup, testSetup); err != nil {
		t.Errorf("no change by a process without privileges: %v", err)
	}
	if err := ours.mayChange(testSetup, open); err != nil {
		t.Errorf("a change by a process with privileges: %v", err)
	}
	ours.weak = true // its number was that of a process without
	if err := ours.mayChange(testSetup, open); !errors.Is(err, protocol.ErrOtherSetup) {
		t.Errorf("a change by the successor of a process without privileges: %v", err)
	}
	if err := (&connection{pid: 1 << 30}).mayChange(testSetup, open); !errors.Is(err, protocol.ErrOtherSetup) {
		t.Errorf("a change by nobody: %v", err)
	}
}
