package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNoSA says that nothing can leave a client's socket because there is no outbound SA with the client's reqid.
var ErrNoSA = errors.New("no outbound SA")

// Client is the pair of sockets of one slot, both bound to the same address and port: an unconnected one, which hears an
// SCCRQ from whatever port the client uses, and while there is a tunnel one that is connected to the peer and given to
// the kernel. It is safe for concurrent use.
type Client struct {
	local   netip.AddrPort
	prepare func(fd int, v6 bool) error

	mu     sync.Mutex
	closed bool
	open   *socket
	tunnel *socket // nil without a tunnel
	poller *Poller // nil until added
}

// OpenClient opens the unconnected socket of the slot with the given port. mark is the slot's mark and reqid: only what
// an SA with this reqid has decrypted is received, and only what one has encrypted leaves. CAP_NET_ADMIN is required.
// Nothing is read before Poller.Add.
func OpenClient(local netip.Addr, port uint16, mark uint32) (*Client, error) {
	return openClient(netip.AddrPortFrom(local.Unmap(), port), func(fd int, v6 bool) error { return protect(fd, v6, mark) })
}

func openClient(local netip.AddrPort, prepare func(fd int, v6 bool) error) (*Client, error) {
	s, err := openSocket(local, nil, prepare)
	if err != nil {
		return nil, fmt.Errorf("open the socket of slot %d: %w", local.Port(), err)
	}
	return &Client{local: local, prepare: prepare, open: s}, nil
}

// Local is the address and port that the sockets are bound to; the steering rules make the port 1701 on the wire.
func (c *Client) Local() netip.AddrPort { return c.local }

// Send sends a control message through the unconnected socket. The error is ErrNoSA while the client has no outbound SA.
func (c *Client) Send(remote netip.AddrPort, payload []byte) error {
	if err := c.open.send(remote, payload); err != nil {
		return fmt.Errorf("send L2TP from slot %d to %s: %w", c.local.Port(), remote, explain(err))
	}
	return nil
}

// Connect opens the tunnel socket, connects it to the peer and returns its file descriptor for L2TP_ATTR_FD. The
// descriptor stays the Client's: Disconnect and Close close it. A tunnel socket from before is closed first. The error is
// ErrNoSA while the client has no outbound SA.
func (c *Client) Connect(remote netip.AddrPort) (fd int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("connect the tunnel socket of slot %d to %s: %w", c.local.Port(), remote, explain(err))
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return -1, net.ErrClosed
	}
	if err := c.disconnect(); err != nil {
		return -1, err
	}
	s, err := openSocket(c.local, c.open, c.prepare)
	if err != nil {
		return -1, err
	}
	if err := s.connect(remote); err != nil {
		return -1, errors.Join(err, s.close())
	}
	if c.poller != nil {
		if err := c.poller.addSocket(s); err != nil {
			return -1, errors.Join(err, s.close())
		}
	}
	c.tunnel = s
	return s.fd, nil
}

// explain names the reason of EAGAIN and ESRCH, which is what the policy of a socket answers without an SA.
func explain(err error) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w with the slot's reqid is installed (%w)", ErrNoSA, err)
	}
	return err
}

// Disconnect closes the tunnel socket, if there is one; a kernel tunnel on it ends when the last copy of its descriptor
// is closed. Control messages are heard on the unconnected socket from then on.
func (c *Client) Disconnect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disconnect()
}

func (c *Client) disconnect() error {
	s := c.tunnel
	c.tunnel = nil
	return c.drop(s)
}

// drop takes a socket out of the poller and closes it.
func (c *Client) drop(s *socket) error {
	if s == nil {
		return nil
	}
	if c.poller != nil {
		c.poller.removeSocket(s)
	}
	if err := s.close(); err != nil {
		return fmt.Errorf("close a socket of slot %d: %w", c.local.Port(), err)
	}
	return nil
}

// Close closes both sockets. The handler of the poller may be at work with a last message meanwhile.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return errors.Join(c.disconnect(), c.drop(c.open))
}
