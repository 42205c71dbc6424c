package concentrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// api answers the control API. What the loop owns it asks the loop for, what the kernel counts it reads on the caller's goroutine.
type api struct{ c *Concentrator }

// API returns the concentrator's side of the control API.
func (c *Concentrator) API() control.Backend { return api{c} }

// Tunnels implements control.Backend: a row for each client, in the order of their slots.
func (a api) Tunnels(ctx context.Context) ([]control.Tunnel, error) {
	c := a.c
	rows := []control.Tunnel{}
	err := c.call(ctx, func() {
		now := time.Now()
		ike := make(map[ikev1.ClientID]ikev1.ClientInfo)
		for _, info := range c.IKE.Clients() {
			ike[info.ID] = info
		}
		tunnels := make(map[uint16]l2tp.TunnelInfo)
		for _, info := range c.L2TP.Tunnels() {
			tunnels[info.Tunnel] = info
		}
		name := c.deviceNames()
		for _, cl := range c.clients {
			rows = append(rows, cl.row(now, ike[cl.id], tunnels[uint16(cl.port)], name))
		}
	})
	if err != nil {
		return nil, err
	}
	kernel, err := c.Tunnels.Tunnels()
	if err != nil {
		return nil, fmt.Errorf("read tunnel counters: %w", err)
	}
	stats := make(map[uint32]l2tpnl.Stats)
	for _, t := range kernel {
		stats[t.ID] = t.Stats
	}
	for i := range rows {
		st := stats[uint32(rows[i].ID)]
		rows[i].RxBytes, rows[i].TxBytes = st.RxBytes, st.TxBytes
	}
	slices.SortFunc(rows, func(a, b control.Tunnel) int { return int(a.ID) - int(b.ID) })
	return rows, nil
}

// row describes a client by what the two engines know of it.
func (cl *client) row(now time.Time, ike ikev1.ClientInfo, tunnel l2tp.TunnelInfo, device func(int) string) control.Tunnel {
	row := control.Tunnel{
		ID:            uint16(cl.port),
		PeerID:        tunnel.PeerTunnel,
		State:         "ipsec",
		Role:          "lns",
		Peer:          cl.remote,
		PeerName:      tunnel.HostName,
		Identity:      ike.Identity,
		NATT:          ike.Encapsulated,
		Local:         ike.Local,
		IKEState:      ike.State,
		IKEAuth:       ike.Method.String(),
		IKEProposal:   ike.IKEProposal,
		ESPProposal:   ike.ESPProposal,
		Offload:       cl.offload(device),
		Sessions:      len(cl.sessions),
		UptimeSeconds: int64(now.Sub(cl.opened).Seconds()),
	}
	if cl.plain != nil {
		row.Plain, row.IKEAuth, row.State = true, "", "new"
		row.Local = netip.AddrPortFrom(cl.plain.local, udp.L2TPPort)
	}
	if cl.ending != "" {
		row.State = "closing"
	} else if tunnel.State != "" {
		row.State = tunnel.State
	}
	if n := len(ike.Children); n > 0 {
		row.SPIIn, row.SPIOut = spi(ike.Children[n-1].SPIIn), spi(ike.Children[n-1].SPIOut)
	}
	return row
}

// Sessions implements control.Backend, in the order of slots and numbers.
func (a api) Sessions(ctx context.Context) ([]control.Session, error) {
	c := a.c
	type key struct{ tunnel, session uint32 }
	type entry struct {
		row control.Session
		key key
		n   int
	}
	var entries []entry
	calling := make(map[key]string)
	err := c.call(ctx, func() {
		now := time.Now()
		name := c.deviceNames()
		for _, t := range c.L2TP.Tunnels() {
			for _, s := range t.Sessions {
				calling[key{uint32(t.Tunnel), uint32(s.Session)}] = s.CallingNumber
			}
		}
		for _, cl := range c.clients {
			for _, s := range cl.sessions {
				entries = append(entries, entry{s.row(now, cmp.Or(s.mtu, c.opt.PPP.MTU), name), key{uint32(cl.port), uint32(s.id)}, s.n})
			}
		}
	})
	if err != nil {
		return nil, err
	}
	kernel, err := c.Tunnels.Sessions()
	if err != nil {
		return nil, fmt.Errorf("read session counters: %w", err)
	}
	stats := make(map[key]l2tpnl.Stats)
	for _, s := range kernel {
		stats[key{s.TunnelID, s.ID}] = s.Stats
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.key.tunnel != b.key.tunnel {
			return int(a.key.tunnel) - int(b.key.tunnel)
		}
		return a.n - b.n
	})
	rows := make([]control.Session, len(entries))
	for i, e := range entries {
		rows[i] = e.row
		rows[i].RxBytes, rows[i].TxBytes = stats[e.key].RxBytes, stats[e.key].TxBytes
		rows[i].CallingNumber = calling[e.key]
	}
	return rows, nil
}

