package client

import (
	"context"
	"fmt"
	"os"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// batch is how many octets of records go into one message, but for a single one that is longer.
const batch = 256 << 10

// Store writes records down. When it returns they outlive this process: they come back in the Inventory. A nil value removes a record.
func (c *Conn) Store(changes []protocol.Change) error {
	for _, ch := range changes {
		if ch.Key == "" || len(ch.Key) > protocol.MaxKey || len(ch.Value) > protocol.MaxValue {
			return fmt.Errorf("store record %.20q of %d octets: want a key of 1 to %d and at most %d octets", ch.Key, len(ch.Value), protocol.MaxKey, protocol.MaxValue)
		}
	}
	for len(changes) > 0 {
		n, octets := 0, 0
		for n < len(changes) && (n == 0 || octets+len(changes[n].Key)+len(changes[n].Value) <= batch) {
			octets += len(changes[n].Key) + len(changes[n].Value)
			n++
		}
		if err := c.tell(protocol.OpStore, protocol.Store{Changes: changes[:n]}); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return nil
}

// Hold makes the keeper keep a copy of a file, in place of one that it held under the name.
func (c *Conn) Hold(name string, f *os.File) error {
	m, err := c.call(context.Background(), protocol.OpHold, protocol.Name{Name: name}, []*os.File{f})
	m.Close()
	return err
}

// Release makes the keeper close a file that it holds. The error is os.ErrNotExist if there is none of the name.
func (c *Conn) Release(name string) error {
	return c.do(protocol.OpRelease, protocol.Name{Name: name})
}
