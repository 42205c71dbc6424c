package lab

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// Simulated is a network device of netdevsim: it takes SAs for ESP with AES-GCM in crypto mode, and says which. It does nothing with them, so what such
// an SA should have encrypted passes as it is, and no receiver takes it.
type Simulated struct {
	Name  string
	space *Namespace
	id    int
}

const simulator = "/sys/bus/netdevsim/"

// SimulatedCable connects two namespaces by a device of netdevsim in each, with one address.
func (l *Lab) SimulatedCable(name string, a *Namespace, addressA netip.Prefix, b *Namespace, addressB netip.Prefix) (atA, atB *Simulated, err error) {
	if atA, err = l.simulate(name, a); err != nil {
		return nil, nil, err
	}
	if atB, err = l.simulate(name, b); err != nil {
		return nil, nil, err
	}
	linkA, err := a.links.LinkByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: find %s: %w", a.Name, name, err)
	}
	linkB, err := b.links.LinkByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: find %s: %w", b.Name, name, err)
	}
	ends := fmt.Appendf(nil, "%d:%d %d:%d", a.handle, linkA.Attrs().Index, b.handle, linkB.Attrs().Index)
	if err := os.WriteFile(simulator+"link_device", ends, 0); err != nil {
		return nil, nil, fmt.Errorf("connect two devices of netdevsim: %w", err)
	}
	for _, end := range []struct {
		space   *Namespace
		address netip.Prefix
	}{{a, addressA}, {b, addressB}} {
		// They know no ARP, and send to their own address.
		err := end.space.Batch("link set "+name+" address 02:00:00:00:00:01", "link set "+name+" up",
			fmt.Sprintf("address add %s dev %s", end.address, name))
		if err != nil {
			return nil, nil, err
		}
	}
	return atA, atB, nil
}

func (l *Lab) simulate(name string, n *Namespace) (*Simulated, error) {
	l.cables++
	s := &Simulated{Name: name, space: n, id: 1000 + l.cables}
	before, err := n.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("%s: list the devices: %w", n.Name, err)
	}
	known := make(map[int]bool)
	for _, link := range before {
		known[link.Attrs().Index] = true
	}
	if err := n.Do(func() error { return os.WriteFile(simulator+"new_device", fmt.Appendf(nil, "%d 1", s.id), 0) }); err != nil {
		return nil, fmt.Errorf("%s: make a device of netdevsim: %w", n.Name, err)
	}
	l.onClose(func() error { return os.WriteFile(simulator+"del_device", fmt.Append(nil, s.id), 0) })
	after, err := n.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("%s: list the devices: %w", n.Name, err)
	}
	for _, link := range after {
		if !known[link.Attrs().Index] {
			return s, n.rename(link, name)
		}
	}
	return nil, fmt.Errorf("%s: netdevsim made no device", n.Name)
}

func (n *Namespace) rename(link netlink.Link, name string) error {
	if err := n.links.LinkSetName(link, name); err != nil {
		return fmt.Errorf("%s: rename %s to %s: %w", n.Name, link.Attrs().Name, name, err)
	}
	return nil
}

// Table is what the device says of the SAs that it has.
func (s *Simulated) Table() (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/sys/kernel/debug/netdevsim/netdevsim%d/ports/0/ipsec", s.id))
	if err != nil {
		return "", fmt.Errorf("read the SAs of %s (is debugfs mounted?): %w", s.Name, err)
	}
	return string(b), nil
}
