package xfrm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"
)

// elsewhere is where the SA of inbound goes when its client moves.
func elsewhere() Place {
	there := netip.MustParseAddr("198.51.100.8")
	to := Place{Src: there, Dst: server4, Encap: &Encap{SrcPort: 4501, DstPort: 4500}, Selector: inbound().Selector}
	to.Selector.Src = netip.PrefixFrom(there, 32)
	return to
}

// TestMigrationBytes compares with struct xfrm_user_migrate_state, field by field.
func TestMigrationBytes(t *testing.T) {
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Log("big-endian machine: the expected octets are little-endian")
		return
	}
	zeros := func(n int) string { return strings.Repeat("00", n) }
	before := inbound()
	after := before.at(elsewhere())
	fixed := strings.Join([]string{
		// id
		"c0000201", zeros(12), "c0ffee01 0200 32 00",
		// new_daddr, new_saddr, old_mark
		"c0000201", zeros(12), "c6336408", zeros(12), zeros(8),
		// new_sel
		"c0000201", zeros(12), "c6336408", zeros(12), "4005 ffff 0000 0000 0200 20 20 11 000000 00000000 00000000",
		// new_reqid, flags, new_family, reserved
		"05400117 00000000 0200 0000",
	}, "")
	for _, c := range []struct {
		what   string
		encap  *Encap
		encaps string
	}{
		{"in UDP", after.Encap, "1c00 0400 0200 1195 1194 0000" + zeros(16)},
		{"out of UDP", nil, "1c00 0400" + zeros(24)},
	} {
		after.Encap = c.encap
		if got, want := migration(before, &after), unhex(t, fixed+c.encaps); !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%swant\n%s", c.what, hex.Dump(got), hex.Dump(want))
		}
	}
	before.Encap = nil
	if got := migration(before, &after); len(got) != sizeMigrateState {
		t.Errorf("without UDP before and after: %x", got[sizeMigrateState:])
	}
}

// machine plays a kernel with some SAs, which moves them by itself or not.
type machine struct {
	sas      map[ID]*State
	migrates bool
	broken   bool // it says that it does
	asked    []netlink.HeaderType
	probes   int
	refuse   map[netip.Addr]bool // no SA is added from there
}

func (m *machine) answer(req netlink.Message) ([]netlink.Message, error) {
	fail := func(errno unix.Errno) ([]netlink.Message, error) {
		return nltest.Error(int(errno), []netlink.Message{req})
	}
	m.asked = append(m.asked, req.Header.Type)
	var id ID
	var state State
	var err error
	if req.Header.Type == msgNewSA || req.Header.Type == msgUpdSA {
		state, err = parseState(req.Data)
		id = state.ID
	} else {
		id, err = parseID(req.Data)
	}
	if err != nil {
		return nil, err
	}
	old := m.sas[id]
	switch {
	case req.Header.Type == msgMigrateState && !m.migrates && !m.broken:
		return fail(unix.EINVAL)
	case req.Header.Type == msgMigrateState && id.SPI < 256:
		m.probes++
		return fail(unix.ESRCH)
	case req.Header.Type == msgNewSA && old != nil:
		return fail(unix.EEXIST)
	case req.Header.Type == msgNewSA && m.refuse[state.Src]:
		return fail(unix.ENOSPC)
	case req.Header.Type != msgNewSA && old == nil:
		return fail(unix.ESRCH)
	}
	switch req.Header.Type {
	case msgNewSA, msgUpdSA:
		m.sas[id] = &state
	case msgDelSA:
		delete(m.sas, id)
	case msgGetSA:
		h := netlink.Header{Type: msgNewSA, Sequence: req.Header.Sequence, PID: req.Header.PID}
		return []netlink.Message{{Header: h, Data: old.appendTo(nil)}}, nil
	case msgMigrateState:
		if m.broken {
			return fail(unix.EOPNOTSUPP)
		}
		moved := *old
		moved.Dst, moved.Src = netip.AddrFrom4([4]byte(req.Data[24:])), netip.AddrFrom4([4]byte(req.Data[40:]))
		delete(m.sas, id)
		m.sas[moved.ID] = &moved
	}
	return acknowledge(req), nil
}

func newMachine(sas ...*State) *machine {
	m := &machine{sas: map[ID]*State{}, refuse: map[netip.Addr]bool{}}
	for _, s := range sas {
		m.sas[s.ID] = s
	}
	return m
}

func outbound() *State {
	s := states()["gcm outbound"]
	s.SPI, s.Sequence.Sent = 0x1000, 500
	return s
}

var toNewClient = Place{Src: server4, Dst: netip.MustParseAddr("198.51.100.8")}

// TestMoveByKernel: a kernel that can is asked once whether it can, and then does all of it.
func TestMoveByKernel(t *testing.T) {
	m := newMachine(inbound(), outbound())
	m.migrates = true
	c := kernelSays(t, m.answer)
	for id, to := range map[ID]Place{inbound().ID: elsewhere(), outbound().ID: toNewClient} {
		now, err := c.Move(id, to)
		if err != nil || now != (ID{to.Dst, id.SPI}) || m.sas[now] == nil || m.sas[now].Src != to.Src {
			t.Errorf("moved to %v, %v; the kernel has %v", now, err, m.sas)
		}
	}
	for _, kind := range m.asked {
		if kind == msgDelSA || kind == msgNewSA {
			t.Errorf("asked for %#x", kind)
		}
	}
	if m.probes != 1 || len(m.sas) != 2 {
		t.Errorf("%d questions whether it can; %d SAs", m.probes, len(m.sas))
	}
}

