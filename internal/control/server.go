package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10
	requestTimeout = 20 * time.Second
	shutdownGrace  = 2 * time.Second
	// Streams have this time of shutdownGrace to come to their end, and then this to write it.
	streamGrace = time.Second
	lastWords   = time.Second / 2
)

// Serve answers requests on the listener until the context ends; then it finishes the running ones and closes the listener.
func Serve(ctx context.Context, l net.Listener, b Backend, v Version, log *zap.Logger) error {
	if log == nil {
		log = zap.NewNop()
	}
	streams, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	srv := &http.Server{
		Handler:           routes(streams, b, v, log),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       withCaller,
		ErrorLog:          zap.NewStdLog(log),
	}
	srv.RegisterOnShutdown(func() { time.AfterFunc(streamGrace, end) }) // they hear of the goodbyes
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
	return routes(context.Background(), b, v, log)
}

// routes returns the API. What streams ends with the context streams.
func routes(streams context.Context, b Backend, v Version, log *zap.Logger) http.Handler {
	h := &handler{backend: b, log: log, streams: streams}
	mux := http.NewServeMux()
	methods := make(map[string][]string) // by path
	handle := func(method, path string, f func(*http.Request) (any, error), parameters ...string) {
		methods[path] = append(methods[path], method)
		mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
			defer cancel()
			r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
			if err := checkQuery(r, parameters); err != nil {
				h.reply(w, nil, err)
				return
			}
			value, err := f(r.WithContext(ctx))
			h.reply(w, value, err)
		})
	}
	handle(http.MethodGet, "/v1/tunnels", func(r *http.Request) (any, error) { return list(b.Tunnels(r.Context())) })
	handle(http.MethodGet, "/v1/tunnels/{id}", h.tunnel)
	handle(http.MethodDelete, "/v1/tunnels/{id}", h.closeTunnel)
	handle(http.MethodGet, "/v1/sessions", h.sessions, "user")
	handle(http.MethodGet, "/v1/sessions/{id}", h.session)
	handle(http.MethodDelete, "/v1/sessions/{id}", h.closeSession)
	handle(http.MethodDelete, "/v1/sessions", h.closeUser, "user")
	handle(http.MethodGet, "/v1/sas", func(r *http.Request) (any, error) { return list(b.SAs(r.Context())) })
	handle(http.MethodPost, "/v1/reload", h.reload)
	handle(http.MethodGet, "/v1/drift", func(r *http.Request) (any, error) { return list(b.Drift(r.Context())) })
	handle(http.MethodGet, "/v1/stats", func(r *http.Request) (any, error) { return b.Stats(r.Context()) })
	handle(http.MethodGet, "/v1/version", func(*http.Request) (any, error) { return v, nil })
	methods["/v1/events"] = []string{http.MethodGet}
	mux.HandleFunc("GET /v1/events", h.events)
	for path, allowed := range methods {
		allow := strings.Join(allowed, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			h.reply(w, nil, &Error{Status: http.StatusMethodNotAllowed, Message: fmt.Sprintf("%s knows %s, not %s", r.URL.Path, allow, r.Method)})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.reply(w, nil, &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("no such endpoint: %s %s", r.Method, r.URL.Path)})
	})
	return mux
}

type handler struct {
	backend Backend
	log     *zap.Logger
	streams context.Context
}

// checkQuery refuses queries that would be ignored, in whole or in part.
func checkQuery(r *http.Request, parameters []string) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &Error{Status: http.StatusBadRequest, Message: "the query cannot be read: " + err.Error()}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !slices.Contains(parameters, name):
			known := "knows no query"
			if len(parameters) > 0 {
				known = "knows " + strings.Join(parameters, ", ")
			}
			return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("unknown query parameter %q: %s %s %s", name, r.Method, r.URL.Path, known)}
		case len(query[name]) > 1:
			return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the query parameter %s is there more than once", name)}
		}
	}
	return nil
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
	return find(all, err, fmt.Sprintf("tunnel %d", id), func(t Tunnel) bool { return t.ID == id })
}

// sessions lists all sessions, or those of the user in the query.
func (h *handler) sessions(r *http.Request) (any, error) {
	all, err := h.backend.Sessions(r.Context())
	if query := r.URL.Query(); err == nil && query.Has("user") {
		user := query.Get("user")
		all = slices.DeleteFunc(slices.Clone(all), func(s Session) bool { return s.User != user })
	}
	return list(all, err)
}

func (h *handler) session(r *http.Request) (any, error) {
	id := r.PathValue("id")
	all, err := h.backend.Sessions(r.Context())
	return find(all, err, fmt.Sprintf("session %q", id), func(s Session) bool { return s.ID == id })
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
	err = h.backend.CloseTunnel(r.Context(), id)
	h.record("tunnel", err, zap.Uint16("tunnel", id), caller(r))
	if err != nil {
		return nil, err
	}
	return Closed{[]string{strconv.Itoa(int(id))}}, nil
}

func (h *handler) closeSession(r *http.Request) (any, error) {
	id := r.PathValue("id")
	err := h.backend.CloseSession(r.Context(), id)
	h.record("session", err, zap.String("session", id), caller(r))
	if err != nil {
		return nil, err
	}
	return Closed{[]string{id}}, nil
}

// record logs who had something closed, or tried to.
func (h *handler) record(what string, err error, fields ...zap.Field) {
	if err != nil {
		h.log.Info("request to close a "+what+" failed", append(fields, zap.Error(err))...)
		return
	}
	h.log.Info(what+" closed on request", fields...)
}

func (h *handler) reload(r *http.Request) (any, error) {
	result, err := h.backend.Reload(r.Context())
	if err != nil {
		h.log.Info("request to reload failed", zap.Error(err), caller(r))
		return nil, err
	}
	h.log.Info("configuration reloaded on request", caller(r))
	return result, nil
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
	done := Closed{[]string{}}
	for _, s := range all {
		if s.User != user {
			continue
		}
		err := h.backend.CloseSession(r.Context(), s.ID)
		if errors.Is(err, ErrNotFound) {
			continue // it has gone by itself
		}
		h.record("session", err, zap.String("session", s.ID), zap.String("user", user), caller(r))
		if err != nil {
			return nil, err
		}
		done.Closed = append(done.Closed, s.ID)
	}
	if len(done.Closed) == 0 {
		err := fmt.Errorf("sessions of user %q: %w", user, ErrNotFound)
		h.record("session", err, zap.String("user", user), caller(r))
		return nil, err
	}
	return done, nil
}

func tunnelID(r *http.Request) (uint16, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 16)
	if err != nil || id == 0 {
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
