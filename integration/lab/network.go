package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Network is an Ethernet: a bridge in a namespace of its own.
type Network struct {
	space *Namespace
}

// Network makes an Ethernet without stations.
func (l *Lab) Network(name string) (*Network, error) {
	space, err := l.Namespace(name)
	if err != nil {
		return nil, err
	}
	return &Network{space}, space.Batch("link add bridge0 type bridge forward_delay 0", "link set bridge0 up")
}

// Attach gives a namespace an interface in the network, with addresses and, if it is valid, a gateway.
func (net *Network) Attach(n *Namespace, device string, gateway netip.Addr, addresses ...netip.Prefix) error {
	net.space.lab.cables++
	port := fmt.Sprintf("port%d", net.space.lab.cables)
	err := net.space.Batch(
		fmt.Sprintf("link add %s type veth peer name %s netns %s", port, device, n.full),
		fmt.Sprintf("link set %s master bridge0 up", port))
	if err != nil {
		return err
	}
	commands := []string{"link set " + device + " up"}
	for _, address := range addresses {
		command := fmt.Sprintf("address add %s dev %s", address, device)
		if address.Addr().Is6() {
			command += " nodad" // the address is wanted at once
		}
		commands = append(commands, command)
	}
	if gateway.IsValid() {
		commands = append(commands, "route add default via "+gateway.String())
	}
	return n.Batch(commands...)
}

// NAT turns a namespace into a router that hides what is behind it: what leaves by the device outside gets the address there.
func (n *Namespace) NAT(outside string) error {
	if err := n.Sysctl("net.ipv4.ip_forward=1"); err != nil {
		return err
	}
	return n.Nft(fmt.Sprintf(`table ip nat {
	chain postrouting {
		type nat hook postrouting priority 100
		oifname %q masquerade
	}
}`, outside))
}

// Forward has a router of NAT send what comes to its ports of IKE to a host behind it, until Unforward.
func (n *Namespace) Forward(outside string, to netip.Addr) error {
	return n.Nft(fmt.Sprintf(`table ip forward {
	chain prerouting {
		type nat hook prerouting priority -100
		iifname %q udp dport { 500, 4500 } dnat to %s
	}
}`, outside, to))
}

// Unforward ends Forward for what comes next.
func (n *Namespace) Unforward() error { return n.Nft("delete table ip forward") }

// Rebind makes a router of NAT forget who is behind which port, as after a restart, and give out UDP ports of a range from now on.
func (n *Namespace) Rebind(outside string, first, last uint16) error {
	err := n.Nft(fmt.Sprintf(`flush chain ip nat postrouting
add rule ip nat postrouting oifname %q meta l4proto udp masquerade to :%d-%d
add rule ip nat postrouting oifname %q masquerade
`, outside, first, last, outside))
	if err != nil {
		return err
	}
	if err := n.links.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("%s: forget the connections: %w", n.Name, err)
	}
	return nil
}

// Resettle gives a router of NAT another address outside, in the network of the one that it had, as some providers do every day: nobody
// behind it is told.
func (n *Namespace) Resettle(outside string, from, to netip.Prefix) error {
	if err := n.Batch(fmt.Sprintf("address del %s dev %s", from, outside)); err != nil {
		return err
	}
	if err := n.links.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("%s: forget the connections: %w", n.Name, err)
	}
	return n.Batch(fmt.Sprintf("address add %s dev %s", to, outside))
}
