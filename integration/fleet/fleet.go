package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/site"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// Config is what all clients of a fleet have in common.
type Config struct {
	PSK    string
	Server netip.Addr
	Inner  netip.Addr // the server's address in the tunnels, which is pinged

	// Adjust changes the configuration of the IKE engine, if it is not nil.
	Adjust func(*ikev1.Config)
}

// Fleet is clients in one network namespace, each with an address of its own.
type Fleet struct {
	*site.Site
	cfg Config

	mu      sync.Mutex
	clients []*Client
}

// Open opens UDP ports 500 and 4500 in the namespace of the calling thread.
func Open(cfg Config) (*Fleet, error) {
	ike := ikev1.Config{PSK: func(netip.Addr, netip.Addr) []byte { return []byte(cfg.PSK) }}
	if cfg.Adjust != nil {
		cfg.Adjust(&ike)
	}
	s, err := site.Open(ike)
	if err != nil {
		return nil, err
	}
	return &Fleet{Site: s, cfg: cfg}, nil
}

// Clients returns those that were connected, in order.
func (f *Fleet) Clients() []*Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*Client(nil), f.clients...)
}

// Connect connects a client from IKE to its PPP address. Call it on a thread in the fleet's namespace.
func (f *Fleet) Connect(ctx context.Context, local netip.Addr, user, password string) (*Client, error) {
	mark := f.Mark()
	connection, err := f.Site.Connect(ikev1.Connection{
		Local: netip.AddrPortFrom(local, udp.IKEPort), Remote: netip.AddrPortFrom(f.cfg.Server, udp.IKEPort),
	})
	if err != nil {
		return nil, err
	}
	if err := f.secured(ctx, mark, connection); err != nil {
		return nil, fmt.Errorf("%s: %w", user, err)
	}
	conn, err := f.Dial(ctx, local, f.cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", user, err)
	}
	c, err := newClient(conn, f.cfg.Inner, user, password)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c.connection, c.mark = connection, mark
	if err := c.connect(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", user, errors.Join(err, c.close()))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clients = append(f.clients, c)
	return c, nil
}

// secured waits for the child of a connection.
func (f *Fleet) secured(ctx context.Context, mark int, connection ikev1.ConnectionID) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		clients := make(map[ikev1.ClientID]bool)
		for _, event := range f.Events(mark) {
			switch e := event.(type) {
			case ikev1.Phase1Established:
				clients[e.Client] = clients[e.Client] || e.Connection == connection
			case ikev1.ChildEstablished:
				if clients[e.Client] {
					return nil
				}
			case ikev1.Phase1Failed:
				if e.Connection == connection {
					return errors.New(e.Cause)
				}
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("no child SA within a minute")
		case <-tick.C:
		}
	}
}

// Disconnect ends what a client has, and tells the server.
func (f *Fleet) Disconnect(c *Client) error {
	c.leave()
	f.Site.Disconnect(c.connection)
	f.mu.Lock()
	f.clients = slices.DeleteFunc(f.clients, func(other *Client) bool { return other == c })
	f.mu.Unlock()
	return c.close()
}

// Ended says why a client's session is over, as far as the client was told: by L2TP, PPP, or the end of IPsec. It is nil if it is not.
func (f *Fleet) Ended(c *Client) error {
	if _, err := c.Address(); err != nil {
		return err
	}
	alive := make(map[ikev1.ClientID]bool)
	reason := ""
	for _, event := range f.Events(c.mark) {
		switch e := event.(type) {
		case ikev1.Phase1Established:
			if e.Connection == c.connection {
				alive[e.Client] = true
			}
		case ikev1.ClientGone:
			if alive[e.Client] {
				delete(alive, e.Client)
				reason = e.Reason
			}
		}
	}
	if len(alive) == 0 {
		return fmt.Errorf("IPsec has ended: %s", reason)
	}
	return nil
}

// Close ends everything.
func (f *Fleet) Close() error {
	var errs []error
	for _, c := range f.Clients() {
		errs = append(errs, c.close())
	}
	return errors.Join(append(errs, f.Site.Close())...)
}
