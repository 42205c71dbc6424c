package concentrator

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// machineSAs is the XFRM of a machine.
type machineSAs struct{ *machine }

func (m machineSAs) Add(st *xfrm.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sas[st.ID] != nil {
		m.t.Errorf("%v is there already", st.ID)
		return os.ErrExist
	}
	if !m.block.Owns(st.ReqID) {
		m.t.Errorf("%v has the reqid of no slot", st)
	}
	port := uint16(st.ReqID)
	if m.sockets[port] == nil {
		m.t.Errorf("%v is installed for slot %d, which has no sockets", st, port)
	}
	switch st.Direction {
	case xfrm.In:
		if st.Selector.DstPort != port || st.OutputMark.Value != st.ReqID || st.OutputMark.Mask != 0xffffffff || st.ReplayWindow == 0 {
			m.t.Errorf("%v does not lead to its slot and only there: %+v", st, st)
		}
	case xfrm.Out:
		if !slices.ContainsFunc(m.order, func(id xfrm.ID) bool { return m.sas[id].ReqID == st.ReqID && m.sas[id].Direction == xfrm.In }) {
			m.t.Errorf("%v is installed before the inbound one", st)
		}
	default:
		m.t.Errorf("%v has no direction", st)
	}
	var offload xfrm.Offload
	if st.Offload != offload {
		var err error
		if offload, err = m.device(st); err != nil {
			return err
		}
	}
	if m.fault("add " + st.Direction.String()) {
		return fmt.Errorf("add %v: %w", st.ID, errFault)
	}
	kept := *st // with its own keys: the engine overwrites them
	if st.Soft.Bytes != 0 && (st.Hard.Bytes == 0 || st.Hard.Bytes <= st.Soft.Bytes) {
		m.t.Errorf("%v has limits of %d and %d octets", st, st.Soft.Bytes, st.Hard.Bytes)
	}
	kept.Crypt, kept.Auth = &xfrm.Crypt{}, &xfrm.Auth{}
	*kept.Crypt, *kept.Auth = *st.Crypt, *st.Auth
	kept.Crypt.Key, kept.Auth.Key = bytes.Clone(st.Crypt.Key), bytes.Clone(st.Auth.Key)
	kept.Stats.AddTime = time.Now()
	kept.Offload = offload
	if key := string(kept.Crypt.Key); st.Direction == xfrm.Out && offload.Mode != xfrm.OffloadPacket { // which may be installed once more if nobody finds it
		if m.used[key] {
			m.t.Errorf("%v is installed a second time, with the same key and the same sequence numbers", st)
		}
		m.used[key] = true
	}
	m.sas[st.ID] = &kept
	m.order = append(m.order, st.ID)
	return nil
}

// scattered are the slots whose SAs are of several peers, as for a moment when a client moves. The caller holds mu.
func (m *machine) scattered() map[uint32]bool {
	peers, out := make(map[uint32]netip.Addr), make(map[uint32]bool)
	for _, st := range m.sas {
		if peer, known := peers[st.ReqID]; known && peer != peerOf(st) {
			out[st.ReqID] = true
		}
		peers[st.ReqID] = peerOf(st)
	}
	return out
}

func peerOf(st *xfrm.State) netip.Addr {
	if st.Direction == xfrm.In {
		return st.Src
	}
	return st.Dst
}

