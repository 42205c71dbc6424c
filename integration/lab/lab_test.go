package lab

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

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
	looks := 0
	if err := Until(context.Background(), time.Millisecond, "never", func() error { looks++; return reason }); !errors.Is(err, reason) {
		t.Errorf("got %v, want the limit and %v", err, reason)
	}
	if looks < leastLooks {
		t.Errorf("gave up after %d looks", looks)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Until(ctx, time.Minute, "never", func() error { return reason }); !errors.Is(err, reason) {
		t.Errorf("got %v, want %v at once", err, reason)
	}
}
