package pppd

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// Auth is the set of methods by which a peer may prove who it is. EAP is never offered.
type Auth uint8

const (
	// AuthPAP is the Password Authentication Protocol (RFC 1334 section 2).
	AuthPAP Auth = 1 << iota
	// AuthCHAP is the Challenge Handshake Authentication Protocol with MD5 (RFC 1994).
	AuthCHAP
	// AuthMSCHAPv2 is MS-CHAP version 2 (RFC 2759).
	AuthMSCHAPv2

	authAll = AuthPAP | AuthCHAP | AuthMSCHAPv2
)

// String lists the methods, such as "mschapv2 chap".
func (a Auth) String() string {
	var names []string
	for _, m := range []struct {
		method Auth
		name   string
	}{{AuthMSCHAPv2, "mschapv2"}, {AuthCHAP, "chap"}, {AuthPAP, "pap"}} {
		if a&m.method != 0 {
			names = append(names, m.name)
		}
	}
	return strings.Join(names, " ")
}

const (
	// DefaultMTU fits ESP in UDP with AES-CBC on a path of 1500 octets without fragments.
	DefaultMTU = 1400
	// MinMTU and MaxMTU bound Session.MTU and Session.MRU, in octets.
	MinMTU = 576
	MaxMTU = 1500

	// DefaultEchoInterval and DefaultEchoFailure end a session 80 to 100 s after its client vanished.
	DefaultEchoInterval = 20 * time.Second
	DefaultEchoFailure  = 4

	maxNameLen = 64 // nas_identifier, and a file name
	maxIfName  = 15 // IFNAMSIZ-1
)

// Session describes one PPP session to serve. All of it but Socket and Log can be encoded (CBOR, JSON).
type Session struct {
	// Name is sent to the RADIUS server as NAS-Identifier: 1 to 64 characters of A-Z a-z 0-9 . _ -, unique, and hard to
	// guess, because it vouches for the request. It is kept out of the process's arguments.
	Name string
	// Interface is the name of the PPP interface, 1 to 15 characters of A-Z a-z 0-9 . _ -, unique among the running
	// sessions of the launcher.
	Interface string
	// Socket is the connected PPPoL2TP socket. Start takes it over and closes it, whatever Start returns.
	Socket *os.File `cbor:"-" json:"-"`
	// TunnelID and SessionID are the local L2TP ids, not zero.
	TunnelID, SessionID uint16
	// LocalIP is our IPv4 address on the link.
	LocalIP netip.Addr
	// DNS lists at most two IPv4 name servers for the peer (RFC 1877).
	DNS []netip.Addr
	// MTU and MRU are in octets, MinMTU to MaxMTU, zero for DefaultMTU.
	MTU, MRU int
	// Auth is the set of accepted methods, at least one.
	Auth Auth
	// EchoInterval (whole seconds) and EchoFailure (count) say how soon a silent peer is given up: LCP Echo-Request,
	// RFC 1661 section 5.8. Zero stands for the defaults; a negative interval for no requests at all.
	EchoInterval time.Duration
	EchoFailure  int
	// Peer is the peer's public address: it becomes Calling-Station-Id.
	Peer netip.Addr
	// Log receives what pppd says, line by line, printable ASCII, bounded in length and rate. It is called from one
	// goroutine and must neither block for long nor wait for Start or Exec. Nil discards.
	Log func(line string) `cbor:"-" json:"-"`
}

// Check tells whether Start would take s once it has a Socket. For a Session that came from elsewhere.
func (s Session) Check() error {
	s.Socket = cmp.Or(s.Socket, os.Stdin)
	return s.check()
}