// TestMoveByDeletion: without that, or where it fails, the SA is made anew, and its numbers go on.
func TestMoveByDeletion(t *testing.T) {
	for what, broken := range map[string]bool{"an old kernel": false, "a kernel that cannot after all": true} {
		m := newMachine(inbound(), outbound())
		m.broken = broken
		c := kernelSays(t, m.answer)
		if _, err := c.Move(inbound().ID, elsewhere()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if s := m.sas[inbound().ID]; s.Src != elsewhere().Src || *s.Encap != *elsewhere().Encap || s.Selector.Src != elsewhere().Selector.Src ||
			s.MappingThreshold != inbound().MappingThreshold || s.ReplayWindow != 128 {
			t.Errorf("%s: %+v", what, s)
		}
		now, err := c.Move(outbound().ID, toNewClient)
		if err != nil || m.sas[outbound().ID] != nil {
			t.Fatalf("%s: %v", what, err)
		}
		// Nobody has told where the sequence was when it was deleted.
		if s := m.sas[now]; s.Sequence.Sent < 500+1<<16 || s.Sequence.Sent > 500+1<<30 {
			t.Errorf("%s: the sequence goes on with %d", what, s.Sequence.Sent)
		}
	}
}

func TestMoveRefused(t *testing.T) {
	full := outbound()
	full.Sequence.Sent = 1<<32 - 1
	packet := states()["v6"]
	family6 := elsewhere()
	family6.Src = client6
	other := outbound()
	other.Dst = toNewClient.Dst
	full6 := elsewhere()
	full6.Encap = nil
	same := Place{Src: client4, Dst: server4, Selector: inbound().Selector}
	for _, c := range []struct {
		what string
		sa   *State
		to   Place
		want string
		is   error
	}{
		{"unknown", &State{ID: ID{server4, 0x5555}}, elsewhere(), "no such process", os.ErrNotExist},
		{"used up", full, toNewClient, "used up", nil},
		{"in packet mode", packet, Place{Src: netip.MustParseAddr("2001:db8::8"), Dst: server6}, "does all of ESP", ErrPacketOffload},
		{"another family", inbound(), family6, "one family", nil},
		{"taken", outbound(), toNewClient, "file exists", os.ErrExist},
		{"out of UDP in place", inbound(), same, "cannot begin or end", nil},
	} {
		m := newMachine(inbound(), full, packet)
		if c.what != "used up" {
			m = newMachine(inbound(), outbound(), packet, other)
		}
		conn := kernelSays(t, m.answer)
		before := len(m.sas)
		_, err := conn.Move(c.sa.ID, c.to)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.what, err)
		}
		for _, kind := range m.asked {
			if kind == msgDelSA || len(m.sas) != before {
				t.Errorf("%s: something was deleted", c.what)
			}
		}
	}
}

// TestMoveFails: if the SA cannot be where it is to be, it is where it was, and if not even that, the error says so.
func TestMoveFails(t *testing.T) {
	m := newMachine(inbound())
	m.refuse[elsewhere().Src] = true
	c := kernelSays(t, m.answer)
	if _, err := c.Move(inbound().ID, elsewhere()); !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "lost") {
		t.Errorf("the error is %v", err)
	}
	if d := sameState(*inbound(), *m.sas[inbound().ID]); d != "" && m.sas[inbound().ID].Src != client4 {
		t.Errorf("put back is another SA:\n%s", d)
	}
	m.refuse[client4] = true
	if _, err := c.Move(inbound().ID, elsewhere()); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "the SA is lost") {
		t.Errorf("the error is %v", err)
	}
}

// TestMoveInPlace: new ports are no move.
func TestMoveInPlace(t *testing.T) {
	m := newMachine(inbound())
	c := kernelSays(t, m.answer)
	to := Place{Src: client4, Dst: server4, Encap: &Encap{SrcPort: 1012, DstPort: 4500}, Selector: inbound().Selector}
	for range 2 {
		if id, err := c.Move(inbound().ID, to); err != nil || id != inbound().ID || *m.sas[id].Encap != *to.Encap {
			t.Fatalf("moved to %v, %v", id, err)
		}
	}
	if want := []netlink.HeaderType{msgGetSA, msgUpdSA, msgGetSA}; len(m.asked) != len(want) {
		t.Errorf("asked for %v, want %v", m.asked, want)
	}
}

// TestSeen: what Get has read of the window goes back with Add.
func TestSeen(t *testing.T) {
	s := inbound()
	s.Sequence.Received = 40
	s.seen = bytes.Repeat([]byte{0x5a}, 16)
	got, err := parseState(s.appendTo(nil))
	if err != nil || !bytes.Equal(got.seen, s.seen) {
		t.Errorf("%x, %v", got.seen, err)
	}
	s.ReplayWindow = 64 // a bitmap of another length is none of this window
	if got, err = parseState(s.appendTo(nil)); err != nil || got.seen != nil {
		t.Errorf("%x, %v", got.seen, err)
	}
}

func FuzzDeletedState(f *testing.F) {
	for _, s := range states() {
		b := appendAttribute(s.ID.marshal(), attrSA, s.info())
		f.Add(s.appendAttributes(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := parseDeletedState(b)
		if err != nil {
			return
		}
		again := first.appendAttributes(appendAttribute(first.ID.marshal(), attrSA, first.info()))
		second, err := parseDeletedState(again)
		if err != nil {
			t.Fatalf("%v does not parse again: %v", first, err)
		}
		if d := sameState(first, second); d != "" {
			t.Error(d)
		}
	})
}
