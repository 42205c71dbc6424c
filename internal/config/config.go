package config

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/l2tpctl/l2tpctl/internal/pool"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// DefaultPath is the configuration file that `serve` and `check` read when none is named.
const DefaultPath = "/etc/l2tpctl/config.yaml"

// DefaultSocket is the default path of the control socket.
const DefaultSocket = "/run/l2tpctl/control.sock"

// Minimal is the smallest useful file: a pre-shared key, a pool and a user.
const Minimal = `ike:
  psk: "replace-this-by-a-long-random-string"
pool: 10.99.0.0/24
users:
  - name: alice
    password: "replace-this-too"
`

// Config is a validated configuration.
type Config struct {
	Path   string   // the file it was read from
	Files  []string // those that it names, which were read, too
	IKE    IKE
	L2TP   L2TP
	PPP    PPP
	Users  []User
	Pool   []pool.Range // IPv4, ascending, without PPP.LocalAddress and the users' fixed addresses
	Listen []netip.Addr
	Slots  Slots
	// InterfacePrefix starts the name of every PPP interface: prefix, port of the slot, "-", number.
	InterfacePrefix string
	Control         Control
	Log             Log
	// Warnings say what is allowed but not wise, each with its place in the file. Never contains secrets.
	Warnings []string
}

// Profile is a set of algorithms that the IKE engine knows by name.
type Profile string

// The profiles, strictest first.
const (
	ProfileModern     Profile = "modern"
	ProfileCompatible Profile = "compatible"
	ProfileLegacy     Profile = "legacy" // with 3DES, MODP-1024 and MODP-1536
)

// Offload says what network devices are asked to do of ESP.
type Offload string

// Values of Offload. Whatever a device does not take is done in software.
const (
	OffloadAuto   Offload = "auto"   // packet mode, else crypto mode
	OffloadPacket Offload = "packet" // only packet mode
	OffloadCrypto Offload = "crypto" // only crypto mode
	OffloadOff    Offload = "off"
)

// Truncation says for whom HMAC-SHA-256 of ESP is cut to 96 bits instead of the 128 of RFC 4868.
type Truncation string

// The truncations.
const (
	TruncateOff     Truncation = "off"
	TruncateAndroid Truncation = "android" // clients that look like an Android that does so
	TruncateAll     Truncation = "all"
)

// IKE configures IKEv1 (RFC 2409) and the ESP SAs negotiated by it.
type IKE struct {
	Keys         []Key             // longest prefix first. At least one of Keys, Groups and Certificates
	Groups       []PSKGroup        // who may use Aggressive Mode; empty: nobody
	Certificates []*pki.Credential // our own; empty: no authentication by signatures
	Authorities  []*x509.Certificate
	Allow        []pki.Rule // of which a peer's certificate must fit one; empty: every certificate below Authorities
	Revocation   Revocation

	Profile      Profile
	Proposals    []IKEProposal // in our order of preference; empty: those of Profile
	ESPProposals []ESPProposal // in our order of preference; empty: those of Profile
	PFSGroups    []Group       // nil: those of Profile; empty: no perfect forward secrecy

	Lifetime           time.Duration // longest life of a Phase 1 SA that is accepted
	ESPLifetime        time.Duration // the same for ESP
	ForceEncapsulation bool          // ESP in UDP also where there is no NAT
	SHA256Truncation   Truncation
	Offload            Offload

	DPDInterval time.Duration // between R-U-THERE messages to a silent peer (RFC 3706); 0: never asks
	DPDTimeout  time.Duration // silence after which the peer counts as dead
	// HalfOpenMax bounds unauthenticated Phase 1 exchanges whose message 3 has come, HalfOpenUnproved those before that.
	HalfOpenMax, HalfOpenUnproved int
	HalfOpenPerAddr               int // both, for one source address
	// HalfOpenPerNetwork is the same for an IPv4 /24 or IPv6 /48; 0: four times that of an address.
	HalfOpenPerNetwork int
	MaxClientsPerAddr  int           // clients behind one address, by the identities that they name
	HalfOpenTimeout    time.Duration // life of an unauthenticated exchange
	MaxChildren        int           // ESP SA pairs of one client at a time
}