// check fills in the defaults and refuses what could not be a single harmless argument of pppd.
func (s *Session) check() error {
	switch {
	case !plain(s.Name, maxNameLen):
		return fmt.Errorf("session name: want 1 to %d characters of A-Z a-z 0-9 . _ -", maxNameLen)
	case !plain(s.Interface, maxIfName):
		return fmt.Errorf("interface name %q: want 1 to %d characters of A-Z a-z 0-9 . _ -", s.Interface, maxIfName)
	case s.Socket == nil:
		return errors.New("no PPPoL2TP socket")
	case s.TunnelID == 0 || s.SessionID == 0:
		return fmt.Errorf("tunnel id %d, session id %d: zero is not an id", s.TunnelID, s.SessionID)
	case !s.LocalIP.Is4():
		return fmt.Errorf("local address %v: want IPv4", s.LocalIP)
	case len(s.DNS) > 2:
		return fmt.Errorf("%d name servers: PPP can tell the peer of two", len(s.DNS))
	case s.Auth == 0 || s.Auth&^authAll != 0:
		return fmt.Errorf("authentication methods %#x: want PAP, CHAP or MS-CHAPv2", uint8(s.Auth))
	}
	for _, a := range s.DNS {
		if !a.Is4() {
			return fmt.Errorf("name server %v: want IPv4", a)
		}
	}
	s.MTU, s.MRU = orDefault(s.MTU, DefaultMTU), orDefault(s.MRU, DefaultMTU)
	for _, n := range []int{s.MTU, s.MRU} {
		if n < MinMTU || n > MaxMTU {
			return fmt.Errorf("MTU or MRU %d: want %d to %d", n, MinMTU, MaxMTU)
		}
	}
	s.EchoInterval, s.EchoFailure = orDefault(s.EchoInterval, DefaultEchoInterval), orDefault(s.EchoFailure, DefaultEchoFailure)
	if s.EchoInterval > 0 && s.EchoInterval < time.Second || s.EchoInterval > time.Hour || s.EchoFailure < 1 || s.EchoFailure > 100 {
		return fmt.Errorf("LCP echo every %v, %d failures: want 1 s to 1 h and 1 to 100", s.EchoInterval, s.EchoFailure)
	}
	return nil
}

// argv is the whole argument vector but for the program's own name. marker tells our processes from others.
func (s *Session) argv(marker, ourName, radiusConfig string) []string {
	args := []string{
		"nodetach", "nopersist",
		"plugin", "pppol2tp.so", "pppol2tp", "3", "pppol2tp_lns_mode",
		"pppol2tp_tunnel_id", strconv.Itoa(int(s.TunnelID)),
		"pppol2tp_session_id", strconv.Itoa(int(s.SessionID)),
		"plugin", "radius.so", "radius-config-file", radiusConfig,
		"name", ourName, "auth",
	}
	for _, m := range []struct {
		method Auth
		option string
	}{{AuthMSCHAPv2, "require-mschap-v2"}, {AuthCHAP, "require-chap"}, {AuthPAP, "require-pap"}} {
		if s.Auth&m.method != 0 {
			args = append(args, m.option)
		}
	}
	args = append(args,
		// What the peer may not ask of us: we have no secret to show.
		"refuse-eap", "refuse-mschap-v2", "refuse-mschap", "refuse-chap", "refuse-pap", "hide-password",
		// IPv4 and nothing else: no compression, no change to the host's routes or ARP. Multilink is off unless asked for;
		// a pppd 2.5 built without it does not know nomultilink.
		"noccp", "nobsdcomp", "nodeflate", "novj", "noipv6",
		"noipdefault", "nodefaultroute", "noproxyarp",
		"mtu", strconv.Itoa(s.MTU), "mru", strconv.Itoa(s.MRU),
		"lcp-echo-interval", strconv.Itoa(int(max(s.EchoInterval, 0)/time.Second)), "lcp-echo-failure", strconv.Itoa(s.EchoFailure),
		// The first frame is often lost, because the client's PPP starts after our ICCN acknowledgement: ask again
		// after 1 s, the shortest that pppd knows, instead of 3, and for as long as the default would (30 s).
		"lcp-restart", "1", "lcp-max-configure", "30", "lcp-max-terminate", "2",
		"ipcp-restart", "1", "ipcp-max-configure", "30", "ipcp-max-terminate", "2",
		"chap-restart", "2", "chap-max-challenge", "10", "pap-timeout", "30",
		"logfd", "4",
		"ifname", s.Interface, "ipparam", marker,
	)
	for _, a := range s.DNS {
		args = append(args, "ms-dns", a.String())
	}
	if s.Peer.IsValid() {
		args = append(args, "remotenumber", s.Peer.Unmap().WithZone("").String())
	}
	return append(args, s.LocalIP.String()+":")
}

// plain tells whether s is a word that no parser of options, paths or configuration can misread.
func plain(s string, longest int) bool {
	if s == "" || len(s) > longest || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
