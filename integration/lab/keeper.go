package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Keeper returns the process id of the keeper.
func (s *Server) Keeper() (int, error) {
	pids, err := processesIn("net", s.path())
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.Contains(line, []byte("\x00keeper\x00")) {
			return pid, nil
		}
	}
	return 0, errors.New("the daemon has no keeper")
}

// WholeCPU returns the CPU time that the daemon and its keeper have used.
func (s *Server) WholeCPU() (time.Duration, error) {
	daemon, err := s.CPU()
	if err != nil {
		return 0, err
	}
	pid, err := s.Keeper()
	if err != nil {
		return 0, err
	}
	keeper, err := cpuOf(pid)
	return daemon + keeper, err
}

// KillKeeper kills the keeper of the daemon, which has no time to end anything.
func (s *Server) KillKeeper() error { return s.SignalKeeper(syscall.SIGKILL) }

// SignalKeeper sends a signal to the keeper.
func (s *Server) SignalKeeper(signal syscall.Signal) error {
	pid, err := s.Keeper()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, signal)
}

// KillPPPD kills the pppd of an interface.
func (s *Server) KillPPPD(device string) error {
	pids, err := processesIn("net", s.path())
	if err != nil {
		return err
	}
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && programName(pid) == "pppd" && bytes.Contains(line, []byte("\x00"+device+"\x00")) {
			return syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return fmt.Errorf("%s has no pppd", device)
}

// StartKeeper starts a keeper by itself, with further options, and waits until it listens.
func (s *Server) StartKeeper(ctx context.Context, options ...string) (*Process, error) {
	args := append([]string{s.binary, "keeper", "--log-level", "debug"}, options...)
	p, err := s.lab.start(s.Command(context.Background(), args...), s.Name, "keeper.log")
	if err != nil {
		return nil, err
	}
	return p, Until(ctx, 60*time.Second, "the keeper listens", func() error { return p.says(`"keeping"`) })
}

// WaitNobody waits until neither daemon nor keeper runs.
func (s *Server) WaitNobody(ctx context.Context, limit time.Duration) error {
	return Until(ctx, limit, "nobody serves", func() error {
		pids, err := processesIn("net", s.path())
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if name := programName(pid); strings.HasPrefix(name, "l2tpctl") {
				return fmt.Errorf("process %d is %s", pid, name)
			}
		}
		return nil
	})
}
