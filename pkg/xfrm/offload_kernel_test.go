//go:build kernel

package xfrm

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// simulated is a device of the kernel's simulator netdevsim, which takes 33 SAs with AES-GCM and an ICV of 128 bits, in crypto mode.
type simulated struct {
	t    *testing.T
	id   int
	link netlink.Link
}

var simulations int

// simulate makes a device in the namespace of the test's thread.
func simulate(t *testing.T) *simulated {
	t.Helper()
	before := linkIndexes(t)
	simulations++
	for { // a process that was killed may have left some
		if _, err := os.Stat(fmt.Sprintf("/sys/bus/netdevsim/devices/netdevsim%d", simulations)); errors.Is(err, os.ErrNotExist) {
			break
		}
		simulations++
	}
	d := &simulated{t: t, id: simulations}
	if err := os.WriteFile("/sys/bus/netdevsim/new_device", fmt.Appendf(nil, "%d 1", d.id), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile("/sys/bus/netdevsim/del_device", fmt.Append(nil, d.id), 0); err != nil {
			t.Error(err)
		}
	})
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if !before[l.Attrs().Index] {
			d.link = l
		}
	}
	if d.link == nil {
		t.Fatal("netdevsim made no device in this namespace")
	}
	if err := netlink.LinkSetUp(d.link); err != nil {
		t.Fatal(err)
	}
	return d
}

func linkIndexes(t *testing.T) map[int]bool {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[int]bool)
	for _, l := range links {
		out[l.Attrs().Index] = true
	}
	return out
}

// table is what the device says of the SAs that it has.
func (d *simulated) table() string {
	d.t.Helper()
	const debugfs = "/sys/kernel/debug"
	if _, err := os.Stat(debugfs + "/netdevsim"); err != nil {
		if err := unix.Mount("none", debugfs, "debugfs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			d.t.Fatalf("mount debugfs: %v", err)
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("%s/netdevsim/netdevsim%d/ports/0/ipsec", debugfs, d.id))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

func (d *simulated) wantCount(why string, n int) {
	d.t.Helper()
	if text := d.table(); !strings.HasPrefix(text, fmt.Sprintf("SA count=%d ", n)) {
		d.t.Errorf("%s: want %d SAs in the device:\n%s", why, n, text)
	}
}

func offloaded(spi uint32, o Offload) *State {
	return &State{
		ID: ID{Dst: server4, SPI: spi}, Src: client4, ReqID: 0x17014006, AEAD: AESGCM16(key(20)), Direction: In,
		ReplayWindow: 64, OutputMark: Mark{Value: 0x17014006, Mask: ^uint32(0)}, Offload: o,
	}
}

func TestKernelOffload(t *testing.T) {
	inNamespace(t)
	c, d := dial(t), simulate(t)
	device := Offload{Device: d.link.Attrs().Index, Mode: OffloadCrypto}
	in := offloaded(0x1000, device)
	out := offloaded(0x1001, device)
	out.Direction, out.ReplayWindow, out.Src, out.Dst = Out, 0, server4, client4
	in6 := offloaded(0x1002, device)
	in6.Src, in6.Dst = client6, server6
	for i, s := range []*State{in, out, in6} {
		if err := c.Add(s); err != nil {
			t.Fatal(err)
		}
		got, err := c.Get(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		want, err := parseState(s.appendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := sameState(want, got); diff != "" {
			t.Errorf("the kernel has another SA:\n%s", diff)
		}
		d.wantCount("after Add", i+1)
		if line := fmt.Sprintf("spi=0x%08x", s.SPI); !strings.Contains(d.table(), line) {
			t.Errorf("no %s in the device:\n%s", line, d.table())
		}
	}
	in.Hard.Bytes = 1 << 30
	if err := c.Update(in); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(in.ID); err != nil || got.Offload != device || got.Hard.Bytes != 1<<30 {
		t.Errorf("after Update: %+v, %v", got, err)
	}
	d.wantCount("after Update", 3)
	if err := c.Delete(in.ID); err != nil {
		t.Fatal(err)
	}
	d.wantCount("after Delete", 2)
	if err := netlink.LinkSetDown(d.link); err != nil {
		t.Fatal(err)
	}
	d.wantCount("after the device went down", 0)
	if list, err := c.List(); err != nil || len(list) != 0 {
		t.Errorf("after the device went down the kernel has %v, %v", list, err)
	}
}

// What a device refuses fails with the words of its driver, and what it does not know at all is done in software, as Get tells.
func TestKernelOffloadRefused(t *testing.T) {
	inNamespace(t)
	c, d := dial(t), simulate(t)
	here := d.link.Attrs().Index
	for words, change := range map[string]func(*State){
		"offload type": func(s *State) { s.Offload.Mode = OffloadPacket },
		"get key data": func(s *State) { s.AEAD, s.Crypt, s.Auth = nil, AESCBC(key(16)), HMACSHA1(key(20)) },
		"key data":     func(s *State) { s.AEAD = AESGCM8(key(20)) },
		"ESN":          func(s *State) { s.ESN = true },
	} {
		s := offloaded(0x1000, Offload{Device: here, Mode: OffloadCrypto})
		change(s)
		err := c.Add(s)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("Add gave %v, want words on %q", err, words)
		}
		if _, err := c.Get(s.ID); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a refused SA is there: %v", words, err)
		}
		s.Offload = Offload{}
		if err := errors.Join(c.Add(s), c.Delete(s.ID)); err != nil {
			t.Errorf("%s: in software: %v", words, err)
		}
	}
	d.wantCount("after refusals", 0)

	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	s := offloaded(0x2000, Offload{Device: lo.Attrs().Index, Mode: OffloadCrypto})
	if err := c.Add(s); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(s.ID); err != nil || got.Offload != (Offload{}) {
		t.Errorf("on a device without ESP there is %+v, %v", got.Offload, err)
	}
	s = offloaded(0x2001, Offload{Device: lo.Attrs().Index, Mode: OffloadPacket})
	if err := c.Add(s); !errors.Is(err, unix.EINVAL) {
		t.Errorf("packet mode on a device without ESP gave %v", err)
	}
}

func TestKernelOffloadFull(t *testing.T) {
	inNamespace(t)
	c, d := dial(t), simulate(t)
	for i := range uint32(33) {
		if err := c.Add(offloaded(0x1000+i, Offload{Device: d.link.Attrs().Index, Mode: OffloadCrypto})); err != nil {
			t.Fatalf("SA %d: %v", i+1, err)
		}
	}
	err := c.Add(offloaded(0x2000, Offload{Device: d.link.Attrs().Index, Mode: OffloadCrypto}))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "kernel: ") {
		t.Errorf("the 34th SA gave %v, want ENOSPC in the words of the driver", err)
	}
	d.wantCount("full", 33)
	if err := c.Delete(offloaded(0x1007, Offload{}).ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(offloaded(0x2000, Offload{Device: d.link.Attrs().Index, Mode: OffloadCrypto})); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}
