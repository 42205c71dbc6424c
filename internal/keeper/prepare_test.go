package keeper

import (
	"os"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// TestPrepare: who goes before a daemon gets the held files, and not the rest of the inventory.
func TestPrepare(t *testing.T) {
	k := start(t, nil)
	k.possess()
	c := k.dial(t)
	if err := c.Store([]protocol.Change{{Key: "a", Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.Hold("a file", f); err != nil {
		t.Fatal(err)
	}
	held, err := c.Prepare(t.Context(), testSetup)
	if err != nil || len(held) != 1 || held["a file"] == nil {
		t.Errorf("prepared: %v, %v", held, err)
	}
	for _, f := range held {
		_ = f.Close()
	}
	i, err := c.Setup(t.Context(), testSetup)
	if err != nil || string(i.Records["a"]) != "1" || len(i.Held) != 1 {
		t.Errorf("set up: %v, %v", i.Held, err)
	}
	i.Close()
}
