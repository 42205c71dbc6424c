package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNoSA says that nothing can leave a client's socket because there is no outbound SA with the client's reqid.
var ErrNoSA = errors.New("no outbound SA")

// Client is the pair of sockets of one slot, both bound to the same address and port: an unconnected one, which hears an
// SCCRQ from whatever port the client uses, and while there is a tunnel one that is connected to the peer and given to
// the kernel. It opens and keeps them; a Slot made of copies reads them and sends. It is safe for concurrent use.
type Client struct {
	local   netip.AddrPort
	prepare func(fd int, v6 bool) error

	mu     sync.Mutex
	closed bool
	open   *socket
	tunnel *socket // nil without a tunnel
}

// OpenClient opens the unconnected socket of the slot with the given port. mark is the slot's mark and reqid: only what
// an SA with this reqid has decrypted is received, and only what one has encrypted leaves. CAP_NET_ADMIN is required.
func OpenClient(local netip.Addr, port uint16, mark uint32) (*Client, error) {
	return openClient(netip.AddrPortFrom(local.Unmap(), port), protection(mark))
}

func protection(mark uint32) func(fd int, v6 bool) error {
	return func(fd int, v6 bool) error { return protect(fd, v6, mark) }
}

func openClient(local netip.AddrPort, prepare func(fd int, v6 bool) error) (*Client, error) {
	s, err := openClientSocket(local, nil, prepare)
	if err != nil {
		return nil, fmt.Errorf("open the socket of slot %d: %w", local.Port(), err)
	}
	return &Client{local: local, prepare: prepare, open: s}, nil
}

// AdoptClient makes a Client of sockets that another Client with this mark has opened; tunnel is nil if it had none. The files are
// closed, whatever comes of it.
func AdoptClient(mark uint32, open, tunnel *os.File) (*Client, error) {
	return adoptClient(protection(mark), open, tunnel)
}

func adoptClient(prepare func(fd int, v6 bool) error, open, tunnel *os.File) (*Client, error) {
	c := &Client{prepare: prepare}
	var err error
	if c.local, c.open, c.tunnel, err = takePair(open, tunnel); err != nil {
		return nil, fmt.Errorf("adopt the sockets of a slot: %w", err)
	}
	return c, nil
}

// takePair makes sockets of the files of a slot, which are closed, and checks that they are bound to one address. tunnel may be nil.
func takePair(openFile, tunnelFile *os.File) (local netip.AddrPort, open, tunnel *socket, err error) {
	defer func() {
		if err != nil {
			for _, s := range []*socket{open, tunnel} {
				if s != nil {
					err = errors.Join(err, s.close())
				}
			}
		}
	}()
	var openErr, tunnelErr error
	open, openErr = takeSocket(openFile)
	if tunnelFile != nil {
		tunnel, tunnelErr = takeSocket(tunnelFile)
	}
	if err := errors.Join(openErr, tunnelErr); err != nil {
		return local, open, tunnel, err
	}
	if local, err = open.local(); err != nil {
		return local, open, tunnel, err
	}
	if tunnel != nil {
		err = checkTunnel(tunnel, local)
	}
	return local, open, tunnel, err
}

// checkTunnel says what makes s no tunnel socket of the slot at local.
func checkTunnel(s *socket, local netip.AddrPort) error {
	at, err := s.local()
	if err != nil {
		return err
	}
	if at != local {
		return fmt.Errorf("the tunnel socket is bound to %s and not to %s", at, local)
	}
	_, err = s.remote()
	return err
}

// Local is the address and port that the sockets are bound to; the steering rules make the port 1701 on the wire.
func (c *Client) Local() netip.AddrPort { return c.local }

// Connect opens the tunnel socket and connects it to the peer. A tunnel socket from before is closed first; a Slot's copy of it must
// have been dropped, since the port is in use as long as there is one. The error is ErrNoSA while the client has no outbound SA.
func (c *Client) Connect(remote netip.AddrPort) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("connect the tunnel socket of slot %d to %s: %w", c.local.Port(), remote, explain(err))
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if err := c.disconnect(); err != nil {
		return err
	}
	s, err := openClientSocket(c.local, c.open, c.prepare)
	if err != nil {
		return err
	}
	if err := s.connect(remote); err != nil {
		return errors.Join(err, s.close())
	}
	c.tunnel = s
	return nil
}

// explain names the reason of EAGAIN and ESRCH, which is what the policy of a socket answers without an SA.
func explain(err error) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w with the slot's reqid is installed (%w)", ErrNoSA, err)
	}
	return err
}

// WithTunnel calls f with the descriptor of the tunnel socket, for L2TP_ATTR_FD. It stays the Client's, and open until f returns.
// The error is net.ErrClosed without a tunnel socket.
func (c *Client) WithTunnel(f func(fd int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tunnel == nil {
		return fmt.Errorf("slot %d has no tunnel socket: %w", c.local.Port(), net.ErrClosed)
	}
	return c.tunnel.control(f)
}

// Remote is the peer that the tunnel socket is connected to, and false without one.
func (c *Client) Remote() (netip.AddrPort, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tunnel == nil {
		return netip.AddrPort{}, false
	}
	remote, err := c.tunnel.remote()
	return remote, err == nil
}

// OpenFile is a copy of the unconnected socket, for a Slot. The caller closes it.
func (c *Client) OpenFile() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.copy(c.open)
}

// TunnelFile is a copy of the tunnel socket, for a Slot, or nil without one. The caller closes it: as long as any copy is open, the
// port is in use and a kernel tunnel on the socket lives.
func (c *Client) TunnelFile() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tunnel == nil {
		return nil, nil
	}
	return c.copy(c.tunnel)
}

func (c *Client) copy(s *socket) (*os.File, error) {
	f, err := s.file()
	if err != nil {
		return nil, fmt.Errorf("copy a socket of slot %d: %w", c.local.Port(), err)
	}
	return f, nil
}

// Disconnect closes the tunnel socket, if there is one; a kernel tunnel on it ends when the last copy of its descriptor
// is closed.
func (c *Client) Disconnect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disconnect()
}

func (c *Client) disconnect() error {
	if c.tunnel == nil {
		return nil
	}
	s := c.tunnel
	c.tunnel = nil
	if err := s.close(); err != nil {
		return fmt.Errorf("close the tunnel socket of slot %d: %w", c.local.Port(), err)
	}
	return nil
}

// Close closes both sockets.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	err := c.disconnect()
	if closeErr := c.open.close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close the socket of slot %d: %w", c.local.Port(), closeErr))
	}
	return err
}
