package concentrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// kernelTunnels adds to the netlink connection what it takes to make tunnels and sessions of sockets.
type kernelTunnels struct {
	*l2tpnl.Conn

	mu       sync.Mutex
	clients  map[uint16]*udp.Client // by slot
	sessions map[[2]uint16]*os.File
}

func newKernelTunnels(conn *l2tpnl.Conn) *kernelTunnels {
	return &kernelTunnels{Conn: conn, clients: make(map[uint16]*udp.Client), sessions: make(map[[2]uint16]*os.File)}
}

func (k *kernelTunnels) add(c *udp.Client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clients[c.Local().Port()] = c
}

func (k *kernelTunnels) remove(c *udp.Client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if port := c.Local().Port(); k.clients[port] == c {
		delete(k.clients, port)
	}
}

// CreateTunnel implements Tunnels.
func (k *kernelTunnels) CreateTunnel(id, peerID uint16) error {
	k.mu.Lock()
	client := k.clients[id]
	k.mu.Unlock()
	if client == nil {
		return fmt.Errorf("create tunnel %d: its slot has no sockets", id)
	}
	return client.WithTunnel(func(fd int) error {
		return k.Conn.CreateTunnel(l2tpnl.Tunnel{ID: uint32(id), PeerID: uint32(peerID), FD: fd})
	})
}

// OpenSession implements Tunnels.
func (k *kernelTunnels) OpenSession(tunnel, session, peerTunnel, peerSession uint16) error {
	socket, err := l2tpnl.OpenSession(tunnel, session, peerTunnel, peerSession)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sessions[[2]uint16{tunnel, session}] = socket
	return nil
}

// CloseSession implements Tunnels.
func (k *kernelTunnels) CloseSession(tunnel, session uint16) error {
	k.mu.Lock()
	socket := k.sessions[[2]uint16{tunnel, session}]
	delete(k.sessions, [2]uint16{tunnel, session})
	k.mu.Unlock()
	if socket == nil {
		return fmt.Errorf("close session %d/%d: %w", tunnel, session, os.ErrNotExist)
	}
	return socket.Close()
}

func (k *kernelTunnels) socket(tunnel, session uint16) (*os.File, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.sessions[[2]uint16{tunnel, session}]; f != nil {
		return dup(f)
	}
	return nil, fmt.Errorf("session %d/%d: %w", tunnel, session, os.ErrNotExist)
}

// peerWait is how long a client may take from ICCN to its first PPP frame before pppd begins: what pppd sends to a client
// that is not ready is lost for a second.
const peerWait = time.Second

// pppLauncher starts pppd when the client is ready for it, on a copy of the session's socket.
type pppLauncher struct {
	*pppd.Launcher
	tunnels *kernelTunnels
}

func (l pppLauncher) Start(s pppd.Session) (PPPProcess, error) {
	socket, err := l.tunnels.socket(s.TunnelID, s.SessionID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), peerWait)
	defer cancel()
	if err := pppd.AwaitPeer(ctx, socket); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	s.Socket = socket
	return l.Launcher.Start(s)
}

func (l pppLauncher) Processes() int { return len(l.Launcher.Processes()) }

// dup returns a second descriptor of f.
func dup(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var dupErr error
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || dupErr != nil {
		return nil, fmt.Errorf("copy the session's socket: %w", errors.Join(err, dupErr))
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
