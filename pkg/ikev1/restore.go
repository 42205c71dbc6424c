package ikev1

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// restartPause is the time that a client without a child has from a restart on if it had none left, for what it has said meanwhile may wait
// to be handled; and in which everybody has had its turn with what is overdue.
const restartPause = 10 * time.Second

// Restore takes the client of a [Record] that another engine has written, before the first message is handled. It goes on with its ID, keys,
// message IDs, sequence numbers and deadlines, so that the peer notices nothing; new IDs go on above those restored. What was under way and
// is not in the record begins anew, by the peer or, in the next call of Advance, by us. What is long overdue is spread over ten seconds. A
// connection that was up is up: [Engine.Connect] with the same [Connection] returns its ID. It goes on also if nobody does; [ClientInfo]
// has the ID for [Engine.Disconnect].
//
// An [InstallOutbound] that was not reported is asked for again. If the owner finds that SA in the kernel, it must leave it as it is and
// report success: installed a second time, it would use the same sequence numbers again. What else should be in the kernel tells
// [Engine.Installed].
//
// The error says why a record cannot be used; nothing is kept of it then.
func (e *Engine) Restore(now time.Time, r Record) (Output, error) {
	e.now = now
	c, err := readRecord(r)
	if err == nil {
		err = e.admitRestored(c)
	}
	if err != nil {
		return Output{}, fmt.Errorf("ikev1: restoring client %d: %w", r.Client, err)
	}
	c.recorded = e.sum(r.State)
	e.settleTimes(c)
	e.guarded(c.key.remote, func() { e.restore(c) })
	return e.take(), nil
}

// recordReader bounds what is read: nothing that we write is near that.
var recordReader = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxArrayElements: 4096, MaxMapPairs: 256, MaxNestedLevels: 16,
	}.DecMode()
	if err != nil {
		return nil // the options are constant: TestRestore would not get far
	}
	return mode
}()

// readRecord makes a client of a record. A defect here must not keep the whole program from starting, so a panic costs no more than this client.
func readRecord(r Record) (c *client, err error) {
	defer func() {
		if v := recover(); v != nil {
			c, err = nil, errPanic
		}
	}()
	var written clientRecord
	err = recordReader.Unmarshal(r.State, &written)
	switch {
	case written.Version != 0 && written.Version != recordVersion: // whatever else it has
		return nil, fmt.Errorf("its record has version %d, this program knows %d: start the program that wrote it, or let the client connect anew",
			written.Version, recordVersion)
	case err != nil:
		return nil, fmt.Errorf("reading its record: %w", err)
	case written.Version == 0:
		return nil, errors.New("its record has no version")
	case written.ID != r.Client:
		return nil, fmt.Errorf("the record is that of client %d", written.ID)
	}
	return written.read()
}

// admitRestored says why a client that was read contradicts those that are there.
func (e *Engine) admitRestored(c *client) error {
	if e.clients[c.id] != nil || e.byKey[c.key] != nil {
		return fmt.Errorf("it is there already")
	}
	names, spis := make(map[cookies]bool), make(map[uint32]bool)
	for _, sa := range c.sas {
		if names[sa.name] || e.sas[sa.name] != nil || !sa.initiator && e.initiated[sa.initiation] != nil {
			return fmt.Errorf("there is an ISAKMP SA with the cookies %x already", sa.name.spi())
		}
		names[sa.name] = true
	}
	for _, ch := range c.children {
		if spis[ch.spiIn] || e.spis[ch.spiIn] != nil {
			return fmt.Errorf("there is a child with the SPI %#x already", ch.spiIn)
		}
		spis[ch.spiIn] = true
	}
	if c.connection != nil && e.connections[c.connection.id] != nil {
		return fmt.Errorf("there is a connection %d already", c.connection.id)
	}
	return nil
}

