package xfrm

import (
	"errors"
	"os"
	"testing"
)

func TestMonitorClose(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	m, err := MonitorFile(r)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // who ends the reader first, and who gives everything back
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.Receive(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
}
