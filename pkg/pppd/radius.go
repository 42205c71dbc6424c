package pppd

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Radius tells pppd's radius.so whom to ask.
type Radius struct {
	// Server answers both authentication and accounting; an IPv4 address, and loopback unless there is a good reason.
	Server netip.AddrPort
	// Secret is 16 to 48 printable characters without white space, the most that radius.so takes.
	Secret string
}

func (r Radius) check() error {
	if !r.Server.Addr().Is4() || r.Server.Port() == 0 {
		return fmt.Errorf("RADIUS server %v: want an IPv4 address and a port", r.Server)
	}
	if len(r.Secret) < 16 || len(r.Secret) > 48 || strings.ContainsFunc(r.Secret, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return errors.New("RADIUS secret: want 16 to 48 printable characters")
	}
	return nil
}

// Paths inside the private mount namespace.
const (
	etcPPP         = "/etc/ppp"
	dictionaryPath = etcPPP + "/dictionary"
	serversPath    = etcPPP + "/servers"
	portsPath      = etcPPP + "/ports"
	sessionsDir    = etcPPP + "/sessions"
)

// The files of a session are named after its interface: the path is an argument of pppd, which everybody can read, and
// the session's name is not for everybody.
func configPath(iface string) string   { return sessionsDir + "/" + iface + ".conf" }
func sequencePath(iface string) string { return sessionsDir + "/" + iface + ".seq" }

// serversFile is where radius.so looks for the secret.
func (r Radius) serversFile() string {
	return fmt.Sprintf("%s %s\n", r.Server.Addr(), r.Secret)
}

// configFile is the radius-config-file of one session. bindaddr keeps radius.so from resolving the host's name;
// a sequence file of its own keeps sessions from waiting half a second for each other's lock. After three attempts of
// 2 s a request fails: pppd can do nothing else meanwhile, not even answer an echo.
func (r Radius) configFile(session, iface string) string {
	return fmt.Sprintf(`nas_identifier %s
authserver %s
acctserver %s
bindaddr %s
servers %s
dictionary %s
mapfile %s
seqfile %s
auth_order radius
login_tries 1
login_timeout 10
radius_timeout 2
radius_retries 3
`, session, r.Server, r.Server, r.Server.Addr(), serversPath, dictionaryPath, portsPath, sequencePath(iface))
}

// dictionary names every attribute that radius.so sends (it drops those it cannot find here) or understands.
// RFC 2865, 2866, 2869 and, for vendor 311, RFC 2548.
const dictionary = `ATTRIBUTE User-Name 1 string
ATTRIBUTE Password 2 string
ATTRIBUTE CHAP-Password 3 string
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE NAS-Port-Id 5 integer
ATTRIBUTE Service-Type 6 integer
ATTRIBUTE Framed-Protocol 7 integer
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Framed-IP-Netmask 9 ipaddr
ATTRIBUTE Filter-Id 11 string
ATTRIBUTE Framed-MTU 12 integer
ATTRIBUTE Reply-Message 18 string
ATTRIBUTE Class 25 string
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE Idle-Timeout 28 integer
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Delay-Time 41 integer
ATTRIBUTE Acct-Input-Octets 42 integer
ATTRIBUTE Acct-Output-Octets 43 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Acct-Authentic 45 integer
ATTRIBUTE Acct-Session-Time 46 integer
ATTRIBUTE Acct-Input-Packets 47 integer
ATTRIBUTE Acct-Output-Packets 48 integer
ATTRIBUTE Acct-Terminate-Cause 49 integer
ATTRIBUTE Acct-Input-Gigawords 52 integer
ATTRIBUTE Acct-Output-Gigawords 53 integer
ATTRIBUTE CHAP-Challenge 60 string
ATTRIBUTE NAS-Port-Type 61 integer
ATTRIBUTE Message-Authenticator 80 string
ATTRIBUTE Acct-Interim-Interval 85 integer
VENDOR Microsoft 311
ATTRIBUTE MS-CHAP-Response 1 string Microsoft
ATTRIBUTE MS-CHAP-Error 2 string Microsoft
ATTRIBUTE MS-CHAP-Challenge 11 string Microsoft
ATTRIBUTE MS-CHAP2-Response 25 string Microsoft
ATTRIBUTE MS-CHAP2-Success 26 string Microsoft
ATTRIBUTE MS-Primary-DNS-Server 28 ipaddr Microsoft
ATTRIBUTE MS-Secondary-DNS-Server 29 ipaddr Microsoft
`
