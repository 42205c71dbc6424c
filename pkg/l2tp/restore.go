package l2tp

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// Errors of Engine.Restore.
var (
	ErrRecord        = errors.New("not the record of a slot")
	ErrRecordVersion = errors.New("record of another version")
)

// maxRestoredAction leaves room for the actions to come, of which none may be zero.
const maxRestoredAction ActionID = 1 << 62

// Restore takes a slot over from an engine that is no more, as its latest Record has it: the peer notices nothing. It has to be called
// before the first Handle; now is to be later than the last call of that engine.
//
// The output has the actions that were asked for and not reported, with new ids above those of that engine in the slot. Whether they
// were performed is not known: the owner performs them so that a second time is as good as the first. What was done and not
// recorded any more, or recorded and its events not told any more, the owner finds by comparing Tunnels with what it has.
//
// The error wraps ErrRecord or ErrRecordVersion, and then the slot is left out as if it had never been.
func (e *Engine) Restore(now time.Time, r Record) (Output, error) {
	s, err := e.restoreSlot(now, r)
	if err != nil {
		return Output{}, fmt.Errorf("l2tp: restore slot %d: %w", r.Tunnel, err)
	}
	e.slots[s.id] = s
	e.lastAction = max(e.lastAction, s.asked)
	st := e.begin(now)
	st.resume(s)
	st.settle(s)
	return st.end(), nil
}

// resume asks again for what was not reported.
func (st *step) resume(s *slot) {
	t := s.owner
	if t == nil {
		return
	}
	switch t.object.state {
	case objectCreating:
		s.owner = nil
		st.createTunnel(t)
	case objectDeleting:
		st.deleteTunnel(t)
	}
	for _, of := range [...]map[uint16]*session{t.sessions, t.leaving} {
		for _, id := range slices.Sorted(maps.Keys(of)) {
			st.e.ids.remember(sessionKey{s.id, id})
			switch c := of[id]; c.object.state {
			case objectCreating:
				st.createSession(c)
			case objectDeleting:
				st.deleteSession(c)
			}
		}
	}
}

// restoration is what all parts of a record are read with.
type restoration struct {
	base
	now time.Time
	cfg *Config // the engine's
}

func bad(what string) error { return fmt.Errorf("%w: %s", ErrRecord, what) }

func (e *Engine) restoreSlot(now time.Time, r Record) (*slot, error) {
	saved, err := e.codec.decode(r.State)
	switch {
	case err != nil:
		return nil, err
	case r.Tunnel == 0 || e.slots[r.Tunnel] != nil:
		return nil, bad("there is no such slot, or it is in use")
	case saved.Tunnel == nil && saved.Kernel == nil || len(saved.Tunnels) == 0:
		return nil, bad("nothing in it")
	case saved.Asked > maxRestoredAction:
		return nil, bad("action id")
	}
	from := restoration{saved.Base, now, e.cfg}
	s := &slot{
		id: r.Tunnel, index: -1, asked: saved.Asked, recorded: bytes.Clone(r.State),
		calls: from.budget(saved.Calls), tunnels: from.budget(saved.Tunnels),
	}
	if saved.Tunnel != nil {
		if s.tunnel, err = from.tunnel(s, saved.Tunnel); err != nil {
			return nil, err
		}
	}
	if saved.Kernel != nil {
		if s.owner, err = from.owner(s, saved.Kernel); err != nil {
			return nil, err
		}
	}
	return s, s.consistent()
}

// consistent compares the tunnel with the kernel's: a tunnel that waits for a report which will not come would stay for ever.
func (s *slot) consistent() error {
	if t := s.tunnel; t != nil {
		own := objectAbsent
		if s.owner == t {
			own = t.object.state
		}
		switch {
		case t.state == tunnelCreating && own != objectCreating && (own != objectAbsent || s.owner == nil),
			(t.state == tunnelConnecting || t.state == tunnelEstablished) && own != objectPresent:
			return bad("the tunnel and the kernel's do not fit")
		case t.state != tunnelEstablished && len(t.sessions) > 0:
			return bad("sessions in a tunnel that is not established")
		}
	}
	if o := s.owner; o != nil {
		ended := o.state >= tunnelClosing
		if o.object.state != objectPresent && len(o.leaving) > 0 ||
			ended && o.object.state == objectPresent && len(o.leaving) == 0 {
			return bad("the kernel's tunnel and its sessions do not fit")
		}
		o.object.unwanted = ended
	}
	return nil
}

