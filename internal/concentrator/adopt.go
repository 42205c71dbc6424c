package concentrator

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// An Estate is what a daemon that has ended has left with the keeper.
type Estate struct {
	Records   map[string][]byte
	Sockets   map[uint16]ClientSocket // by slot
	Sessions  [][2]uint16             // whose sockets are held, by tunnel and session
	Processes map[string]PPPProcess   // by interface; also those that have ended since
}

// unadopted is the reason of ends that nobody saw.
const unadopted = "it ended while the daemon was away"

// An adoption takes an estate over. What of it belongs together goes on; the rest is removed.
type adoption struct {
	c   *Concentrator
	now time.Time
	Estate
	clients  map[slot.Port]clientRecord
	places   map[ikev1.ClientID]netip.AddrPort // of clients whose SAs follow them
	sessions map[slot.Port][]sessionRecord
	logins   map[string]aaa.SessionInfo // by NAS-Identifier
	running  map[*session]bool          // had a PPP endpoint
	held     map[[2]uint16]bool         // of Sessions
	states   []xfrm.State               // of the kernel
	asked    []ikev1.Output             // what the engines want to be done
	outputs  []l2tp.Output
	behind   []*client // whose SAs are not where they are
	adopted  int       // sessions
	lost     int       // sessions that were up
}

// Adopt goes on where a predecessor has left off. It must be called before Serve, with a now of the same clock. It notices which SAs the kernel
// has removed meanwhile, and asks for them once; Compare notices the rest.
func (c *Concentrator) Adopt(now time.Time, e Estate) {
	if len(e.Records)+len(e.Sockets)+len(e.Processes) == 0 {
		return
	}
	started := time.Now()
	a := &adoption{c: c, now: now, Estate: e, clients: make(map[slot.Port]clientRecord), places: make(map[ikev1.ClientID]netip.AddrPort),
		sessions: make(map[slot.Port][]sessionRecord), logins: make(map[string]aaa.SessionInfo), running: make(map[*session]bool),
		held: make(map[[2]uint16]bool, len(e.Sessions))}
	for _, id := range e.Sessions {
		a.held[id] = true
	}
	var err error
	if a.states, err = c.SAs.List(); err != nil {
		c.Log.Warn("SAs of the daemon before cannot be listed; what nobody knows of them stays", zap.Error(err))
		c.uncompared = true
	}
	// A panic costs what it was about: one that ended the daemon would end its successors, too, and with them all sessions.
	c.guard(a.read)
	c.guard(a.restoreIKE)
	for _, port := range slices.Sorted(maps.Keys(a.clients)) {
		c.guard(func() { a.client(a.clients[port]) })
	}
	c.guard(a.find)
	c.guard(a.claim)
	gone := a.gone()
	for _, out := range a.asked {
		c.guard(func() { c.applyIKE(now, out) })
	}
	c.guard(a.orphans)
	for _, out := range a.outputs {
		c.guard(func() { a.clear(out); c.applyL2TP(now, out) })
	}
	c.guard(func() { c.loseChildren(now, gone, saRemoved) })
	c.guard(a.catchUp)
	for _, cl := range c.clients {
		c.guard(func() { a.settle(cl) })
	}
	c.writeDown()
	ev := control.Event{Kind: eventAdopted}
	ev.Text = fmt.Sprintf("%d clients with %d sessions go on", len(c.clients), a.adopted)
	if a.lost > 0 {
		ev.Severity = control.SeverityWarning
		ev.Text += fmt.Sprintf(", %d sessions have ended", a.lost)
	}
	ev.Text += fmt.Sprintf(" after %v", time.Since(started).Round(time.Millisecond))
	c.record("took over from the daemon before", ev, zap.Int("clients", len(c.clients)), zap.Int("sessions", a.adopted), zap.Int("lost", a.lost),
		zap.Duration("took", time.Since(started)))
}

// gone are the children that have lost an SA. Of those that lose one from now on the kernel tells.
func (a *adoption) gone() (list []expiring) {
	if a.c.uncompared {
		return nil
	}
	there := idsOf(a.states)
	for _, k := range a.c.expiring() {
		if in, out := k.lacks(there); in || out {
			a.c.offloads.noteLosses(k, in, out)
			list = append(list, k)
		}
	}
	return list
}

// Compare looks for what else was removed from the kernel while no daemon looked. It returns when that is done.
func (c *Concentrator) Compare() {
	if c.uncompared {
		c.HandleOverrun()
	}
	c.HandleL2TPOverrun()
	c.HandleLinksOverrun(c.Links.Names)
}