// Key is a pre-shared key and the peers that it is for.
type Key struct {
	Peer netip.Prefix // masked
	PSK  Secret
}

// PSK returns the key for a peer: of the keys whose prefix contains the address, that with the longest prefix.
// It returns nil if there is none. The signature is that of the IKE engine's Config.PSK.
func (c *IKE) PSK(_, remote netip.Addr) []byte {
	remote = remote.Unmap().WithZone("")
	for _, k := range c.Keys { // longest prefix first
		if k.Peer.Contains(remote) {
			return []byte(k.PSK.Reveal())
		}
	}
	return nil
}

// L2TP configures the L2TPv2 control connections (RFC 2661).
type L2TP struct {
	HostName      string        // Host Name AVP; default: name of the machine
	HelloInterval time.Duration // silence after which a Hello is sent
	MaxSessions   int           // sessions in one tunnel
	// PlainPeers may do without IPsec: masked prefixes, none twice. Empty: nobody.
	PlainPeers      []netip.Prefix
	PlainMaxTunnels int // tunnels of one address without IPsec
}

// AuthMethod is a PPP authentication protocol.
type AuthMethod string

// The authentication protocols, strongest first.
const (
	MSCHAPv2 AuthMethod = "mschapv2" // RFC 2759
	CHAP     AuthMethod = "chap"     // CHAP with MD5, RFC 1994
	PAP      AuthMethod = "pap"      // RFC 1334
)

// PPP configures the PPP links.
type PPP struct {
	LocalAddress netip.Addr    // our end of every link; IPv4
	DNS          []netip.Addr  // at most two, IPv4
	MTU          int           // octets, MTU and MRU of the interfaces
	Auth         []AuthMethod  // allowed methods, at least one
	EchoInterval time.Duration // between LCP Echo-Requests; negative: none are sent (0 in the file)
	EchoFailures int           // unanswered Echo-Requests after which the link is dead
}

// User may log in.
type User struct {
	Name     string
	Password Secret
	Address  netip.Addr // fixed address; the zero Addr if the user gets one from the pool
}

// Slots is the block of local UDP ports, one for each client. A port P is in the block when P & PortMask == PortBase. That of the
// tunnels without IPsec is only used if there are L2TP.PlainPeers.
type Slots struct {
	Tag                  uint16 // upper half of the packet marks and reqids that are ours
	PortBase, PortMask   uint16
	PlainBase, PlainMask uint16
}

// Last returns the highest port of the block.
func (s Slots) Last() uint16 { return s.PortBase | ^s.PortMask }

// Size returns the number of ports in the block, and so of clients.
func (s Slots) Size() int { return int(^s.PortMask) + 1 }

// Plain returns the block of the tunnels without IPsec in the place of that of the clients.
func (s Slots) Plain() Slots {
	return Slots{Tag: s.Tag, PortBase: s.PlainBase, PortMask: s.PlainMask}
}

// Control configures the control API.
type Control struct {
	Socket string // path
	Group  string // group that owns the socket; empty: that of the process
}

// Log configures the log, which goes to standard error.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // console or json
}

// Load reads and validates a configuration file. The error is of type Errors when the content of the file is at fault.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the configuration: %w: create it (see configs/l2tpctl.reference.yaml and docs/configuration.md), or name another with -c", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s: every user of this machine can read the file and the secrets in it; chmod 0640 it", path))
	}
	return c, nil
}

// Parse validates the content of a configuration file. Its path appears in errors, and relative paths of secret files start
// at its folder.
func Parse(path string, data []byte) (*Config, error) {
	d := &decoder{file: path, dir: filepath.Dir(path), fixed: map[netip.Addr]ast.Node{}, now: time.Now()}
	if err := d.utf8(data); err != nil {
		return nil, err // the parser would change what it cannot read, and a secret with it
	}
	file, err := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\ufeff")), 0) // some editors begin with a byte order mark
	if err != nil {
		return nil, d.syntax(err)
	}
	var root ast.Node
	for i, doc := range file.Docs {
		if i > 0 && doc.Body != nil {
			d.fail(doc.Body, "", "a second YAML document", "one document")
		} else if i == 0 {
			root = doc.Body
		}
	}
	c := d.config(root)
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	c.Path, c.Files, c.Warnings = path, d.files, d.warnings
	return c, nil
}