func (r restoration) budget(stamps []stamp) budget {
	times := make(budget, len(stamps))
	for i, s := range stamps {
		times[i] = r.past(s, r.now)
	}
	return times
}

// owner returns the tunnel whose kernel tunnel has the slot's number.
func (r restoration) owner(s *slot, saved *savedKernel) (*tunnel, error) {
	t := s.tunnel
	if saved.Former {
		remote, err := restoreRemote(saved.Remote)
		if err != nil {
			return nil, err
		}
		t = &tunnel{
			slot: s, remote: remote, state: tunnelClosed, channel: newChannel(r.cfg, saved.Peer, defaultPeerWindow),
			sessions: make(map[uint16]*session),
		}
	}
	if t == nil || t.channel.peer == 0 || saved.State == objectAbsent || saved.State > objectDeleting {
		return nil, bad("kernel tunnel")
	}
	t.object.state = saved.State
	for _, o := range saved.Leaving {
		if o.ID == 0 || o.Peer == 0 || t.sessions[o.ID] != nil || t.leaving[o.ID] != nil ||
			o.State != objectCreating && o.State != objectDeleting {
			return nil, bad("ended session")
		}
		t.leave(&session{tunnel: t, id: o.ID, peer: o.Peer, object: object{state: o.State, unwanted: true}})
	}
	return t, nil
}

func restoreRemote(b []byte) (netip.AddrPort, error) {
	var remote netip.AddrPort
	if err := remote.UnmarshalBinary(b); err != nil || !remote.IsValid() {
		return remote, bad("address of the peer")
	}
	return remote, nil
}

func (r restoration) tunnel(s *slot, saved *savedTunnel) (*tunnel, error) {
	remote, err := restoreRemote(saved.Remote)
	if err != nil {
		return nil, err
	}
	cfg, err := r.config(saved.Config, saved.State)
	if err != nil {
		return nil, err
	}
	channel, err := r.channel(saved.Channel, cfg)
	if err != nil {
		return nil, err
	}
	t := &tunnel{
		slot: s, remote: remote, state: saved.State, channel: channel, sessions: make(map[uint16]*session),
		refusing: saved.Refusing, replaced: saved.Replaced,
		hostName: saved.HostName, vendorName: saved.VendorName, firmware: saved.Firmware,
		created: r.past(saved.Created, r.now), established: r.past(saved.Established, r.now),
		heard: r.past(saved.Heard, r.now), changed: r.past(saved.Changed, r.now),
		idleAt: r.time(saved.IdleAt, r.now, r.now.Add(cfg.IdleTimeout)),
	}
	if copy(t.request[:], saved.Request) != len(saved.Request) || len(saved.Request) != len(t.request) {
		return nil, bad("digest of the request")
	}
	for _, c := range saved.Sessions {
		if err := r.session(t, c); err != nil {
			return nil, err
		}
	}
	switch t.state {
	case tunnelCreating, tunnelConnecting:
		t.setupBy = t.created.Add(cfg.SetupTimeout)
	case tunnelClosed:
		t.removeAt = t.changed.Add(cfg.linger())
	}
	idle := t.state == tunnelEstablished && len(t.sessions) == 0 && cfg.IdleTimeout > 0
	switch {
	case t.state > tunnelClosed, t.state == tunnelClosing && len(channel.queue) == 0, t.state == tunnelClosed && len(channel.queue) > 0:
		return nil, bad("state of the tunnel")
	case t.created.IsZero() || t.heard.IsZero() || t.changed.IsZero() || idle == t.idleAt.IsZero(),
		t.state < tunnelEstablished && !t.established.IsZero(), t.state == tunnelEstablished && t.established.IsZero():
		return nil, bad("times of the tunnel")
	}
	return t, nil
}

