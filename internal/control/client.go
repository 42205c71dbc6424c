package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// maxReplyBytes bounds what a reply may have; 16,384 tunnels are about 10 MB.
const maxReplyBytes = 256 << 20

// ErrUnreachable means that the daemon could not be asked at all.
var ErrUnreachable = errors.New("the daemon cannot be reached")

// Error is a refusal by the daemon, and the JSON body of it.
type Error struct {
	Status  int    `json:"-"`     // of HTTP
	Message string `json:"error"` // for people
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Is makes errors.Is(err, ErrNotFound) work on the client's side.
func (e *Error) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound
}

// Client asks a daemon. It may be used by many goroutines.
type Client struct {
	socket string
	http   http.Client
}

// NewClient returns a client of the daemon behind a control socket. It connects when it is first used.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: http.Client{
		Transport: &http.Transport{DialContext: dial, DisableCompression: true},
		Timeout:   30 * time.Second,
	}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Tunnels lists the tunnels.
func (c *Client) Tunnels(ctx context.Context) ([]Tunnel, error) {
	return do[[]Tunnel](ctx, c, http.MethodGet, "/v1/tunnels")
}

// Tunnel returns one tunnel.
func (c *Client) Tunnel(ctx context.Context, id uint16) (Tunnel, error) {
	return do[Tunnel](ctx, c, http.MethodGet, "/v1/tunnels/"+strconv.Itoa(int(id)))
}

// CloseTunnel ends a tunnel, its sessions and its IPsec client.
func (c *Client) CloseTunnel(ctx context.Context, id uint16) error {
	_, err := do[Closed](ctx, c, http.MethodDelete, "/v1/tunnels/"+strconv.Itoa(int(id)))
	return err
}

// Sessions lists the sessions.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	return do[[]Session](ctx, c, http.MethodGet, "/v1/sessions")
}

// Session returns one session.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	return do[Session](ctx, c, http.MethodGet, "/v1/sessions/"+url.PathEscape(id))
}

// CloseSession ends a session.
func (c *Client) CloseSession(ctx context.Context, id string) error {
	_, err := do[Closed](ctx, c, http.MethodDelete, "/v1/sessions/"+url.PathEscape(id))
	return err
}

// Disconnect ends all sessions of a user and returns their ids.
func (c *Client) Disconnect(ctx context.Context, user string) ([]string, error) {
	out, err := do[Closed](ctx, c, http.MethodDelete, "/v1/sessions?"+url.Values{"user": {user}}.Encode())
	return out.Closed, err
}

// SAs lists the ESP security associations.
func (c *Client) SAs(ctx context.Context) ([]SA, error) {
	return do[[]SA](ctx, c, http.MethodGet, "/v1/sas")
}

// Reload has the daemon read its configuration again. An [Error] of status 422 says why nothing was changed.
func (c *Client) Reload(ctx context.Context) (Reload, error) {
	return do[Reload](ctx, c, http.MethodPost, "/v1/reload")
}

// Drift lists the differences between what the daemon wants in the kernel and what is there.
func (c *Client) Drift(ctx context.Context) ([]Drift, error) {
	return do[[]Drift](ctx, c, http.MethodGet, "/v1/drift")
}

// Stats returns the counters.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	return do[Stats](ctx, c, http.MethodGet, "/v1/stats")
}

// Events lists the events that q selects, the oldest first.
func (c *Client) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	return do[[]Event](ctx, c, http.MethodGet, "/v1/events"+q.encode(false))
}

// FollowEvents calls each with the events that q selects and then with every new one, until ctx ends, which is its error then, or the
// daemon, which is none. An event of kind [EventsLost] stands for those that came faster than each took them.
func (c *Client) FollowEvents(ctx context.Context, q EventQuery, each func(Event) error) error {
	path := "/v1/events" + q.encode(true)
	stream := http.Client{Transport: c.http.Transport} // without the limit of time
	resp, err := c.request(ctx, &stream, http.MethodGet, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var e Event
		switch err := dec.Decode(&e); {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return nil
		default:
			return fmt.Errorf("control API: reading the answer to GET %s: %w", path, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

// encode returns the query of a URL, with the question mark.
func (q EventQuery) encode(follow bool) string {
	v := url.Values{}
	if q.Since > 0 {
		v.Set("since", strconv.FormatUint(q.Since, 10))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if follow {
		v.Set("follow", "1")
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// Version returns the version of the running daemon.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return do[Version](ctx, c, http.MethodGet, "/v1/version")
}

// do sends a request and decodes the answer.
func do[T any](ctx context.Context, c *Client, method, path string) (out T, err error) {
	resp, err := c.request(ctx, &c.http, method, path)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReplyBytes)).Decode(&out); err != nil {
		return out, fmt.Errorf("control API: reading the answer to %s %s: %w", method, path, err)
	}
	return out, nil
}

// request sends a request and returns an answer that is no refusal; the caller closes its body.
func (c *Client) request(ctx context.Context, by *http.Client, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://l2tpctl"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("control API: %w", err)
	}
	resp, err := by.Do(req)
	if err != nil {
		return nil, c.advise(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	if json.NewDecoder(io.LimitReader(resp.Body, maxReplyBytes)).Decode(e) != nil || e.Message == "" {
		e.Message = "the daemon answered " + resp.Status
	}
	return nil, e
}

// advise turns the reasons for which a socket cannot be connected into what to do about them.
func (c *Client) advise(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: permission denied on %s: %s", ErrUnreachable, c.socket, c.whoMay())
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no socket %s: start the daemon (l2tpctl serve), or name its socket with --socket", ErrUnreachable, c.socket)
	case errors.Is(err, syscall.ECONNREFUSED) && !c.isSocket():
		return fmt.Errorf("%w: %s is no socket: name that of the daemon with --socket (control.socket in its configuration)", ErrUnreachable, c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens on %s: the daemon has died; start it again (l2tpctl serve)", ErrUnreachable, c.socket)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %w", ErrUnreachable, op)
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return fmt.Errorf("%w: nobody has answered on %s in time: the daemon has died or hangs; see its log, and start it again (l2tpctl serve)",
			ErrUnreachable, c.socket)
	}
	return fmt.Errorf("control API: %w", err)
}

func (c *Client) isSocket() bool {
	info, err := os.Stat(c.socket)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// whoMay says who may use the socket.
func (c *Client) whoMay() string {
	const root = "run this command as root"
	info, err := os.Stat(c.socket)
	if err != nil {
		return root
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Gid == 0 {
		return root + ", or set control.group in the configuration to a group that you are in"
	}
	name := strconv.FormatUint(uint64(st.Gid), 10)
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	return root + " or become a member of the group " + name
}