func (m machineSAs) Delete(ids ...xfrm.ID) ([]xfrm.Stats, error) {
	if m.dies() {
		return nil, errFault
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	counted := make([]xfrm.Stats, len(ids))
	for i, id := range ids {
		if m.sas[id] == nil {
			continue
		}
		counted[i] = m.sas[id].Stats
		deleted := xfrm.Deleted{ID: id, ReqID: m.sas[id].ReqID}
		m.remove(id)
		go m.gone(deleted)
	}
	return counted, nil
}

func (m machineSAs) Move(id xfrm.ID, to xfrm.Place) (xfrm.ID, error) {
	if m.dies() {
		return id, errFault
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.sas[id]
	if st == nil {
		return id, fmt.Errorf("move %v: %w", id, os.ErrNotExist)
	}
	there := xfrm.ID{Dst: to.Dst, SPI: id.SPI}
	switch {
	case st.Encap == nil || to.Encap == nil:
		m.t.Errorf("%v has %+v, and gets %+v", id, st.Encap, to.Encap)
	case st.Direction == xfrm.In && (to.Dst != st.Dst || to.Selector.DstPort != uint16(st.ReqID)), st.Direction == xfrm.Out && to.Src != st.Src:
		m.t.Errorf("%v moves to %+v, which is not its own slot", id, to)
	case there == id && st.Src == to.Src && *st.Encap == *to.Encap:
		return id, nil
	case there != id && m.sas[there] != nil:
		return id, fmt.Errorf("move %v: %w", id, os.ErrExist)
	}
	m.moves++
	if there == id && st.Src == to.Src {
		st.Encap = to.Encap
		return id, nil
	}
	if m.fault("move " + st.Direction.String()) {
		return id, fmt.Errorf("move %v: %w", id, errFault)
	}
	deleted := xfrm.Deleted{ID: id, ReqID: st.ReqID}
	delete(m.sas, id)
	delete(m.dying, id)
	st.ID, st.Src, st.Encap, st.Selector = there, to.Src, to.Encap, to.Selector
	m.sas[there] = st
	m.order[slices.Index(m.order, id)] = there // it is as old as it was
	go m.gone(deleted)
	return there, nil
}

func (m machineSAs) Get(id xfrm.ID) (xfrm.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sas[id] == nil {
		return xfrm.State{}, fmt.Errorf("get %v: %w", id, os.ErrNotExist)
	}
	return *m.sas[id], nil
}

func (m machineSAs) List() ([]xfrm.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listed++
	var list []xfrm.State
	for _, id := range m.order {
		list = append(list, *m.sas[id])
	}
	return list, nil
}

// outbound is the newest SA that packets of a slot leave by, nil for none. The caller holds mu.
func (m *machine) outbound(port uint16) *xfrm.State {
	for _, id := range slices.Backward(m.order) {
		st := m.sas[id]
		if st.Offload.Mode == xfrm.OffloadPacket && !m.findsPacket {
			continue
		}
		if st.Direction == xfrm.Out && slot.Port(st.ReqID) == slot.Port(port) {
			return st
		}
	}
	return nil
}

// count takes note of a packet of an SA, unless its limit of octets is reached. The caller holds mu.
func (m *machine) count(st *xfrm.State, payload []byte) bool {
	limited := func(l xfrm.Limit) bool { return l.Bytes != 0 && st.Stats.Bytes >= l.Bytes }
	expire := xfrm.Expire{ID: st.ID, ReqID: st.ReqID}
	switch {
	case limited(st.Hard):
		expire.Hard = true
		m.remove(st.ID)
		go m.end(expire)
		return false
	case limited(st.Soft) && !m.dying[st.ID]:
		m.dying[st.ID] = true
		go m.end(expire)
	}
	st.Stats.Packets++
	st.Stats.Bytes += uint64(len(payload))
	return true
}

// remove takes an SA away. The caller holds mu.
func (m *machine) remove(id xfrm.ID) {
	delete(m.sas, id)
	delete(m.dying, id)
	m.order = slices.DeleteFunc(m.order, func(other xfrm.ID) bool { return other == id })
}

// flush takes all SAs away.
func (m *machine) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.sas)
	clear(m.dying)
	m.order = nil
}

// receive takes an ESP packet from outer with an L2TP message of inner in it: the SA decides which slot hears it.
// short says that the ICV of the packet was cut off.
func (m *machine) receive(dst netip.Addr, spi uint32, outer, inner netip.AddrPort, payload []byte, short bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.sas[xfrm.ID{Dst: dst, SPI: spi}]
	if st == nil || st.Direction != xfrm.In || st.Src != outer.Addr() && st.Encap == nil {
		return
	}
	if short {
		st.Stats.IntegrityFailed++
		return
	}
	if !m.count(st, payload) {
		return
	}
	if st.Encap != nil && (st.Encap.SrcPort != outer.Port() || st.Src != outer.Addr()) {
		mapping := xfrm.Mapping{ID: st.ID, ReqID: st.ReqID, Old: netip.AddrPortFrom(st.Src, st.Encap.SrcPort), New: outer}
		go m.move(mapping)
	}
	if st.Selector.Src.Addr() != inner.Addr() {
		return // the SA has decrypted it, and its own selector drops it
	}
	if port := st.Selector.DstPort; m.sockets[port] != nil {
		// From the socket's queue to the loop.
		time.AfterFunc(m.within(m.latency/10), func() { m.hear(l2tp.Datagram{Tunnel: port, Remote: inner, Payload: bytes.Clone(payload)}) })
	}
}
