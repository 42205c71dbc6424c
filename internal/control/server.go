package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10
	requestTimeout = 20 * time.Second
	shutdownGrace  = 2 * time.Second
)

// Serve answers requests on the listener until the context ends; then it finishes the running ones and closes the listener.
func Serve(ctx context.Context, l net.Listener, b Backend, v Version, log *zap.Logger) error {
	if log == nil {
		log = zap.NewNop()
	}
	srv := &http.Server{
		Handler:           Handler(b, v, log),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       withCaller,
		ErrorLog:          zap.NewStdLog(log),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		err := srv.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close()
		}
		stopped <- err
	})
	err := srv.Serve(l)
	if stop() { // not by the context
		return fmt.Errorf("serving the control API: %w", err)
	}
	return <-stopped
}

// Handler returns the API as an http.Handler.
func Handler(b Backend, v Version, log *zap.Logger) http.Handler {
	h := &handler{backend: b, log: log}
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
			defer cancel()
			r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
			value, err := f(r.WithContext(ctx))
			h.reply(w, value, err)
		})
	}
	handle("GET /v1/tunnels", func(r *http.Request) (any, error) { return list(b.Tunnels(r.Context())) })
	handle("GET /v1/tunnels/{id}", h.tunnel)
	handle("DELETE /v1/tunnels/{id}", h.closeTunnel)
	handle("GET /v1/sessions", func(r *http.Request) (any, error) { return list(b.Sessions(r.Context())) })
	handle("GET /v1/sessions/{id}", h.session)
	handle("DELETE /v1/sessions/{id}", h.closeSession)
	handle("DELETE /v1/sessions", h.closeUser)
	handle("GET /v1/sas", func(r *http.Request) (any, error) { return list(b.SAs(r.Context())) })
	handle("GET /v1/stats", func(r *http.Request) (any, error) { return b.Stats(r.Context()) })
	handle("GET /v1/version", func(*http.Request) (any, error) { return v, nil })
	handle("/", func(r *http.Request) (any, error) {
		return nil, &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("no such endpoint: %s %s", r.Method, r.URL.Path)}
	})
	return mux
}

type handler struct {
	backend Backend
	log     *zap.Logger
}

// list makes an empty list of none, so that JSON has [] and not null.
func list[T any](l []T, err error) (any, error) {
	if l == nil {
		l = []T{}
	}
	return l, err
}

func (h *handler) tunnel(r *http.Request) (any, error) {
	id, err := tunnelID(r)
	if err != nil {
		return nil, err
	}
	all, err := h.backend.Tunnels(r.Context())
	return find(all, err, "tunnel "+r.PathValue("id"), func(t Tunnel) bool { return t.ID == id })
}

func (h *handler) session(r *http.Request) (any, error) {
	id := r.PathValue("id")
	all, err := h.backend.Sessions(r.Context())
	return find(all, err, "session "+id, func(s Session) bool { return s.ID == id })
}

func find[T any](all []T, err error, what string, is func(T) bool) (any, error) {
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, is)
	if i < 0 {
		return nil, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return all[i], nil
}

func (h *handler) closeTunnel(r *http.Request) (any, error) {
	id, err := tunnelID(r)
	if err != nil {
		return nil, err
	}
	h.log.Info("closing a tunnel on request", zap.Uint16("tunnel", id), caller(r))
	if err := h.backend.CloseTunnel(r.Context(), id); err != nil {
		return nil, fmt.Errorf("tunnel %d: %w", id, err)
	}
	return Closed{[]string{r.PathValue("id")}}, nil
}

func (h *handler) closeSession(r *http.Request) (any, error) {
	id := r.PathValue("id")
	h.log.Info("closing a session on request", zap.String("session", id), caller(r))
	if err := h.backend.CloseSession(r.Context(), id); err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	return Closed{[]string{id}}, nil
}

// closeUser ends all sessions of the user in the query.
func (h *handler) closeUser(r *http.Request) (any, error) {
	user := r.URL.Query().Get("user")
	if user == "" {
		return nil, &Error{Status: http.StatusBadRequest, Message: "the query has no user: DELETE /v1/sessions?user=NAME"}
	}
	all, err := h.backend.Sessions(r.Context())
	if err != nil {
		return nil, err
	}
	h.log.Info("closing the sessions of a user on request", zap.String("user", user), caller(r))
	done := Closed{[]string{}}
	for _, s := range all {
		if s.User != user {
			continue
		}
		switch err := h.backend.CloseSession(r.Context(), s.ID); {
		case err == nil:
			done.Closed = append(done.Closed, s.ID)
		case !errors.Is(err, ErrNotFound): // it may have gone by itself
			return nil, fmt.Errorf("session %s: %w", s.ID, err)
		}
	}
	if len(done.Closed) == 0 {
		return nil, fmt.Errorf("sessions of user %q: %w", user, ErrNotFound)
	}
	return done, nil
}

func tunnelID(r *http.Request) (uint16, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 16)
	if err != nil {
		return 0, &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("tunnel id %q is not a number from 1 to 65535", r.PathValue("id"))}
	}
	return uint16(id), nil
}

func (h *handler) reply(w http.ResponseWriter, value any, err error) {
	status := http.StatusOK
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Status: http.StatusInternalServerError, Message: err.Error()}
			switch {
			case errors.Is(err, ErrNotFound):
				e.Status = http.StatusNotFound
			case errors.Is(err, context.DeadlineExceeded):
				e.Status = http.StatusGatewayTimeout
			}
		}
		status, value = e.Status, e
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		h.log.Debug("control API: writing the reply", zap.Error(err))
	}
}

type callerKey struct{}

// withCaller remembers who is at the other end of the socket, for the log.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, cred)
}

func caller(r *http.Request) zap.Field {
	if cred, ok := r.Context().Value(callerKey{}).(*unix.Ucred); ok {
		return zap.Dict("caller", zap.Uint32("uid", cred.Uid), zap.Int32("pid", cred.Pid))
	}
	return zap.Skip()
}
