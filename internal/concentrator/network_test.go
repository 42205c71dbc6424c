package concentrator

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/udp"
)

// bound is a UDP socket on loopback.
func bound(t *testing.T) (at netip.AddrPort, f *os.File) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if f, err = conn.File(); err != nil {
		t.Fatal(err)
	}
	return conn.LocalAddr().(*net.UDPAddr).AddrPort(), f
}

// TestDropped: what the readers of IKE, of peers without IPsec and of slots do not hand over counts once.
func TestDropped(t *testing.T) {
	var files [3]*os.File
	var at [3]netip.AddrPort
	for i := range files {
		at[i], files[i] = bound(t)
	}
	ike, err := udp.NewIKE([]udp.IKEFile{{Local: at[0], Encapsulated: true, File: files[0]}})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := udp.NewPlain([]udp.PlainFile{{Local: at[1], File: files[1]}})
	if err != nil {
		t.Fatal(err)
	}
	slot, err := udp.NewSlot(files[2], nil)
	if err != nil {
		t.Fatal(err)
	}
	poller, err := udp.NewPoller(func(uint16, netip.AddrPort, []byte) { t.Error("an empty datagram was handed over") })
	if err != nil {
		t.Fatal(err)
	}
	if err := poller.Add(slot); err != nil {
		t.Fatal(err)
	}
	handed, ended := make(chan udp.Datagram, 10), make(chan error, 2)
	go func() { ended <- ike.Run(func(d udp.Datagram) { t.Errorf("IKE: %x", d.Payload) }) }()
	go func() { ended <- plain.Run(func(d udp.Datagram) { handed <- d }) }()
	n := network{ike, plain, poller}
	for i, payload := range []string{"short", "L2TP", ""} {
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at[i]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(payload)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if d := <-handed; string(d.Payload) != "L2TP" {
		t.Errorf("handed over %q", d.Payload)
	}
	for deadline := time.Now().Add(10 * time.Second); n.Dropped() != 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n.Dropped() != 2 || ike.Dropped() != 1 || poller.Dropped() != 1 {
		t.Errorf("dropped %d: %d of IKE, %d of slots", n.Dropped(), ike.Dropped(), poller.Dropped())
	}
	if err := errors.Join(ike.Close(), plain.Close(), poller.Close(), slot.Close(), <-ended, <-ended); err != nil {
		t.Error(err)
	}
}
