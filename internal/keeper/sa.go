package keeper

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const (
	// maxSAs is how many there may be: those of all slots, twice over while they are renewed, several times.
	maxSAs = 1 << 18
	// maxDeletions is how many one request may delete: many times those of a client.
	maxDeletions = 1 << 10
)

// addSA installs an SA that can be of a client, and marks what it has decrypted as this client's.
func (m *machine) addSA(_ context.Context, st xfrm.State) (reply, error) {
	defer forgetKeys(&st)
	mark := xfrm.Mark{Value: st.ReqID, Mask: ^uint32(0)}
	switch {
	case !m.block.Owns(st.ReqID):
		return reply{}, fmt.Errorf("add SA %s: reqid 0x%08x: %w", st.ID, st.ReqID, protocol.ErrNotOurs)
	case st.Mode != xfrm.ModeTransport:
		return reply{}, fmt.Errorf("add SA %s: not in transport mode: %w", st.ID, protocol.ErrNotOurs)
	case st.Direction != xfrm.In && st.Direction != xfrm.Out:
		return reply{}, fmt.Errorf("add SA %s: without a direction: %w", st.ID, protocol.ErrNotOurs)
	case st.Direction == xfrm.In && !leadsToSlot(st.Selector, uint16(st.ReqID)):
		return reply{}, fmt.Errorf("add SA %s: it leads to more than slot %d: %w", st.ID, uint16(st.ReqID), protocol.ErrNotOurs)
	case st.Direction == xfrm.In && st.OutputMark != mark, st.Direction == xfrm.Out && st.OutputMark != xfrm.Mark{}:
		return reply{}, fmt.Errorf("add SA %s: mark 0x%08x of its packets is not reqid 0x%08x: %w", st.ID, st.OutputMark.Value, st.ReqID, protocol.ErrNotOurs)
	}
	if err := m.countSA(); err != nil {
		return reply{}, fmt.Errorf("add SA %s: %w", st.ID, err)
	}
	return reply{}, m.sas.Add(&st)
}

// countSA counts what is added, and looks how much of it is left when that is as much as there may be: the kernel deletes SAs by itself.
func (m *machine) countSA() error {
	m.counting.Lock()
	defer m.counting.Unlock()
	if m.added >= m.maxSAs {
		all, err := m.saList.List()
		if err != nil {
			return err
		}
		m.added = 0
		for _, st := range all {
			forgetKeys(&st)
			if m.block.Owns(st.ReqID) {
				m.added++
			}
		}
		if m.added >= m.maxSAs {
			return fmt.Errorf("there are %d: %w", m.added, os.ErrInvalid)
		}
	}
	m.added++
	return nil
}

// leadsToSlot reports whether a selector lets nothing through but UDP to the port of a slot.
func leadsToSlot(s xfrm.Selector, port uint16) bool {
	return s.Proto == unix.IPPROTO_UDP && s.DstPort == port && s.DstPortMask == 0xffff
}

// forgetKeys leaves of the keys how long they are, which tells one algorithm from another.
func forgetKeys(st *xfrm.State) {
	if st.Crypt != nil {
		clear(st.Crypt.Key)
	}
	if st.Auth != nil {
		clear(st.Auth.Key)
	}
	if st.AEAD != nil {
		clear(st.AEAD.Key)
	}
}

// ownSA returns an SA of ours, with its keys.
func (m *machine) ownSA(doing string, id xfrm.ID) (xfrm.State, error) {
	st, err := m.sas.Get(id)
	if err != nil {
		return st, err
	}
	if !m.block.Owns(st.ReqID) {
		forgetKeys(&st)
		return st, fmt.Errorf("%s SA %s: reqid 0x%08x: %w", doing, id, st.ReqID, protocol.ErrNotOurs)
	}
	return st, nil
}

// deleteSAs deletes SAs of ours, and tells what each has counted; it passes over those that are not there.
func (m *machine) deleteSAs(_ context.Context, ids []xfrm.ID) (reply, error) {
	if len(ids) > maxDeletions {
		return reply{}, fmt.Errorf("delete %d SAs at once: %w", len(ids), os.ErrInvalid)
	}
	counted := make([]xfrm.Stats, len(ids))
	var errs []error
	for i, id := range ids {
		st, err := m.ownSA("delete", id)
		forgetKeys(&st)
		if err == nil {
			counted[i] = st.Stats
			err = m.sas.Delete(id)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return reply{body: counted}, errors.Join(errs...)
}

// moveSA gives an SA of ours other addresses. One end stays where it is, and the packets are the same but for their addresses.
func (m *machine) moveSA(_ context.Context, mv protocol.SAMove) (reply, error) {
	st, err := m.ownSA("move", mv.ID)
	forgetKeys(&st)
	if err != nil {
		return reply{}, err
	}
	if mv.To.Src != st.Src && mv.To.Dst != st.Dst || withoutAddresses(mv.To.Selector) != withoutAddresses(st.Selector) {
		return reply{}, fmt.Errorf("move SA %s: it would be another's: %w", mv.ID, protocol.ErrNotOurs)
	}
	id, err := m.sas.Move(mv.ID, mv.To)
	return reply{body: id}, err
}

func withoutAddresses(s xfrm.Selector) xfrm.Selector {
	s.Src, s.Dst, s.Family = netip.Prefix{}, netip.Prefix{}, 0
	return s
}

func (m *machine) getSA(_ context.Context, id xfrm.ID) (reply, error) {
	st, err := m.ownSA("get", id)
	if err != nil {
		return reply{}, err
	}
	forgetKeys(&st)
	return reply{body: st}, nil
}

func (m *machine) listSAs() (reply, error) {
	all, err := m.saList.List()
	if err != nil {
		return reply{}, err
	}
	ours := make([]xfrm.State, 0, len(all))
	for _, st := range all {
		forgetKeys(&st)
		if m.block.Owns(st.ReqID) {
			ours = append(ours, st)
		}
	}
	return reply{body: ours}, nil
}

// monitor gives out a socket that hears of our SAs only: with the end of an SA the kernel tells its keys.
func (m *machine) monitor() (reply, error) {
	f, err := xfrm.OpenMonitor(m.reqids())
	if err != nil {
		return reply{}, err
	}
	return reply{files: []*os.File{f}}, nil
}

// reqids are those that m.block owns.
func (m *machine) reqids() xfrm.Mark {
	return xfrm.Mark{Value: uint32(m.block.Tag)<<16 | uint32(m.block.Base), Mask: 0xffff<<16 | uint32(m.block.Mask)}
}

// encrypts tries an SA of ours.
func (m *machine) encrypts(_ context.Context, w protocol.Way) (reply, error) {
	if !m.block.Owns(w.ReqID) {
		return reply{}, fmt.Errorf("try an SA: reqid 0x%08x: %w", w.ReqID, protocol.ErrNotOurs)
	}
	return reply{}, m.router.Encrypts(w.Local, w.Remote, w.ReqID)
}

func (m *machine) readSteering() (reply, error) {
	counters, err := m.table.current().Read()
	if err != nil {
		return reply{}, err
	}
	return reply{body: protocol.Counters{Packets: counters.Packets()}}, nil
}

func (m *machine) steeringIntact() (reply, error) {
	intact, err := m.table.current().Intact()
	if err != nil {
		return reply{}, err
	}
	return reply{body: protocol.Intact{Intact: intact}}, nil
}
