//go:build kernel

package steering

import (
	"net"
	"testing"
)

// sendPlain sends L2TP control messages in clear over loopback.
func sendPlain(t *testing.T, n int) {
	t.Helper()
	c, err := net.Dial("udp4", "127.0.0.1:1701")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range n {
		if _, err := c.Write([]byte{0xc8, 0x02, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
	}
}
