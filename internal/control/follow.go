package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// events lists events, or goes on with every new one.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	q, follow, err := eventQuery(r)
	if err != nil {
		h.reply(w, nil, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	events, latest, err := h.backend.Events(ctx, q)
	if err != nil || !follow {
		value, err := list(events, err)
		h.reply(w, value, err)
		return
	}
	err = h.follow(w, r, q, events, latest)
	if !errors.Is(err, io.EOF) && r.Context().Err() == nil && h.streams.Err() == nil {
		h.log.Debug("control API: a stream of events ended", zap.Error(err))
	}
}

// eventQuery reads since, limit and follow.
func eventQuery(r *http.Request) (q EventQuery, follow bool, err error) {
	if err := checkQuery(r, []string{"since", "limit", "follow"}); err != nil {
		return q, false, err
	}
	query := r.URL.Query()
	refuse := func(name, expected string) error {
		return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the query parameter %s=%s is not %s", name, url.QueryEscape(query.Get(name)), expected)}
	}
	if query.Has("since") {
		if q.Since, err = strconv.ParseUint(query.Get("since"), 10, 64); err != nil {
			return q, false, refuse("since", "the number of an event")
		}
	}
	if query.Has("limit") {
		if q.Limit, err = strconv.Atoi(query.Get("limit")); err != nil || q.Limit < 1 {
			return q, false, refuse("limit", "a number from 1")
		}
	}
	if query.Has("follow") {
		if follow, err = strconv.ParseBool(query.Get("follow")); err != nil {
			return q, false, refuse("follow", "1 or 0")
		}
	}
	return q, follow, nil
}

// follow writes events, one in a line, until the client goes or the server ends. Between two writes nothing is kept for the client:
// what it is too slow for is forgotten, and said to be.
func (h *handler) follow(w http.ResponseWriter, r *http.Request, q EventQuery, events []Event, latest uint64) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.streams, cancel)()
	rc := http.NewResponseController(w)
	// The limits of other requests do not apply: neither to the wait for the client's next word, nor to a client that reads when it likes.
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})); err != nil {
		h.reply(w, nil, err)
		return err
	}
	defer context.AfterFunc(h.streams, func() { _ = rc.SetWriteDeadline(time.Now().Add(lastWords)) })() // it may be writing
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	last := q.Since
	if last > latest || last == 0 || len(events) > 0 && len(events) == q.Limit {
		last = latest - uint64(len(events)) // what is older was not asked for
	}
	for {
		if err := writeEvents(w, rc, events, last); err != nil {
			return err
		}
		last = max(last, latest)
		if len(events) > 0 {
			last = events[len(events)-1].Seq
		}
		var err error
		if events, err = h.backend.NextEvents(ctx, last); err != nil {
			return err
		}
	}
}

// writeEvents writes events that follow number last, with a word about those between that are missing.
func writeEvents(w http.ResponseWriter, rc *http.ResponseController, events []Event, last uint64) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	if len(events) > 0 && events[0].Seq > last+1 {
		first := events[0]
		lost := Event{
			Seq: first.Seq - 1, Time: first.Time, Severity: SeverityWarning, Kind: EventsLost,
			Text: fmt.Sprintf("%d events are missing: they were forgotten before they were read", first.Seq-1-last),
		}
		if err := enc.Encode(lost); err != nil {
			return err
		}
	}
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return rc.Flush()
}
