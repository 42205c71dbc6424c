package xfrm

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Place is where the ends of an SA are, and which packets it takes there.
type Place struct {
	Src, Dst netip.Addr
	Encap    *Encap // nil for ESP without UDP
	Selector Selector
}

// ErrPacketOffload says that an SA in packet mode cannot be moved: where its sequence is, only its device knows.
var ErrPacketOffload = errors.New("a device does all of ESP for the SA and does not tell its sequence numbers")

// Move gives an SA another place and returns its ID there. Keys, limits, counters, the time of Add, the replay window, offload, marks
// and the direction stay, and no sequence number is used twice. A soft limit that has been reached is told once more. It is os.ErrNotExist
// if there is no such SA, os.ErrExist if another one has the new ID, and ErrPacketOffload. After any other error the SA is where it was,
// unless the error says that it is lost.
//
// A kernel that can moves the SA by itself (XFRM_MSG_MIGRATE_STATE). Otherwise it is deleted and added anew, with the state that the kernel
// tells of at its deletion; packets that come in between meet no SA and are lost, and one that another processor is decrypting at that
// moment passes without being remembered, so that a copy of it would pass as well. (XFRM_MSG_MIGRATE would want a policy in the database, takes SAs by their reqid and leaves their selector as it was.)
func (c *Conn) Move(id ID, to Place) (ID, error) {
	c.moving.Lock()
	defer c.moving.Unlock()
	op := fmt.Sprintf("move SA %s to %s from %s", id, to.Dst, to.Src)
	read := time.Now()
	before, err := c.Get(id)
	if err != nil {
		return ID{}, err
	}
	after := before.at(to)
	if string(before.info()) == string(after.info()) { // the selectors in one form
		return id, c.follow(&before, &after)
	}
	if err := c.movable(&before, &after); err != nil {
		return ID{}, &Error{Op: op, Err: err}
	}
	if c.canMigrate() {
		err := c.migrate(&before, &after)
		if err == nil {
			return after.ID, nil
		}
		if before, err = c.Get(id); err != nil {
			return ID{}, err // it has expired, or another one was faster
		}
	}
	if err := c.replant(before, to, read); err != nil {
		return ID{}, &Error{Op: op, Err: err}
	}
	return after.ID, nil
}

// at returns the SA as it is to be in another place.
func (s *State) at(to Place) State {
	after := *s
	after.ID.Dst, after.Src, after.Encap, after.Selector = to.Dst, to.Src, to.Encap, to.Selector
	if to.Encap == nil {
		after.MappingThreshold = 0
	}
	return after
}

// follow is what is left of Move if addresses and selector are the same.
func (c *Conn) follow(before, after *State) error {
	switch {
	case before.Encap == nil && after.Encap == nil, before.Encap != nil && after.Encap != nil && *before.Encap == *after.Encap:
		return nil
	case before.Encap == nil || after.Encap == nil:
		return &Error{Op: "move SA " + before.ID.String(), Err: errors.New("UDP encapsulation cannot begin or end in one place")}
	}
	return c.Update(after)
}

// movable finds what would be noticed too late after the SA has been deleted.
func (c *Conn) movable(before, after *State) error {
	if err := after.validate(); err != nil {
		return err
	}
	if before.Offload.Mode == OffloadPacket {
		return ErrPacketOffload
	}
	if !before.ESN && max(before.Sequence.Sent, before.Sequence.Received) == math.MaxUint32 {
		return errors.New("its sequence numbers are used up")
	}
	if after.ID == before.ID {
		return nil
	}
	switch _, err := c.Get(after.ID); {
	case err == nil:
		return unix.EEXIST
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	return nil
}

// replant deletes an SA and adds it in another place, or where it was if that fails. read is the time of the latest reading before
// before.
func (c *Conn) replant(before State, to Place, read time.Time) error {
	last, err := c.uproot(before, read)
	if err != nil {
		return err
	}
	after := last.at(to)
	current := appendCurrent(nil, last.Stats)
	if err := c.add(&after, current); err != nil {
		if back := c.add(&last, current); back != nil {
			return fmt.Errorf("%w; the SA is lost, for it could not be put back: %w", err, back)
		}
		return err
	}
	return nil
}

// uproot deletes an SA and returns the last state of it, which the kernel tells to a group.
func (c *Conn) uproot(before State, read time.Time) (State, error) {
	if c.deletions != nil && c.deletions.JoinGroup(groupSA) == nil {
		err := c.Delete(before.ID)
		_ = c.deletions.LeaveGroup(groupSA)
		// Read it in any case: nothing may wait for the next time.
		last, found := lastState(c.deletions, before.ID)
		if err != nil || found {
			return last, err
		}
	} else if err := c.Delete(before.ID); err != nil {
		return State{}, err
	}
	// The kernel had no memory for the message, or there were too many of others. No machine sends faster than this.
	const most = 1 << 24 // packets in a second
	if before.Direction != In {
		before.Sequence.Sent += 1<<16 + uint64(time.Since(read).Seconds()*most)
	}
	if !before.ESN {
		before.Sequence.Sent = min(before.Sequence.Sent, math.MaxUint32-1)
	}
	return before, nil
}

// lastState reads everything that waits, and finds the deletion of an SA in it.
func lastState(nl *netlink.Conn, id ID) (last State, found bool) {
	raw, err := nl.SyscallConn()
	if err != nil {
		return State{}, false
	}
	for readable(raw) {
		msgs, err := nl.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			break
		}
		for _, m := range msgs {
			if m.Header.Type == msgDelSA {
				if s, err := parseDeletedState(m.Data); err == nil && s.ID == id {
					last, found = s, true
				}
			}
			clear(m.Data)
		}
	}
	return last, found
}

// parseDeletedState reads the SA itself from DELSA, where struct xfrm_usersa_info is in an attribute before the others.
func parseDeletedState(b []byte) (s State, err error) {
	if len(b) < sizeUserSAID {
		return State{}, fmt.Errorf("DELSA of %d octets is shorter than %d", len(b), sizeUserSAID)
	}
	found := false
	err = eachAttribute(b[sizeUserSAID:], func(kind uint16, data []byte) error {
		switch {
		case kind == attrSA && len(data) < sizeUserSAInfo:
			return fmt.Errorf("SA of %d octets is shorter than %d", len(data), sizeUserSAInfo)
		case kind == attrSA:
			found = true
			s, err = parseInfo(data)
			return err
		case !found:
			return nil
		}
		return s.setAttribute(kind, data)
	})
	if err == nil && !found {
		err = errors.New("DELSA without the SA")
	}
	return s, err
}

// appendCurrent appends XFRMA_LTIME_VAL, by which an SA has the age and the counters of another.
func appendCurrent(b []byte, s Stats) []byte {
	v := make([]byte, sizeLifetimeCur)
	native.PutUint64(v[0:], s.Bytes)
	native.PutUint64(v[8:], s.Packets)
	for i, t := range []time.Time{s.AddTime, s.UseTime} {
		if !t.IsZero() {
			native.PutUint64(v[16+8*i:], uint64(t.Unix()))
		}
	}
	return appendAttribute(b, attrLifetime, v)
}
