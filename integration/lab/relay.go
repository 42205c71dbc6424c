package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
)

// relayAddress is where xl2tpd finds the relay; the client itself has the rest of the loopback network.
var relayAddress = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 2}), 1701)

// relay takes L2TP between xl2tpd, which knows only IPv4 and sends no UDP checksums, and the server, inside the client's namespace. IPsec
// is between the relay and the server, so that the packets outside are those of a client that does both.
func (c *Client) relay() error {
	inside, err := c.UDP(relayAddress)
	if err != nil {
		return err
	}
	own, err := c.own()
	if err != nil {
		return errors.Join(err, inside.Close())
	}
	outside, err := c.UDP(netip.AddrPortFrom(own, c.Options.SourcePort))
	if err != nil {
		return errors.Join(err, inside.Close())
	}
	c.lab.onClose(inside.Close)
	c.lab.onClose(outside.Close)

	var client atomic.Value // netip.AddrPort that xl2tpd sends from
	server := netip.AddrPortFrom(c.Options.Server, 1701)
	go forward(inside, outside, func(from netip.AddrPort) (netip.AddrPort, bool) {
		client.Store(from)
		return server, true
	})
	go forward(outside, inside, func(netip.AddrPort) (netip.AddrPort, bool) {
		to, known := client.Load().(netip.AddrPort)
		return to, known
	})
	return nil
}

// forward passes datagrams on until a socket is closed. One that cannot be sent is lost, as on any network.
func forward(from, to *net.UDPConn, target func(netip.AddrPort) (netip.AddrPort, bool)) {
	buffer := make([]byte, 1<<16)
	for {
		n, source, err := from.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if address, known := target(source); err == nil && known {
			_, _ = to.WriteToUDPAddrPort(buffer[:n], address)
		}
	}
}

// own returns the client's global address of the server's IP version.
func (c *Client) own() (netip.Addr, error) {
	version := 4
	if c.Options.Server.Is6() {
		version = 6
	}
	addresses, err := c.addresses("eth0", version)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, address := range addresses {
		if address.IsGlobalUnicast() {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no global IPv%d address", c.Name, version)
}