func (s *session) row(now time.Time, mtu int, device func(int) string) control.Session {
	row := control.Session{
		ID:            s.name(),
		TunnelID:      uint16(s.client.port),
		State:         string(s.state),
		User:          s.user,
		IP:            s.address,
		Peer:          s.client.remote,
		Interface:     s.iface,
		MTU:           mtu,
		Auth:          s.method,
		UptimeSeconds: int64(now.Sub(s.created).Seconds()),
		Offload:       s.client.offload(device),
	}
	return row
}

// SAs implements control.Backend from the kernel's own list.
func (a api) SAs(context.Context) ([]control.SA, error) {
	c := a.c
	states, err := c.SAs.List()
	if err != nil {
		return nil, fmt.Errorf("read SAs: %w", err)
	}
	now := time.Now()
	rows := []control.SA{}
	name := c.deviceNames()
	for _, st := range states {
		if c.opt.Block.Owns(st.ReqID) {
			rows = append(rows, saRow(now, st, name))
		}
	}
	slices.SortFunc(rows, func(a, b control.SA) int {
		if a.TunnelID != b.TunnelID {
			return int(a.TunnelID) - int(b.TunnelID)
		}
		return int(a.AgeSeconds) - int(b.AgeSeconds)
	})
	return rows, nil
}

func saRow(now time.Time, st xfrm.State, device func(int) string) control.SA {
	row := control.SA{
		TunnelID:        uint16(st.ReqID),
		Direction:       saDirection(st),
		SPI:             spi(st.SPI),
		Src:             st.Src,
		Dst:             st.Dst,
		ReqID:           st.ReqID,
		Mark:            st.OutputMark.Value,
		Offload:         describeOffload(st.Offload, device),
		Bytes:           st.Stats.Bytes,
		Packets:         st.Stats.Packets,
		AgeSeconds:      int64(now.Sub(st.Stats.AddTime).Seconds()),
		ReplayErrors:    uint64(st.Stats.ReplayFailed),
		IntegrityErrors: uint64(st.Stats.IntegrityFailed),
	}
	row.Encryption, row.Integrity = algorithms(st)
	if st.Encap != nil {
		row.Encapsulation = fmt.Sprintf("udp %d-%d", st.Encap.SrcPort, st.Encap.DstPort)
	}
	return row
}

// saDirection says which way an SA of ours goes; kernels before 6.10 do not keep the direction itself.
func saDirection(st xfrm.State) string {
	if st.OutputMark != (xfrm.Mark{}) {
		return "in"
	}
	return "out"
}

// Events implements control.Backend.
func (a api) Events(_ context.Context, q control.EventQuery) ([]control.Event, uint64, error) {
	events, latest := a.c.journal.read(q)
	return events, latest, nil
}

// NextEvents implements control.Backend.
func (a api) NextEvents(ctx context.Context, since uint64) ([]control.Event, error) {
	return a.c.journal.next(ctx, since)
}

// CloseTunnel implements control.Backend.
func (a api) CloseTunnel(ctx context.Context, id uint16) error {
	c := a.c
	found := false
	err := c.call(ctx, func() {
		cl := c.ports[slot.Port(id)]
		if cl == nil || c.clients[cl.id] != cl {
			return
		}
		found = true
		c.endClient(time.Now(), cl, "closed by the operator")
	})
	if err == nil && !found {
		err = fmt.Errorf("tunnel %d: %w", id, control.ErrNotFound)
	}
	return err
}

// CloseSession implements control.Backend.
func (a api) CloseSession(ctx context.Context, id string) error {
	c := a.c
	found := false
	err := c.call(ctx, func() {
		for _, cl := range c.clients {
			for _, s := range cl.sessions {
				if s.name() != id {
					continue
				}
				found = true
				c.disconnect(time.Now(), s, "disconnected by the operator")
				return
			}
		}
	})
	if err == nil && !found {
		err = fmt.Errorf("session %q: %w", id, control.ErrNotFound)
	}
	return err
}

