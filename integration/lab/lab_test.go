package lab

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestParsePings(t *testing.T) {
	const text = "--- 10.99.0.1 ping statistics ---\n21 packets transmitted, 20 received, 4.7% packet loss, time 1003ms\n"
	if got, err := parsePings(text); err != nil || got != (Pings{21, 20}) || got.Lost() != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parsePings("ping: connect: Network is unreachable"); err == nil {
		t.Error("no summary, but no error")
	}
}

func TestOwnPort(t *testing.T) {
	for line, want := range map[string]bool{
		"UNCONN 0 0 192.0.2.1:16384 0.0.0.0:*":     true,
		"ESTAB 0 0 192.0.2.1:32767 192.0.2.2:1701": true,
		"UNCONN 0 0 [2001:db8::1]:16400 [::]:*":    true,
		"UNCONN 0 0 0.0.0.0:4500 0.0.0.0:*":        false,
		"UNCONN 0 0 0.0.0.0:32768 0.0.0.0:*":       false,
		"ESTAB 0 0 192.0.2.1:1701 192.0.2.2:16384": false,
		"": false,
	} {
		if got := ownPort(line); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}

func TestUntil(t *testing.T) {
	tries := 0
	err := Until(context.Background(), time.Minute, "third time", func() error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	reason := errors.New("it is broken")
	if err := Until(context.Background(), time.Minute, "never", func() error { return fmt.Errorf("%w: %w", errStop, reason) }); !errors.Is(err, reason) {
		t.Errorf("got %v, want %v at once", err, reason)
	}
	if err := Until(context.Background(), time.Millisecond, "never", func() error { return reason }); !errors.Is(err, reason) {
		t.Errorf("got %v, want the limit and %v", err, reason)
	}
}
