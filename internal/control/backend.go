package control

import (
	"context"
	"errors"
)

// ErrNotFound means that there is no tunnel, session or user of that id or name. Backends return it wrapped in an error that
// names what was not found, the server turns that into status 404, and errors of the client are it again.
var ErrNotFound = errors.New("not found")

// Backend is the daemon behind the API. Its methods are called by many goroutines at once. The texts of their errors reach the
// operator as they are: they say what was attempted, and on which tunnel or session.
type Backend interface {
	Tunnels(ctx context.Context) ([]Tunnel, error)
	Sessions(ctx context.Context) ([]Session, error)
	SAs(ctx context.Context) ([]SA, error)
	// Stats returns what can be had: counters that the kernel does not have are nil maps, not an error.
	Stats(ctx context.Context) (Stats, error)
	// Drift compares what the daemon wants in the kernel with what is there.
	Drift(ctx context.Context) ([]Drift, error)
	// Events returns the remembered events that q selects, the oldest first, and the number of the latest event of all.
	Events(ctx context.Context, q EventQuery) (events []Event, latest uint64, err error)
	// NextEvents waits until there are events with a number above since, and returns those that are remembered. io.EOF means that there
	// will be none.
	NextEvents(ctx context.Context, since uint64) ([]Event, error)
	// CloseTunnel ends a tunnel, its sessions and its IPsec client. ErrNotFound if there is no such tunnel.
	CloseTunnel(ctx context.Context, id uint16) error
	// Reload reads the configuration again and puts it in force, whole or not at all. An [Error] of status 422 says what is wrong with it.
	Reload(ctx context.Context) (Reload, error)
	// CloseSession ends a session. ErrNotFound if there is no such session.
	CloseSession(ctx context.Context, id string) error
}
