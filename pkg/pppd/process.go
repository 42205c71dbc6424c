package pppd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one running pppd.
type Process struct {
	// PID is the process id, valid until Done is closed.
	PID int
	// Name and Interface are those of the Session.
	Name, Interface string
	// Started is when the process was started.
	Started time.Time

	pidfd, logs *os.File
	running     bool          // guarded by Launcher.mu: PID and Started are known
	caughtUp    chan struct{} // closed when its log has been read as far as it went
	done        chan struct{}
	exit        Exit
	dead        atomic.Bool // pppd has said that the peer is
	log         lines       // this and deaf: of the goroutine that hears; of Exec while it has the gate
	deaf        bool        // logs is closed
}

// peerDead is what pppd says, seconds before its end, when LCP echo requests remain without an answer.
const peerDead = "Serial link appears to be disconnected."

// heard looks at a line that pppd wrote.
func (p *Process) heard(line string) {
	if strings.HasPrefix(line, peerDead) {
		p.dead.Store(true)
	}
}

// ended tells the process's status. With PPPoL2TP, closing the link makes pppd see a hangup, which it then reports instead of the cause.
func (p *Process) ended(ws syscall.WaitStatus) Exit {
	exit := exitOf(ws)
	if exit.Code == ExitHangup && p.dead.Load() {
		return Exit{Code: ExitPeerDead, Reason: reasons[ExitPeerDead]}
	}
	return exit
}

// Done is closed when the process has ended and its status is known.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait blocks until the process has ended and says how.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Terminate asks pppd to hang up: it sends the peer an LCP Terminate-Request, reports the end of accounting and exits,
// within some 3 s if the peer is silent. A process that has already ended is not an error.
func (p *Process) Terminate() error { return p.signal(unix.SIGTERM) }

// Kill ends pppd at once, without a word to peer or accounting.
func (p *Process) Kill() error { return p.signal(unix.SIGKILL) }

func (p *Process) signal(sig unix.Signal) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return nil // closed: it has ended
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return nil
	}
	if sent != nil && !errors.Is(sent, unix.ESRCH) {
		return fmt.Errorf("send %v to pppd %d: %w", sig, p.PID, sent)
	}
	return nil
}

// watch waits for the process in the runtime's poller (a pidfd becomes readable when its process ends), which costs no
// thread, and collects its status. It returns with the gate held for reading, from before the status is collected.
func (p *Process) watch(gate *sync.RWMutex) {
	ended := false
	if raw, err := p.pidfd.SyscallConn(); err == nil {
		_ = raw.Read(func(uintptr) bool {
			ended = waitid(p.PID, unix.WNOHANG)
			return ended
		})
	}
	if !ended { // it cannot be polled: wait for it in a thread
		waitid(p.PID, 0)
	}
	<-p.caughtUp // the cause may be in the log
	gate.RLock()
	p.exit = Exit{Code: -1, Reason: "pppd ended, its status is unknown"}
	var ws syscall.WaitStatus
	for {
		pid, err := syscall.Wait4(p.PID, &ws, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err == nil && pid == p.PID {
			p.exit = p.ended(ws)
		}
		break
	}
	p.pidfd.Close()
}

// waitid tells whether child pid has ended, or is none, and leaves its status where it is.
func waitid(pid, options int) bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|options, nil)
		if err != unix.EINTR {
			return err != nil || info.Signo != 0
		}
	}
}