// Reload implements control.Backend.
func (a api) Reload(ctx context.Context) (control.Reload, error) {
	if a.c.reload == nil {
		return control.Reload{}, errors.New("reload: this daemon was started without a file to read again")
	}
	return a.c.reload(ctx)
}

// Stats implements control.Backend.
func (a api) Stats(ctx context.Context) (control.Stats, error) {
	c := a.c
	st := control.Stats{Goroutines: runtime.NumGoroutine()}
	err := c.call(ctx, func() {
		now := time.Now()
		n := c.counters
		st.UptimeSeconds = int64(now.Sub(c.started).Seconds())
		for _, cl := range c.clients {
			if cl.tunnel {
				st.Tunnels++
			}
			st.Sessions += len(cl.sessions)
			cl.countOffload(&st.Offload)
		}
		st.Offload.Refused, st.Offload.Moved, st.Offload.Lost = c.offloads.count, c.offloads.moved, c.offloads.lost
		st.IKE = control.IKEStats{
			Clients: len(c.IKE.Clients()), HalfOpen: c.IKE.HalfOpen(), Received: n.ikeReceived, Sent: n.ikeSent,
			Established: n.phase1, Failed: n.ikeFailed, Children: n.children, Drops: maps.Clone(n.ike),
		}
		st.L2TP = control.L2TPStats{
			Received: n.l2tpReceived, Sent: n.l2tpSent, TunnelsUp: n.tunnelsUp, TunnelsDown: n.tunnelsDown,
			SessionsUp: n.sessionsUp, SessionsDown: n.sessionsDown, Drops: maps.Clone(n.l2tp),
		}
		st.PPP = control.PPPStats{Processes: c.PPP.Processes(), Authenticated: n.authenticated, Rejected: n.rejected}
		st.Slots = control.SlotStats{
			Used: c.slots.Used(), Resting: c.slots.Resting(now), Free: c.slots.Rested(now), Exhausted: n.noSlot, Taken: n.portsTaken,
		}
		st.Plain = control.PlainStats{Tunnels: len(c.plain.tunnels), Refused: c.plain.refused}
		if c.plain.slots != nil {
			st.Plain.Resting, st.Plain.Free = c.plain.slots.Resting(now), c.plain.slots.Rested(now)
		}
		st.Errors = control.ErrorStats{
			InboxFull: n.inboxFull.Load(), Panics: n.panics, Restored: n.restored, Unrestored: n.unrestored, LostSAs: n.lostSAs, LostObjects: n.lostObjects, Send: n.sendErrors, Kernel: n.kernelErrors, Runts: c.IKEIO.Dropped(),
		}
	})
	if err != nil {
		return st, err
	}
	st.PPP.PoolFree, st.PPP.PoolUsed = c.AAA.Addresses()
	// A table that somebody has removed, or a kernel without XFRM's counters, hides nothing else.
	if st.Steering, err = c.Steering.Read(); err != nil {
		c.Log.Warn("steering counters cannot be read", zap.Error(err))
	}
	if st.XfrmStat, err = readXfrmStat(); err != nil {
		c.Log.Debug("XFRM counters cannot be read", zap.Error(err))
	}
	return st, nil
}

func spi(v uint32) string { return fmt.Sprintf("0x%08x", v) }

// algorithms words the algorithms of an SA like a proposal.
func algorithms(st xfrm.State) (encryption, integrity string) {
	switch {
	case st.AEAD != nil:
		return fmt.Sprintf("aes%dgcm%d", (len(st.AEAD.Key)-4)*8, st.AEAD.ICVBits/8), ""
	case st.Crypt != nil && st.Auth != nil:
		encryption, integrity = fmt.Sprintf("aes%d", len(st.Crypt.Key)*8), integrityNames[st.Auth.Name]
		if st.Crypt.Name == xfrm.TripleDESCBC(nil).Name {
			encryption = "3des"
		}
		if trunc96 := xfrm.HMACSHA256Trunc96(nil); st.Auth.Name == trunc96.Name && st.Auth.TruncBits == trunc96.TruncBits {
			integrity = "sha256_96"
		}
	}
	return encryption, integrity
}

var integrityNames = map[string]string{
	"hmac(sha1)": "sha1", "hmac(sha256)": "sha256", "hmac(sha384)": "sha384", "hmac(sha512)": "sha512",
}
