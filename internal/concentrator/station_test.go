package concentrator

import (
	"bytes"
	"net/netip"
	"sync"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
)

// station is a client's machine: it connects by itself from Main Mode to its sessions, and does what a test says.
type station struct {
	b *bench

	// How it behaves; set before dial.
	calls   int           // sessions to open
	noL2TP  bool          // IPsec only
	delay   time.Duration // how long message 3 of Quick Mode is under way at least
	offered uint16        // UDP source port of L2TP; 1701 if zero

	truncates bool // cuts the ICV of ESP off

	offer func(*ikev1test.QuickMode) // what it changes of its Quick Modes

	mu     sync.Mutex
	home   ikev1test.Peer // before it floats
	peer   *ikev1test.Peer
	main   *ikev1test.MainMode
	state  string // "2", "4", "6": waits for that message; "up", "deleted" by the server, or ""
	quick  *ikev1test.QuickMode
	third  []byte // message 3, when message 2 came
	nextID uint32
	lac    *l2tptest.LAC
	alarm  int  // number of the LAC's timer
	dialed int  // L2TP tunnels so far
	gone   bool // says nothing more

	told struct{ isakmp, esp, cut int } // Delete payloads of the server, and those of ISAKMP while the tunnel was open still
}

// dial begins to connect.
func (s *station) dial() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connect()
}

func (s *station) connect() {
	p := s.home
	s.peer, s.gone, s.lac, s.quick, s.third = &p, false, nil, nil, nil
	s.main = s.peer.MainMode()
	s.b.place(s.peer.Addr, s)
	s.await("2", s.main.Message1())
}

// await sends a message until the state changes, and gives up after some time.
func (s *station) await(state string, message []byte) {
	s.state = state
	m, tries := s.main, 0
	var again func()
	again = func() {
		if s.main != m || s.state != state || s.gone {
			return
		}
		if tries++; tries > 8 {
			s.state = ""
			return
		}
		s.toIKE(message)
		s.after(time.Second+s.b.within(time.Second), again)
	}
	again()
}

// after does something later, with mu.
func (s *station) after(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		do()
	})
}

// toIKE sends a message from where the station is now.
func (s *station) toIKE(message []byte) {
	d := udp.Datagram{Local: s.peer.Server, Remote: s.peer.Addr, Encapsulated: s.peer.Encapsulated}
	s.b.carry(func() {
		d := d
		d.Payload = bytes.Clone(message)
		s.b.serving.Load().HandleIKE(d)
	})
}

// fromIKE takes a message of the server.
func (s *station) fromIKE(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := wire.ParseHeader(b)
	if s.gone || err != nil || s.main == nil || h.InitiatorCookie != s.main.CookieI {
		return
	}
	encrypted := h.Flags&wire.FlagEncryption != 0
	switch {
	case h.Exchange == wire.ExchangeMain && s.state == "2" && h.NextPayload == wire.PayloadSA:
		if s.ok(s.main.TakeMessage2(b)) {
			s.await("4", s.main.Message3())
		}
	case h.Exchange == wire.ExchangeMain && s.state == "4" && h.NextPayload == wire.PayloadKE:
		if s.ok(s.main.TakeMessage4(b)) {
			s.b.place(s.peer.Addr, s)
			s.await("6", s.main.Message5())
		}
	case h.Exchange == wire.ExchangeMain && s.state == "6" && encrypted:
		if s.ok(s.main.TakeMessage6(b)) {
			s.state = "up"
			s.negotiate()
		}
	case h.Exchange == wire.ExchangeQuick && s.state == "up" && s.quick != nil:
		s.fromQuick(b)
	case h.Exchange == wire.ExchangeInformational && (s.state == "up" || s.state == "deleted") && encrypted:
		if payloads, err := s.main.OpenInformational(b); s.ok(err) {
			s.informed(payloads[0])
		}
	}
}

func (s *station) ok(err error) bool {
	if err != nil {
		s.b.t.Errorf("station %v: %v", s.home.Addr, err)
	}
	return err == nil
}

// negotiate begins a Quick Mode.
func (s *station) negotiate() {
	if s.state != "up" || s.gone {
		return
	}
	s.nextID++
	q := s.main.QuickMode(s.nextID, s.offer)
	s.quick, s.third = q, nil
	s.b.expect(q.Ours, s)
	message, tries := q.Message1(), 0
	var again func()
	again = func() {
		if tries++; s.quick == q && s.third == nil && s.state == "up" && tries <= 8 && !s.gone {
			s.toIKE(message)
			s.after(time.Second+s.b.within(time.Second), again)
		}
	}
	again()
}

// fromQuick takes message 2 of Quick Mode, answers it (again, if it comes again) and opens its tunnel at once.
func (s *station) fromQuick(b []byte) {
	if s.third == nil {
		h, _ := wire.ParseHeader(b)
		if h.MessageID != s.nextID || !s.ok(s.quick.TakeMessage2(b)) {
			return
		}
		s.third = s.quick.Message3()
		if !s.noL2TP && s.lac == nil {
			s.openTunnel()
		}
	}
	s.after(s.delay, func() { s.toIKE(s.third) })
}

