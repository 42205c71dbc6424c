package control

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestReload(t *testing.T) {
	m := sample()
	c := NewClient(serve(t, m))
	defer c.Close()
	want, _ := m.Reload(t.Context())
	if got, err := c.Reload(t.Context()); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	m.fail = &Error{Status: http.StatusUnprocessableEntity, Message: "c.yaml:1:2: pool: found this\nc.yaml:3:4: users: found that"}
	_, err := c.Reload(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusUnprocessableEntity || e.Message != m.fail.Error() {
		t.Errorf("%v", err)
	}

	core, logs := observer.New(zap.InfoLevel)
	h := Handler(m, Version{}, zap.New(core))
	for method, status := range map[string]int{http.MethodGet: http.StatusMethodNotAllowed, http.MethodPost: http.StatusUnprocessableEntity} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/v1/reload", nil))
		if w.Code != status {
			t.Errorf("%s: %d, want %d", method, w.Code, status)
		}
	}
	if all := logs.All(); len(all) != 1 || all[0].Message != "request to reload failed" {
		t.Errorf("log: %v", all)
	}
}
