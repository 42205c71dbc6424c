package concentrator

import (
	"net/netip"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// SAs installs ESP security associations; *xfrm.Conn is the real one.
type SAs interface {
	Add(*xfrm.State) error
	Delete(...xfrm.ID) (counted []xfrm.Stats, err error) // what is not there has counted nothing
	Move(xfrm.ID, xfrm.Place) (xfrm.ID, error)
	Get(xfrm.ID) (xfrm.State, error)
	List() ([]xfrm.State, error)
}

// Egress tells how packets to a peer leave the machine; *egress.Router is the real one. It is only asked if SAs are to be offloaded.
type Egress interface {
	Device(local, remote netip.Addr, mark uint32) (index int, err error)
	Name(device int) string
	Encrypts(local, remote netip.Addr, reqid uint32) error
}

// Tunnels creates L2TP tunnels and PPP sessions in the kernel, and holds their sockets.
type Tunnels interface {
	// CreateTunnel makes a tunnel of the connected socket of the slot with this number.
	CreateTunnel(id, peerID uint16) error
	DeleteTunnel(id uint32) error
	// OpenSession makes a session with a PPPoL2TP socket, which is for a PPP endpoint; it lives until CloseSession and the end of that.
	OpenSession(tunnel, session, peerTunnel, peerSession uint16) error
	CloseSession(tunnel, session uint16) error
	Tunnel(id uint32) (l2tpnl.Tunnel, error)
	Tunnels() ([]l2tpnl.Tunnel, error)
	Session(tunnel, id uint32) (l2tpnl.Session, error)
	Sessions() ([]l2tpnl.Session, error)
}

// Sockets opens the pair of UDP sockets of a client.
type Sockets interface {
	OpenClient(local netip.Addr, port uint16, mark uint32) (ClientSocket, error)
}

// A ClientSocket is one client's pair of sockets: an unconnected one for control messages, and one
// connected to the peer while there is a tunnel.
type ClientSocket interface {
	Send(remote netip.AddrPort, payload []byte) error
	Connect(remote netip.AddrPort) error
	Reconnect(remote netip.AddrPort) error // the same socket, to another address of the peer
	Disconnect() error
	Close() error
}

// IKE sends IKE messages; what arrives is handed to the loop by the sockets' readers.
type IKE interface {
	Send(udp.Datagram) error
	Dropped() uint64 // datagrams to any of our ports that were handed to nobody
}

// PPP starts a PPP endpoint on the socket of an open session; that of the argument is not used.
type PPP interface {
	Start(pppd.Session) (PPPProcess, error)
	Processes() int
}

// A PPPProcess is a running PPP endpoint.
type PPPProcess interface {
	Done() <-chan struct{}
	Wait() pppd.Exit
	Terminate() error
	Kill() error
}

// AAA authenticates users and gives them addresses.
type AAA interface {
	Open(aaa.Session) error
	Adopt(aaa.SessionInfo) error
	Close(nasID string)
	// Configure replaces users, methods and, unless it is nil, the pool.
	Configure(aaa.Config) error
	Addresses() (free, used int)
}

// Steering is the nftables table that brings each client's packets to its own port.
type Steering interface {
	Read() (packets map[string]uint64, err error)
	Intact() (bool, error) // whether it is as it was installed
}

// Store keeps records for the daemon that follows, in the order of everything else that is asked of the keeper.
type Store interface {
	Store([]Change) error
}

// A Change is a record that is new; without a value, one that is to be forgotten.
type Change = protocol.Change

// Links knows the network interfaces.
type Links interface {
	Names() (map[string]bool, error)
}