// session puts a call into its tunnel.
func (r restoration) session(t *tunnel, saved savedSession) error {
	c := &session{
		tunnel: t, id: saved.ID, peer: saved.Peer, state: saved.State, callSerial: saved.CallSerial, txSpeed: saved.TxSpeed,
		callingNumber: saved.CallingNumber, calledNo: saved.CalledNumber,
		created: r.past(saved.Created, r.now), established: r.past(saved.Established, r.now),
	}
	if c.id == 0 || c.peer == 0 || t.sessions[c.id] != nil || c.state > sessionEstablished || c.created.IsZero() ||
		(c.state == sessionEstablished) == c.established.IsZero() {
		return bad("session")
	}
	c.object.state = objectPresent
	if c.state == sessionCreating {
		c.object.state = objectCreating
	}
	if c.state != sessionEstablished {
		c.setupBy = c.created.Add(t.channel.cfg.SetupTimeout)
	}
	t.sessions[c.id] = c
	return nil
}

func (r restoration) channel(saved savedChannel, cfg *Config) (channel, error) {
	c := channel{
		cfg: cfg, peer: saved.Peer, una: saved.Una, sent: saved.Sent, attempted: saved.Attempted, tries: saved.Tries,
		window: window{peer: saved.Window.Peer, size: saved.Window.Size, threshold: saved.Window.Threshold, credit: saved.Window.Credit},
		nr:     saved.Nr, ack: saved.Ack, early: make(map[uint16][]byte),
	}
	limit := max(maxWindow, cfg.MaxQueuedMessages+1)
	switch {
	case c.peer == 0:
		return c, bad("tunnel id of the peer")
	case c.sent < 0 || c.sent > c.attempted || c.attempted > len(saved.Queue) || len(saved.Queue) > cfg.MaxQueuedMessages+1,
		c.sent == 0 && len(saved.Queue) > 0, c.tries < 0 || c.tries > cfg.Retries:
		return c, bad("messages to the peer")
	case c.ack > ackNow, (c.sent > 0) == (saved.ResendAt == 0), (c.ack == ackLater) == (saved.AckAt == 0):
		return c, bad("timers of the channel")
	case c.window.peer < 1 || c.window.peer > limit, c.window.size < 1 || c.window.size > c.window.peer,
		c.window.threshold < 1 || c.window.threshold > limit, c.window.credit < 0 || c.window.credit > limit:
		return c, bad("window")
	}
	c.resendAt = r.time(saved.ResendAt, r.now, r.now.Add(cfg.backoff(c.tries)))
	c.ackAt = r.time(saved.AckAt, r.now, r.now.Add(cfg.AckDelay))
	for _, b := range saved.Queue {
		m, err := wire.Parse(b)
		if err != nil || m.IsZLB() {
			return c, bad("message to the peer")
		}
		c.queue = append(c.queue, outgoing{m.SessionID, m.AVPs})
	}
	return c, nil
}

// config returns the configuration of a tunnel: the engine's own if it is the same, so that many share it.
func (r restoration) config(saved savedConfig, state tunnelState) (*Config, error) {
	cfg := *r.cfg
	if state == tunnelCreating {
		cfg.HostName, cfg.VendorName, cfg.FirmwareRevision = string(saved.HostName), string(saved.VendorName), saved.FirmwareRevision
	}
	cfg.ReceiveWindow = saved.ReceiveWindow
	cfg.HelloInterval = duration(saved.HelloInterval)
	cfg.RetransmitInitial = duration(saved.RetransmitInitial)
	cfg.RetransmitMax = duration(saved.RetransmitMax)
	cfg.Retries = saved.Retries
	cfg.AckDelay = duration(saved.AckDelay)
	cfg.SetupTimeout = duration(saved.SetupTimeout)
	cfg.IdleTimeout = duration(saved.IdleTimeout)
	cfg.MaxSessionsPerTunnel = saved.MaxSessions
	cfg.CallsPerMinute = saved.CallsPerMinute
	cfg.MaxQueuedMessages = saved.MaxQueued
	if checked, err := cfg.withDefaults(); err != nil || checked != cfg {
		return nil, bad("configuration of the tunnel")
	}
	if cfg == *r.cfg {
		return r.cfg, nil
	}
	return &cfg, nil
}
