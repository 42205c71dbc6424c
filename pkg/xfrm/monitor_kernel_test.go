//go:build kernel

package xfrm

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKernelExpire(t *testing.T) {
	inNamespace(t)
	m, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	defer time.AfterFunc(patience, func() { _ = m.Close() }).Stop()
	// Two, since the kernel leaves the soft event out if it is late for the hard one.
	soft, hard := inbound(), inbound()
	soft.Soft.Time, soft.Hard.Time = time.Second, time.Hour
	hard.SPI++
	hard.Hard.Time = time.Second
	c := dial(t)
	if err := errors.Join(c.Add(soft), c.Add(hard)); err != nil {
		t.Fatal(err)
	}
	want := map[Event]bool{Expire{ID: soft.ID, ReqID: soft.ReqID}: true, Expire{ID: hard.ID, ReqID: hard.ReqID, Hard: true}: true}
	for len(want) > 0 {
		events, err := m.Receive()
		if err != nil || len(events) != 1 || !want[events[0]] {
			t.Fatalf("got %v, %v, want one of %v", events, err, want)
		}
		delete(want, events[0])
	}
}

func TestKernelDeleted(t *testing.T) {
	inNamespace(t)
	c := dial(t)
	s := inbound()
	if err := c.Add(s); err != nil {
		t.Fatal(err)
	}
	m, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	other := inbound()
	other.SPI++
	if err := c.Add(other); err != nil { // no event of ours
		t.Fatal(err)
	}
	if err := c.Delete(s.ID); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "xfrm", "state", "flush").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []Event
	for len(got) < 2 {
		events, err := m.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
	}
	if got[0] != (Deleted{ID: s.ID, ReqID: s.ReqID}) || got[1] != (Flushed{}) || len(got) != 2 {
		t.Errorf("got %+v, want the deletion of %v and a flush", got, s.ID)
	}
}

// TestKernelMonitorOfSome reads what a Monitor of some reqids could read: nothing of other SAs, whose keys would be in it.
func TestKernelMonitorOfSome(t *testing.T) {
	inNamespace(t)
	c := dial(t)
	f, err := OpenMonitor(Mark{Value: 0x17014000, Mask: 0xffffc000})
	if err != nil {
		t.Fatal(err)
	}
	m, err := MonitorFile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Error("the filter can be taken away")
	}
	ours, foreign := inbound(), inbound()
	foreign.SPI++
	foreign.ReqID = 7
	if err := errors.Join(c.Add(ours), c.Add(foreign), c.Update(foreign), c.Delete(foreign.ID), c.Delete(ours.ID)); err != nil {
		t.Fatal(err)
	}
	events, err := m.Receive() // the first that is there
	if err != nil || len(events) != 1 || events[0] != (Deleted{ID: ours.ID, ReqID: ours.ReqID}) {
		t.Errorf("got %+v, %v, want the deletion of %v", events, err, ours.ID)
	}
	if readable(m.raw) {
		t.Error("there is more to read")
	}
}

// TestKernelMonitorOverrun lets a Monitor read nothing while many SAs are deleted: what fits is told, then the loss, and then everything
// again.
func TestKernelMonitorOverrun(t *testing.T) {
	inNamespace(t)
	c := dial(t)
	const count = 200
	sa := func(i int) *State {
		s := inbound()
		s.SPI += uint32(i)
		return s
	}
	for i := range count + 1 {
		if err := c.Add(sa(i)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if err := c.Delete(sa(i).ID); err != nil {
			t.Fatal(err)
		}
	}
	told := 0
	for {
		events, err := m.Receive()
		if errors.Is(err, ErrOverrun) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		told += len(events)
	}
	if told == 0 || told > count/2 {
		t.Errorf("%d events of %d before the overrun, in a buffer for a few", told, count)
	}
	if err := c.Delete(sa(count).ID); err != nil {
		t.Fatal(err)
	}
	events, err := m.Receive()
	if err != nil || len(events) != 1 || events[0] != (Deleted{ID: sa(count).ID, ReqID: sa(count).ReqID}) {
		t.Errorf("the first event after the overrun: %v, %v", events, err)
	}
}

func TestKernelMonitorClose(t *testing.T) {
	inNamespace(t)
	m, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := m.Receive()
		done <- err
	}()
	_ = m.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Receive of a closed monitor: %v", err)
	}
}
