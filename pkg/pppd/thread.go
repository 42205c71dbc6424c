package pppd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Thread is the process's first thread at the service of a Launcher, for programs that want to use Launcher.Exec.
//
// A pppd is told to hang up when the thread that forked it ends (PR_SET_PDEATHSIG), and execve(2) ends all threads but the
// one that calls it. The first thread is the only one that a Go program finds again in the image that follows.
//
// The thread is in the launcher's namespaces only while it has something to do there; all other threads never are, as the
// runtime does not make threads from one that a goroutine has locked.
type Thread struct {
	jobs  chan func()
	ended chan struct{}
}

// NewThread returns a Thread for LauncherConfig.Thread. Nothing that needs it returns before Run has been called.
func NewThread() *Thread {
	return &Thread{jobs: make(chan func()), ended: make(chan struct{})}
}

// Run does what launchers ask for until ctx is done; call it once. The caller is the main goroutine, of a program that has
// called runtime.LockOSThread in an init function, which keeps that goroutine on the first thread. ctx must not be done
// before the last launcher is closed.
func (t *Thread) Run(ctx context.Context) error {
	defer close(t.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if tid := unix.Gettid(); tid != os.Getpid() {
		return fmt.Errorf("run the pppd launcher on thread %d: not the first of process %d; lock the main goroutine to it in an init function", tid, os.Getpid())
	}
	for {
		select {
		case job := <-t.jobs:
			job()
		case <-ctx.Done():
			return nil
		}
	}
}

var errThreadEnded = errors.New("the thread of the pppd launcher has ended")

// do runs job on the thread and returns its error.
func (t *Thread) do(job func() error) error {
	result := make(chan error, 1)
	select {
	case t.jobs <- func() { result <- job() }:
		return <-result
	case <-t.ended:
		return errThreadEnded
	}
}

// ownThread starts a thread that is not the first, and ends with ctx. A namespace that it is in ends with it.
func ownThread(ctx context.Context) *Thread {
	t := NewThread()
	go t.runOwn(ctx)
	return t
}

func (t *Thread) runOwn(ctx context.Context) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == os.Getpid() {
		// The process's first thread cannot end: leave it to others.
		defer runtime.UnlockOSThread()
		started := make(chan struct{})
		go func() {
			close(started)
			t.runOwn(ctx)
		}()
		<-started
		return
	}
	defer close(t.ended)
	for {
		select {
		case job := <-t.jobs:
			job()
		case <-ctx.Done():
			return
		}
	}
}
