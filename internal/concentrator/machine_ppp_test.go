package concentrator

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// machinePPP starts the PPP processes of a machine.
type machinePPP struct{ *machine }

// login is how a PPP peer behaves.
type login struct {
	user     string
	rejected aaa.Reason    // empty: it is not
	silent   bool          // never answers
	deaf     bool          // its pppd does not end when asked to
	life     time.Duration // hangs up after this time; zero: never
}

// process is a fake pppd. Its life is a goroutine; over and killed belong to the machine's mu.
type process struct {
	m      *machine
	s      pppd.Session
	login  login
	term   chan struct{}
	ending chan int
	done   chan struct{}
	exit   pppd.Exit

	killed, over bool
}

// Start implements PPP.
func (m machinePPP) Start(s pppd.Session) (PPPProcess, error) {
	if err := m.work("start pppd"); err != nil {
		return nil, err
	}
	behaviour := m.login(s.Interface)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.processes[s.Interface] != nil {
		m.t.Errorf("two pppd for %s", s.Interface)
		return nil, os.ErrExist
	}
	if m.exits[s.Interface] != nil {
		m.t.Errorf("pppd of %s is started before anybody has heard of the end of the one before", s.Interface)
		return nil, os.ErrExist
	}
	if _, open := m.logins[s.Name]; !open {
		m.t.Errorf("pppd of %s is started before its login is open", s.Interface)
	}
	p := &process{m: m.machine, s: s, login: behaviour, term: make(chan struct{}, 1), ending: make(chan int, 16), done: make(chan struct{})}
	m.processes[s.Interface] = p
	session := m.sessions[[2]uint32{uint32(s.TunnelID), uint32(s.SessionID)}]
	switch {
	case session == nil:
		p.ending <- pppd.ExitHangup // the link is gone
	case !session.open:
		m.t.Errorf("pppd of %s is started on a session that was closed", s.Interface)
	default:
		session.holder = p
	}
	go p.run()
	return p, nil
}

// Processes implements PPP.
func (m machinePPP) Processes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.processes)
}

// run is the life of a pppd: it authenticates its peer, serves it, and says goodbye.
func (p *process) run() {
	code := p.serve()
	p.m.mu.Lock()
	p.over = true
	delete(p.m.processes, p.s.Interface)
	p.m.exits[p.s.Interface] = p
	go p.m.link([]string{p.s.Interface})
	p.exit = pppd.Exit{Code: code, Reason: fmt.Sprintf("pppd exit %d", code)}
	p.m.mu.Unlock()
	close(p.done)
}

func (p *process) serve() int {
	if p.login.silent {
		return p.wait(30*time.Second, pppd.ExitNegotiation)
	}
	if code := p.wait(200*time.Millisecond, -2); code != -2 {
		return code
	}
	if p.login.rejected != "" {
		p.tell(aaa.Rejected{NASID: p.s.Name, User: p.login.user, Method: aaa.MethodMSCHAPv2, Reason: p.login.rejected})
		return p.wait(50*time.Millisecond, pppd.ExitPeerAuthFailed)
	}
	address := netip.AddrFrom4([4]byte{10, 0, byte(p.s.TunnelID), byte(p.s.SessionID)})
	p.tell(aaa.Authenticated{NASID: p.s.Name, User: p.login.user, Method: aaa.MethodMSCHAPv2, Address: address})
	if code := p.wait(100*time.Millisecond, -2); code != -2 {
		return code
	}
	p.tell(aaa.Started{NASID: p.s.Name, User: p.login.user, Address: address})
	life := p.login.life
	if life == 0 {
		life = 1000 * time.Hour
	}
	code := p.wait(life, pppd.ExitOK)
	if code >= 0 { // a signal leaves no time for that
		p.tell(aaa.Stopped{NASID: p.s.Name, User: p.login.user, Address: address, Counters: aaa.Counters{RxBytes: 900, TxBytes: 1900}})
	}
	return code
}

// tell has the RADIUS server hear of something; without one it is repeated until there is one again.
func (p *process) tell(e aaa.Event) {
	for p.m.crashed.Load() {
		time.Sleep(time.Second)
	}
	p.m.mu.Lock()
	info := aaa.SessionInfo{Session: p.m.logins[p.s.Name]}
	switch e := e.(type) {
	case aaa.Authenticated:
		info.User, info.Method, info.Address = e.User, e.Method, e.Address
		p.m.keep(info)
	case aaa.Started:
		info.User, info.Method, info.Address, info.Up = e.User, aaa.MethodMSCHAPv2, e.Address, true
		p.m.keep(info)
	}
	p.m.mu.Unlock()
	p.m.tell(e)
}

// wait is over after d with the code then, or earlier with another.
func (p *process) wait(d time.Duration, then int) int {
	timer := time.NewTimer(d)
	defer timer.Stop()
	term := p.term
	for {
		select {
		case <-timer.C:
			return then
		case code := <-p.ending:
			return code
		case <-term:
			if p.login.deaf {
				term = nil
				continue
			}
			then, term = pppd.ExitUserRequest, nil
			timer.Reset(100 * time.Millisecond) // Terminate-Request and Ack
		}
	}
}

// hangup ends the process with a code of pppd(8).
func (p *process) hangup(code int) {
	select {
	case p.ending <- code:
	default:
	}
}

// Done implements PPPProcess.
func (p *process) Done() <-chan struct{} { return p.done }

// Wait implements PPPProcess.
func (p *process) Wait() pppd.Exit {
	<-p.done
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	delete(p.m.exits, p.s.Interface)
	return p.exit
}

// Terminate implements PPPProcess.
func (p *process) Terminate() error {
	if p.m.dies() {
		return errFault
	}
	select {
	case p.term <- struct{}{}:
	default:
	}
	return nil
}

// Kill implements PPPProcess.
func (p *process) Kill() error {
	if p.m.dies() {
		return errFault
	}
	p.m.mu.Lock()
	p.killed = true
	p.m.mu.Unlock()
	p.hangup(-1)
	return nil
}

// Open implements AAA.
func (m *machine) Open(s aaa.Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, open := m.logins[s.NASID]; open || s.NASID == "" || !s.PeerAddr.IsValid() {
		m.t.Errorf("login %+v is open already, or incomplete", s)
	}
	if m.fault("open login") {
		return errFault
	}
	m.logins[s.NASID] = s
	return nil
}

// Close implements AAA.
func (m *machine) Close(nas string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, open := m.logins[nas]; !open {
		m.t.Errorf("login %q is closed and was not open", nas)
	}
	delete(m.logins, nas)
}

// Configure implements AAA. Nobody here looks users up.
func (m *machine) Configure(cfg aaa.Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault("configure logins") {
		return errFault
	}
	m.configured = cfg
	return nil
}

// Addresses implements AAA.
func (m *machine) Addresses() (free, used int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 100 - len(m.logins), len(m.logins)
}

// process returns one of the running processes, nil for none.
func (m *machine) process() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.processes {
		return p
	}
	return nil
}
