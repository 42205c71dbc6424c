package lab

import (
	"context"
	"net/netip"
)

// Responder is strongSwan that waits to be called, for SAs between the UDP ports 1701 of both ends.
type Responder struct{ *Client }

// Responder prepares strongSwan in a namespace that is attached to its network. Of the options only those of IPsec count.
func (l *Lab) Responder(space *Namespace, options ClientOptions) (*Responder, error) {
	options.Server = netip.Addr{}
	client, err := l.Client(space, options)
	return &Responder{client}, err
}

// Start starts strongSwan and waits until it takes commands.
func (r *Responder) Start(ctx context.Context) error { return r.startStrongSwan(ctx) }
