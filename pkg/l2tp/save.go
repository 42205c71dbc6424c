package l2tp

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// save returns a slot in the form in which it is recorded. It fails if a message cannot be encoded.
func (s *slot) save() (savedSlot, error) {
	from := base(s.tunnels[len(s.tunnels)-1].UnixMilli())
	saved := savedSlot{
		Version: stateVersion, Base: from, Asked: s.asked, Calls: from.budget(s.calls), Tunnels: from.budget(s.tunnels),
	}
	if t := s.owner; t != nil {
		saved.Kernel = t.saveKernel()
	}
	if s.tunnel == nil {
		return saved, nil
	}
	var err error
	saved.Tunnel, err = s.tunnel.save(from)
	return saved, err
}

func (t *tunnel) saveKernel() *savedKernel {
	saved := &savedKernel{State: t.object.state}
	if t != t.slot.tunnel {
		saved.Former, saved.Peer, saved.Remote = true, t.channel.peer, saveRemote(t.remote)
	}
	for _, id := range slices.Sorted(maps.Keys(t.leaving)) {
		c := t.leaving[id]
		saved.Leaving = append(saved.Leaving, savedObject{ID: id, Peer: c.peer, State: c.object.state})
	}
	return saved
}

// saveRemote never fails: the error is there for the interface's sake.
func saveRemote(remote netip.AddrPort) []byte {
	b, _ := remote.MarshalBinary()
	return b
}

func (t *tunnel) save(from base) (*savedTunnel, error) {
	channel, err := t.channel.save(from)
	if err != nil {
		return nil, err
	}
	saved := &savedTunnel{
		State: t.state, Remote: saveRemote(t.remote), Channel: channel,
		Refusing: t.refusing, Request: t.request[:], Replaced: t.replaced,
		HostName: t.hostName, VendorName: t.vendorName, Firmware: t.firmware,
		Created: from.stamp(t.created), Established: from.stamp(t.established),
		Heard: from.stamp(t.heard), Changed: from.stamp(t.changed), IdleAt: from.stamp(t.idleAt),
		Config: t.channel.cfg.save(t.state),
	}
	for _, id := range slices.Sorted(maps.Keys(t.sessions)) {
		saved.Sessions = append(saved.Sessions, t.sessions[id].save(from))
	}
	return saved, nil
}

func (c *session) save(from base) savedSession {
	return savedSession{
		ID: c.id, Peer: c.peer, State: c.state, CallSerial: c.callSerial, TxSpeed: c.txSpeed,
		CallingNumber: c.callingNumber, CalledNumber: c.calledNo,
		Created: from.stamp(c.created), Established: from.stamp(c.established),
	}
}

func (c *channel) save(from base) (savedChannel, error) {
	saved := savedChannel{
		Peer: c.peer, Una: c.una, Sent: c.sent, Attempted: c.attempted, Tries: c.tries, Nr: c.nr, Ack: c.ack,
		Window: savedWindow{Peer: c.window.peer, Size: c.window.size, Threshold: c.window.threshold, Credit: c.window.credit},
	}
	if c.sent > 0 {
		saved.ResendAt = from.stamp(c.resendAt)
	}
	if c.ack == ackLater {
		saved.AckAt = from.stamp(c.ackAt)
	}
	for _, m := range c.queue {
		b, err := wire.Message{SessionID: m.session, AVPs: m.avps}.Append(nil)
		if err != nil {
			return savedChannel{}, err
		}
		saved.Queue = append(saved.Queue, b)
	}
	return saved, nil
}

func (c *Config) save(state tunnelState) savedConfig {
	saved := savedConfig{
		ReceiveWindow: c.ReceiveWindow, HelloInterval: milliseconds(c.HelloInterval),
		RetransmitInitial: milliseconds(c.RetransmitInitial), RetransmitMax: milliseconds(c.RetransmitMax), Retries: c.Retries,
		AckDelay: milliseconds(c.AckDelay), SetupTimeout: milliseconds(c.SetupTimeout), IdleTimeout: milliseconds(c.IdleTimeout),
		MaxSessions: c.MaxSessionsPerTunnel, CallsPerMinute: c.CallsPerMinute, MaxQueued: c.MaxQueuedMessages,
	}
	if state == tunnelCreating {
		saved.HostName, saved.VendorName, saved.FirmwareRevision = []byte(c.HostName), []byte(c.VendorName), c.FirmwareRevision
	}
	return saved
}
