package pppd

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// TestSessionOverTheWire shows that nothing of a Session is lost but its Socket and Log.
func TestSessionOverTheWire(t *testing.T) {
	s := goodSession(t)
	s.MTU, s.MRU, s.EchoInterval, s.EchoFailure = 1300, 1301, time.Minute, 7
	s.Log = func(string) {}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got Session
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	s.Socket, s.Log = nil, nil
	if !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, want %+v", got, s)
	}
	if err := got.Check(); err != nil {
		t.Errorf("without a socket: %v", err)
	}
	if got.Socket != nil {
		t.Error("Check changed the session")
	}
	got.Interface = "../x"
	if got.Check() == nil {
		t.Error("a path as interface was accepted")
	}
}
