package aaa

import (
	"fmt"
	"net/netip"
	"time"
)

// Method is how a peer proved, or tried to prove, who it is.
type Method string

// The methods; MethodNone stands for a request that contained no credentials we know.
const (
	MethodNone     Method = "none"
	MethodPAP      Method = "pap"
	MethodCHAP     Method = "chap"
	MethodMSCHAPv2 Method = "mschapv2"
)

// Reason says why a login was rejected. It goes to logs and counters, never to the peer.
type Reason string

// The reasons.
const (
	ReasonUnknownUser   Reason = "unknown user"
	ReasonWrongPassword Reason = "wrong password"
	ReasonNoCredentials Reason = "no credentials of a known kind"
	ReasonMethod        Reason = "method not allowed"
	ReasonTooManyTries  Reason = "too many attempts in one session"
	ReasonOtherUser     Reason = "another user is logged in on this session"
	ReasonPoolExhausted Reason = "no free address"
	ReasonAddressInUse  Reason = "the user's fixed address is in use by a session of another user"
	ReasonSuperseded    Reason = "the user has logged in anew and taken the address over"
)

// Event is a fact about a session: Authenticated, Rejected, Superseded, Started, Updated or Stopped.
type Event interface {
	fmt.Stringer
	isEvent()
}

// Authenticated says that the peer proved to be User and was given Address. It may be said again, for the same user and
// address, if the peer is asked again.
type Authenticated struct {
	NASID   string
	User    string // as configured
	Method  Method
	Address netip.Addr
}

// Rejected says that a login failed.
type Rejected struct {
	NASID  string
	User   string // as the peer sent it, printable ASCII
	Method Method
	Reason Reason
	// Holder is the session that has the address, for ReasonAddressInUse.
	Holder string
}

// Superseded says that the user of session NASID has logged in again, in session By, and has got his fixed address there.
// Authenticated for By follows. The owner ends the old session, whose peer is most likely gone without a word: its logins
// are rejected from now on, and its interface stands in the way of the new one.
type Superseded struct {
	NASID   string
	By      string // NASID of the new session
	User    string // as configured
	Address netip.Addr
}

// Started says that IP is up on the session.
type Started struct {
	NASID   string
	User    string
	Address netip.Addr
}

// Counters are what pppd counted from start to stop. Octets are modulo 2^32 with pppd 2.4.
type Counters struct {
	Duration              time.Duration
	RxBytes, TxBytes      uint64 // received from and sent to the peer
	RxPackets, TxPackets  uint64
	TerminateCause        uint32 // Acct-Terminate-Cause, RFC 2866 section 5.10
	TerminateCauseInWords string
}

// Updated carries interim counters.
type Updated struct {
	NASID string
	User  string
	Counters
}

// Stopped says that IP is down on the session; pppd ends soon after.
type Stopped struct {
	NASID   string
	User    string
	Address netip.Addr
	Counters
}

func (Authenticated) isEvent() {}
func (Rejected) isEvent()      {}
func (Superseded) isEvent()    {}
func (Started) isEvent()       {}
func (Updated) isEvent()       {}
func (Stopped) isEvent()       {}

func (e Authenticated) String() string {
	return fmt.Sprintf("user %q authenticated by %s and gets %v", e.User, e.Method, e.Address)
}

func (e Rejected) String() string {
	return fmt.Sprintf("user %q rejected (%s): %s", e.User, e.Method, e.Reason)
}

func (e Superseded) String() string {
	return fmt.Sprintf("user %q logged in anew and takes %v over", e.User, e.Address)
}

func (e Started) String() string { return fmt.Sprintf("user %q is up with %v", e.User, e.Address) }

func (e Updated) String() string {
	return fmt.Sprintf("user %q: %d bytes received, %d sent in %v", e.User, e.RxBytes, e.TxBytes, e.Duration)
}

func (e Stopped) String() string {
	return fmt.Sprintf("user %q is down after %v: %d bytes received, %d sent, %s", e.User, e.Duration, e.RxBytes, e.TxBytes, e.TerminateCauseInWords)
}
