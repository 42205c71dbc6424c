package pppd

import (
	"fmt"
	"syscall"
)

// Exit says how a pppd ended.
type Exit struct {
	// Code is the exit status, pppd(8) EXIT STATUS; -1 if a signal ended the process or its status is unknown.
	Code int
	// Signal ended the process, or is zero.
	Signal syscall.Signal
	// Reason is for people: what Code or Signal means.
	Reason string
}

// String returns the reason.
func (e Exit) String() string { return e.Reason }

// The codes of pppd(8) that callers distinguish.
const (
	ExitOK               = 0  // the peer hung up
	ExitUserRequest      = 5  // we hung up
	ExitNegotiation      = 10 // LCP or IPCP came to no agreement
	ExitPeerAuthFailed   = 11 // the peer did not prove who it is
	ExitIdle             = 12
	ExitConnectTime      = 13
	ExitPeerDead         = 15 // no answer to LCP echo
	ExitHangup           = 16 // the link went away; with L2TP also when the peer hung up
	ExitAuthToPeerFailed = 19
)

var reasons = map[int]string{
	ExitOK:               "the peer ended the session",
	1:                    "a fatal error in pppd (its log says more)",
	2:                    "pppd refused an option; is its version older than 2.4.9?",
	3:                    "pppd is not run by root",
	4:                    "the kernel has no PPP: load ppp_generic and l2tp_ppp",
	ExitUserRequest:      "ended by us",
	6:                    "the device is locked",
	7:                    "the device could not be opened",
	8:                    "the connect script failed",
	9:                    "the pty command failed",
	ExitNegotiation:      "PPP negotiation failed: no agreement on LCP or IPCP, or no answer",
	ExitPeerAuthFailed:   "the peer failed to authenticate",
	ExitIdle:             "idle for too long",
	ExitConnectTime:      "the session's time is up",
	14:                   "callback was negotiated",
	ExitPeerDead:         "the peer does not answer LCP echo requests",
	ExitHangup:           "the link was hung up by the peer",
	17:                   "a loopback was detected",
	18:                   "the init script failed",
	ExitAuthToPeerFailed: "the peer asked us to authenticate and we could not",
	exitUnconfined:       "pppd could not be confined or run (its log says why)",
}

// exitOf translates what wait4(2) said.
func exitOf(ws syscall.WaitStatus) Exit {
	switch {
	case ws.Exited():
		reason, ok := reasons[ws.ExitStatus()]
		if !ok {
			reason = fmt.Sprintf("pppd exited with status %d", ws.ExitStatus())
		}
		return Exit{Code: ws.ExitStatus(), Reason: reason}
	case ws.Signaled():
		return Exit{Code: -1, Signal: ws.Signal(), Reason: "pppd was ended by signal: " + ws.Signal().String()}
	}
	return Exit{Code: -1, Reason: "pppd ended, its status is unknown"}
}