// settleTimes makes the times of a restored client count from now, so that they follow the steady clock from here on if now does. None is
// later than it could be if it was written a moment ago: if the clock was set back since, nothing has happened in time to come, and no
// deadline is farther off than at its beginning.
func (e *Engine) settleTimes(c *client) {
	settle := func(most time.Duration, times ...*time.Time) {
		for _, t := range times {
			if !t.IsZero() {
				*t = e.now.Add(min(t.Sub(e.now), most))
			}
		}
	}
	settle(0, &c.established)
	settle(max(e.cfg.ChildWait, 0), &c.wait.at)
	for _, sa := range c.sas {
		settle(0, &sa.dpd.heard, &sa.dpd.asked)
		settle(e.dpdPause(), &sa.dpd.again)
		settle(sa.lifetime, &sa.expires)
		settle(max(sa.lifetime, retryPause), &sa.replaceAt)
		for _, q := range sa.quick {
			settle(retransmitMax, &q.timer.at)
			settle(e.cfg.HalfOpenTimeout, &q.deadline)
		}
	}
	for _, ch := range c.children {
		settle(0, &ch.established)
		settle(ch.lifetime, &ch.expires, &ch.ends)
		settle(max(ch.lifetime, retryPause), &ch.rekeyAt)
		settle(switchPause, &ch.switchAt)
	}
}

// restore puts a client where it can be found, and sets its deadlines.
func (e *Engine) restore(c *client) {
	e.suspects.client, e.suspects.close = c, true
	e.touch(c)
	e.clients[c.id], e.byKey[c.key] = c, c
	e.countClient(c.key, 1)
	e.lastClient = max(e.lastClient, c.id)
	e.restoreConnection(c)
	for _, ch := range c.children {
		e.spis[ch.spiIn] = ch
		e.lastChild, e.lastSA = max(e.lastChild, ch.id), max(e.lastSA, ch.origin)
	}
	for _, sa := range c.sas {
		e.sas[sa.name] = sa
		e.lastSA = max(e.lastSA, sa.serial)
		if !sa.initiator {
			e.initiated[sa.initiation] = sa
		}
		e.resumeSA(sa)
	}
	for _, ch := range c.children {
		switch {
		case ch.state == childOutbound && ch.switchAt.IsZero():
			e.installOutbound(ch)
		case ch.agreed():
			e.timers.set(&ch.timer, ch.deadline())
		}
	}
	if c.natHere && c.encapsulated {
		e.timers.set(&c.keepalive, e.now.Add(c.turn()))
	}
	e.resumeWait(c)
}

// restoreConnection lets c go on as one that we have called, unless we could not authenticate for it any more.
func (e *Engine) restoreConnection(c *client) {
	conn := c.connection
	if conn == nil {
		return
	}
	e.lastConnection = max(e.lastConnection, conn.id)
	if e.cfg.serves(conn.Connection) == nil {
		e.connections[conn.id] = conn
		return
	}
	c.connection, conn.client = nil, nil
	for _, sa := range c.sas {
		sa.connection = nil
	}
}

// resumeSA sets the deadlines of a restored ISAKMP SA and of its Quick Modes.
func (e *Engine) resumeSA(sa *isakmpSA) {
	if dpd := &sa.dpd; !dpd.asked.IsZero() && dpd.again.Before(e.now) {
		// Nobody has asked, or listened, since the question was to be repeated: that is not the peer's silence.
		dpd.asked = dpd.asked.Add(e.now.Sub(dpd.again))
		dpd.again = e.now
	}
	for _, q := range sa.quick {
		at := q.timer.at
		if q.state == quickAwaitMessage3 && at.Before(e.now) {
			q.deadline = e.now.Add(min(q.deadline.Sub(at), e.cfg.HalfOpenTimeout)) // the same: nobody has repeated message 2
			at = e.now
		}
		e.timers.start(&q.timer, earliest(at, q.deadline))
	}
	e.rearm(sa)
	if sa.timer.at.Before(e.now) {
		e.timers.set(&sa.timer, e.now.Add(sa.client.turn()))
	}
}

// turn spreads what is late with all clients after a long time without an engine, such as the questions of dead peer detection.
func (c *client) turn() time.Duration {
	const steps = 1000
	return restartPause / steps * time.Duration(uint64(c.id)*389%steps)
}

// resumeWait gives a restored client without a child its time to get one. What we had begun for it is begun again, but not
// before everybody is restored: it needs new IDs.
func (e *Engine) resumeWait(c *client) {
	at := c.wait.at
	e.timers.start(&c.wait.timer, time.Time{})
	switch {
	case slices.ContainsFunc(c.children, (*child).agreed):
	case c.connection != nil && len(c.children) == 0:
		c.wait.begin = true
		e.timers.set(&c.wait.timer, e.now)
	case at.IsZero():
		e.awaitChild(c)
	case e.cfg.ChildWait <= 0:
	case at.Before(e.now):
		e.timers.set(&c.wait.timer, e.now.Add(restartPause))
	default:
		e.timers.set(&c.wait.timer, at)
	}
}