func (s *station) informed(p wire.Raw) {
	switch p.Kind {
	case wire.PayloadNotification:
		if ask, err := wire.ParseNotification(p.Body); err == nil && ask.Kind == wire.NotifyRUThere {
			ask.Kind = wire.NotifyRUThereAck
			s.toIKE(s.main.Informational(ask))
		}
	case wire.PayloadDelete:
		if d, err := wire.ParseDelete(p.Body); err == nil && d.Protocol == wire.ProtocolISAKMP {
			s.told.isakmp++
			if s.lac != nil && !s.lac.Done() {
				s.told.cut++
			}
			s.state = "deleted"
		} else if err == nil {
			s.told.esp++
		}
	}
}

// openTunnel begins an L2TP tunnel of its own in the SA.
func (s *station) openTunnel() {
	s.dialed++
	s.lac = &l2tptest.LAC{Tunnel: uint16(100 + s.dialed), Window: 4, Calls: s.calls}
	s.lac.Start(time.Now())
	s.flush()
}

// redial replaces the tunnel by a new one in the same SA.
func (s *station) redial() { s.do(s.openTunnel) }

// flush sends what the LAC has to say, and arms its timer.
func (s *station) flush() {
	for _, payload := range s.lac.Take() {
		s.toL2TP(payload)
	}
	s.alarm++
	alarm := s.alarm
	if next := s.lac.Next(); !next.IsZero() {
		s.after(max(0, time.Until(next)), func() {
			if s.alarm == alarm && !s.gone && s.lac != nil {
				s.lac.Tick(time.Now())
				s.flush()
			}
		})
	}
}

func (s *station) toL2TP(payload []byte) {
	if s.quick == nil || s.gone {
		return
	}
	dst, spi, from := s.peer.Server.Addr(), s.quick.Theirs, s.peer.Addr
	port := s.offered
	if port == 0 {
		port = 1701
	}
	s.b.carry(func() { s.b.m.receive(dst, spi, from, netip.AddrPortFrom(from.Addr(), port), payload, s.truncates) })
}

// fromL2TP takes what came through an SA that it negotiated.
func (s *station) fromL2TP(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.lac == nil {
		return
	}
	s.lac.Receive(time.Now(), payload)
	s.flush()
}

// do runs f with mu, unless the station is gone.
func (s *station) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		f()
	}
}

// hangup sends CDN for its first session; stop sends StopCCN.
func (s *station) hangup() {
	s.do(func() {
		if s.lac != nil && len(s.lac.Sessions()) > 0 {
			s.lac.Hangup(time.Now(), s.lac.Sessions()[0])
			s.flush()
		}
	})
}

func (s *station) stop() {
	s.do(func() {
		if s.lac != nil {
			s.lac.Stop(time.Now())
			s.flush()
		}
	})
}

// call opens one more session.
func (s *station) call() {
	s.do(func() {
		if s.lac != nil && s.lac.Established() {
			s.lac.Call(time.Now())
			s.flush()
		}
	})
}

// rekey replaces the ESP SAs by a new Quick Mode.
func (s *station) rekey() { s.do(s.negotiate) }

// deleteESP and deleteISAKMP say that an SA is over.
func (s *station) deleteESP() {
	s.do(func() {
		if s.state == "up" && s.third != nil {
			s.toIKE(s.main.Informational(s.quick.DeleteESP()))
		}
	})
}

func (s *station) deleteISAKMP() {
	s.do(func() {
		if s.state == "up" {
			s.toIKE(s.main.Informational(s.main.DeleteISAKMP()))
			s.state = ""
		}
	})
}

// leave says goodbye in the right order, and waits until each word has arrived.
func (s *station) leave() {
	for _, word := range []func(){s.hangup, s.stop, s.deleteESP, s.deleteISAKMP} {
		word()
		time.Sleep(s.b.delay)
	}
}

// vanish loses its power.
func (s *station) vanish() { s.do(func() { s.gone = true }) }

// rebind gives it another port at its NAT.
func (s *station) rebind(port uint16) {
	s.do(func() {
		if s.peer != nil && s.peer.Encapsulated {
			s.peer.Addr = netip.AddrPortFrom(s.peer.Addr.Addr(), port)
			s.b.place(s.peer.Addr, s)
		}
	})
}

// roam takes it to another address.
func (s *station) roam(to netip.AddrPort) {
	s.do(func() {
		if s.peer != nil && s.peer.Encapsulated {
			s.peer.Addr = to
			s.b.place(s.peer.Addr, s)
		}
	})
}

// up reports whether n sessions are up as far as the client knows.
func (s *station) up(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lac != nil && s.lac.Established() && len(s.lac.Sessions()) == n
}