// read sorts the loop's own records, and forgets those that cannot be read.
func (a *adoption) read() {
	for key, value := range a.Records {
		var err error
		switch kind, _, _ := strings.Cut(key, "/"); kind + "/" {
		case keyClient:
			var r clientRecord
			if r, err = decodeRecord[clientRecord](value); err == nil {
				a.clients[r.Port] = r
			}
		case keySession:
			var r sessionRecord
			if r, err = decodeRecord[sessionRecord](value); err == nil {
				a.sessions[r.Port] = append(a.sessions[r.Port], r)
			}
		case keyLogin:
			var r loginRecord
			if r, err = decodeRecord[loginRecord](value); err == nil {
				a.logins[r.NASID] = r.SessionInfo
			}
		}
		if err != nil {
			a.c.Log.Warn("a record of the daemon before cannot be read", zap.String("record", key), zap.Error(err))
			a.forget(key)
		}
	}
}

func (a *adoption) forget(key string) {
	if _, there := a.Records[key]; there {
		delete(a.Records, key)
		a.c.ledger.remove(key)
	}
}

// restoreIKE brings back the clients that IKE knew.
func (a *adoption) restoreIKE() {
	for key, value := range a.Records {
		number, ours := numberOf(key, keyIKE, 64)
		if !ours {
			continue
		}
		id := ikev1.ClientID(number)
		out, err := a.c.IKE.Restore(a.now, ikev1.Record{Client: id, State: value})
		if err != nil {
			a.c.Log.Warn("a client of the daemon before cannot go on", zap.Uint64("client", uint64(id)), zap.Error(err))
			a.forget(key)
			continue
		}
		a.asked = append(a.asked, out)
	}
	for _, info := range a.c.IKE.Clients() {
		a.c.peers[info.ID] = peer{info.Identity, info.VendorKind}
		if info.Encapsulated {
			a.places[info.ID] = info.Remote
		}
	}
}

// client takes over a client whose keys, slot and sockets are all there.
func (a *adoption) client(r clientRecord) {
	c := a.c
	socket := a.Sockets[uint16(r.Port)]
	if !a.entitled(r) || socket == nil || c.clients[r.ID] != nil {
		return // orphans ends what there is
	}
	if err := c.allocator(r.Port).Take(r.Port); err != nil {
		c.Log.Warn("the slot of a client cannot be taken over", zap.Error(err))
		return
	}
	delete(a.Sockets, uint16(r.Port))
	cl := &client{
		id: r.ID, plain: r.plain(), peer: peer{r.Identity, r.Kind}, port: r.Port, local: r.Local, remote: r.Remote, socket: socket,
		children: make(map[ikev1.ChildID]*child), sessions: make(map[uint16]*session), links: r.Links, opened: a.past(r.Opened), idle: a.past(r.Idle),
		lost: a.past(r.Lost), dialed: r.Dialed, judged: r.Judged, proved: r.Proved, ending: r.Ending,
	}
	if at, follows := a.places[r.ID]; follows {
		cl.remote = at // the loop may not have heard of its last move
	}
	for _, id := range c.IKE.Children(r.ID) {
		if ch, there := r.Children[id]; there {
			cl.children[id] = ch.child()
		}
	}
	if cl.answerable() {
		cl.lost = time.Time{}
	}
	cl.ready = cl.plain != nil || cl.answerable()
	c.clients[cl.id], c.ports[cl.port] = cl, cl
	if cl.plain != nil {
		c.enterPlain(cl)
	}
	a.tunnel(cl)
	for _, s := range a.sessions[cl.port] {
		a.session(cl, s)
	}
	c.ledger.client(cl)
	c.touch(cl)
}

// within is a time of a record, but none that lies farther ahead than most, as after the clock was set back. It counts from now, so that it
// follows the steady clock from here on.
func (a *adoption) within(t time.Time, most time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return a.now.Add(min(t.Sub(a.now), most))
}

// past is within for what has happened.
func (a *adoption) past(t time.Time) time.Time { return a.within(t, 0) }

// tunnel takes over what L2TP knew of a client.
func (a *adoption) tunnel(cl *client) {
	key := l2tpKey(uint16(cl.port))
	if state, there := a.Records[key]; there {
		out, err := a.c.L2TP.Restore(a.now, l2tp.Record{Tunnel: uint16(cl.port), State: state})
		if err != nil {
			a.c.Log.Warn("a tunnel of the daemon before cannot go on", zap.Uint16("tunnel", uint16(cl.port)), zap.Error(err))
			a.forget(key)
		}
		a.outputs = append(a.outputs, out)
	}
	a.judge(cl)
}

// judge says of a client whether it has a tunnel, as the engine does.
func (a *adoption) judge(cl *client) {
	t, _ := a.c.L2TP.Tunnel(uint16(cl.port))
	cl.made = t.State == "connecting" || t.State == "established"
	cl.tunnel = cl.made || t.State == "creating"
	if cl.tunnel {
		cl.dialed, cl.idle = true, time.Time{}
	} else if cl.idle.IsZero() {
		cl.idle = a.now
		a.c.ledger.client(cl)
		a.c.touch(cl)
	}
}

