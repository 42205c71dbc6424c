package l2tpnl_test

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

// A tunnel on a socket of ours, a session in it, and the file that pppd gets.
func Example() {
	udp, err := net.DialUDP("udp", &net.UDPAddr{Port: 1701}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1701})
	if err != nil {
		log.Fatal(err)
	}
	socket, err := udp.File()
	if err != nil {
		log.Fatal(err)
	}
	c, err := l2tpnl.Dial()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	// The ids are those that both sides have assigned in the control connection.
	if err := c.CreateTunnel(l2tpnl.Tunnel{ID: 10, PeerID: 20, FD: int(socket.Fd())}); err != nil {
		log.Fatal(err)
	}
	session, err := l2tpnl.OpenSession(10, 1, 20, 2)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close() // pppd has a copy
	fmt.Println("pppd plugin pppol2tp.so pppol2tp 3 ...")
}

// Somebody else deletes a tunnel of ours.
func ExampleMonitor() {
	m, err := l2tpnl.NewMonitor()
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for {
		events, err := m.Receive()
		switch {
		case errors.Is(err, l2tpnl.ErrOverrun):
			log.Print("comparing with Tunnels and Sessions")
			continue
		case err != nil:
			log.Fatal(err)
		}
		for _, e := range events {
			if e, ok := e.(l2tpnl.TunnelEvent); ok && e.Change == l2tpnl.Deleted {
				log.Printf("tunnel %d to %v is gone after %d octets", e.Tunnel.ID, e.Tunnel.Remote, e.Tunnel.Stats.RxBytes)
			}
		}
	}
}

// A tunnel with the kernel's own socket, the same at the other end with addresses and ids exchanged.
func ExampleConn_CreateTunnel() {
	c, err := l2tpnl.Dial()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = c.CreateTunnel(l2tpnl.Tunnel{
		ID: 10, PeerID: 20, FD: -1,
		Local: netip.MustParseAddrPort("192.0.2.1:1701"), Remote: netip.MustParseAddrPort("192.0.2.7:1701"),
	})
	if errors.Is(err, os.ErrExist) {
		log.Print("tunnel 10 is there already")
	}
}

// Messages of a session shall be put in order.
func ExampleConn_ModifySession() {
	c, err := l2tpnl.Dial()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = c.ModifySession(10, 1, l2tpnl.Options{RecvSeq: new(true), ReorderTimeout: new(100 * time.Millisecond)})
	if errors.Is(err, os.ErrNotExist) {
		log.Print("the session is gone")
	}
}

// What a process that holds the file of a session, and no privilege, can tell of it.
func ExampleSocketSession() {
	session := os.NewFile(3, "session")
	s, err := l2tpnl.SocketSession(session)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("session %d/%d: %d messages came out of order\n", s.TunnelID, s.ID, s.Stats.RxOOS)
}