// clear removes the tunnels that are asked for once more: if they are there already, and making them fails now, nobody would.
func (a *adoption) clear(out l2tp.Output) {
	for _, action := range out.Actions {
		if t, ok := action.(l2tp.CreateTunnel); ok {
			a.c.onClient(t.Tunnel, func(error) {}, func(cl *client) func() error {
				return func() error { return a.c.deleteTunnel(cl.socket, t.Tunnel) }
			})
		}
	}
}

// session takes over a session with its PPP endpoint.
func (a *adoption) session(cl *client, r sessionRecord) {
	s := &session{
		client: cl, id: r.ID, n: r.N, nas: r.NAS, state: r.State,
		user: r.User, method: r.Method, address: r.Address, local: r.Local, mtu: r.MTU, created: a.past(r.Created), up: a.past(r.Up), reason: r.Reason,
		failed: r.Failed, killAt: a.within(r.KillAt, max(a.c.opt.TerminateWait, linkWait)), unlinked: r.Unlinked, dropped: r.Absent, absent: r.Absent, down: r.Down,
	}
	s.iface = a.c.interfaceOf(s)
	s.open = a.held[[2]uint16{uint16(cl.port), s.id}]
	a.running[s] = r.Running
	cl.sessions[s.id] = s
	a.c.ledger.session(s)
	a.adopted++
	process := a.Processes[s.iface]
	if process == nil {
		return
	}
	delete(a.Processes, s.iface)
	if err := a.login(s); err != nil {
		a.c.Log.Warn("a session cannot go on", zap.String("session", s.name()), zap.Error(err))
		s.reason = cmp.Or(s.reason, "its login could not be taken over")
	}
	a.c.attend(s, process)
}

// login gives a session's login back to the RADIUS server.
func (a *adoption) login(s *session) error {
	info, there := a.logins[s.nas]
	switch {
	case !there && s.user != "":
		return errors.New("its login is not recorded, and somebody else could get its address")
	case !there:
		info = aaa.SessionInfo{Session: aaa.Session{NASID: s.nas, PeerAddr: s.client.remote.Addr()}}
	}
	if err := a.c.AAA.Adopt(info); err != nil {
		return err
	}
	delete(a.logins, s.nas)
	a.c.byNAS[s.nas] = s
	if info.User != "" { // what the loop was told last may have been lost
		s.user, s.method, s.address = info.User, string(info.Method), info.Address
		s.client.proved = true
	}
	if info.Up && s.up.IsZero() {
		s.up, s.failed = a.now, false
		if s.state != sessionClosing {
			s.state, s.reason = sessionEstablished, ""
		}
	}
	if info.Superseded {
		s.reason = cmp.Or(s.reason, reasonSuperseded)
	}
	return nil
}

// settle goes on with sessions of a client that were on their way from one state to another.
func (a *adoption) settle(cl *client) {
	a.judge(cl) // a tunnel that is over may have been asked for once more, so that it can be deleted
	known := make(map[uint16]l2tp.SessionInfo)
	if t, ok := a.c.L2TP.Tunnel(uint16(cl.port)); ok {
		for _, info := range t.Sessions {
			known[info.Session] = info
		}
	}
	for _, s := range cl.sessions {
		info, there := known[s.id]
		switch {
		case !there: // the engine has let go of it
			a.drop(s)
			if s.down == nil {
				a.c.sessionDown(l2tp.SessionDown{Tunnel: uint16(cl.port), Session: s.id, Reason: unadopted})
			}
		case s.process != nil && s.reason != "":
			a.c.endSession(a.now, s, s.reason)
		case s.process == nil && s.down == nil && !s.open && info.State != "creating": // no PPP could have it
			a.c.pppEnded(a.now, s, pppd.Exit{Reason: unadopted})
		case s.process != nil || info.State != "established" || s.down != nil:
		case !a.running[s] && s.reason == "":
			a.c.startPPP(l2tp.SessionUp{Tunnel: uint16(cl.port), Session: s.id})
		default: // it has ended, and nobody knows how
			a.c.pppEnded(a.now, s, pppd.Exit{Reason: unadopted})
		}
	}
	if !cl.tunnel { // it may be there all the same, when its end or its beginning was cut short
		a.c.enqueue(&cl.ops, func() func() error {
			return func() error { return a.c.deleteTunnel(cl.socket, uint16(cl.port)) }
		}, nil)
	}
	a.c.retire(a.now, cl)
}

// drop ends the kernel's part of a session that the engine does not know any more.
func (a *adoption) drop(s *session) {
	last := s.stats
	a.c.enqueue(&s.client.ops, func() func() error { return a.c.dropSession(s, &last) }, func(error) {
		s.stats, s.absent = last, true
		a.c.ledger.session(s)
		a.c.finishSession(s)
	})
}
