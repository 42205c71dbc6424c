package lab

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Namespace is a network namespace with a name below /run/netns.
type Namespace struct {
	Name string // short: "server", "alice"

	lab    *Lab
	full   string
	handle netns.NsHandle
	links  *netlink.Handle
}

// Namespace makes a network namespace with its loopback interface up.
func (l *Lab) Namespace(name string) (*Namespace, error) {
	full := l.prefix + name
	if err := run(exec.Command("ip", "netns", "add", full)); err != nil {
		return nil, err
	}
	l.onClose(func() error { return run(exec.Command("ip", "netns", "delete", full)) })
	handle, err := netns.GetFromName(full)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", full, err)
	}
	l.onClose(handle.Close)
	links, err := netlink.NewHandleAt(handle)
	if err != nil {
		return nil, fmt.Errorf("open netlink in namespace %s: %w", full, err)
	}
	l.onClose(func() error { links.Close(); return nil })
	n := &Namespace{Name: name, lab: l, full: full, handle: handle, links: links}
	return n, n.Batch("link set lo up")
}

// path is the file that names the namespace.
func (n *Namespace) path() string { return "/run/netns/" + n.full }

// Command prepares a program that will run in the namespace.
func (n *Namespace) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.path(), "--"}, args...)...)
}

// Run runs a program in the namespace and returns what it printed. A failure's error quotes it.
func (n *Namespace) Run(ctx context.Context, args ...string) (string, error) {
	cmd := n.Command(ctx, args...)
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &all
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", n.Name, strings.Join(args, " "), err, strings.TrimSpace(all.String()+out.String()))
	}
	return out.String(), nil
}

// Batch performs ip commands in the namespace.
func (n *Namespace) Batch(commands ...string) error {
	cmd := exec.Command("ip", "-netns", n.full, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if err := run(cmd); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// Sysctl sets kernel parameters of the namespace, each as name=value.
func (n *Namespace) Sysctl(settings ...string) error {
	_, err := n.Run(context.Background(), append([]string{"sysctl", "-q", "-w"}, settings...)...)
	return err
}

// Nft loads an nftables script into the namespace.
func (n *Namespace) Nft(script string) error {
	cmd := n.Command(context.Background(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if err := run(cmd); err != nil {
		return fmt.Errorf("%s: nft: %w", n.Name, err)
	}
	return nil
}

// Counter returns the packets that a named counter of an nftables table has seen.
func (n *Namespace) Counter(family, table, name string) (uint64, error) {
	out, err := n.Run(context.Background(), "nft", "list", "counter", family, table, name)
	if err != nil {
		return 0, err
	}
	_, text, _ := strings.Cut(out, "packets ")
	var packets uint64
	if _, err := fmt.Sscan(text, &packets); err != nil {
		return 0, fmt.Errorf("%s: read counter %s: %w: %s", n.Name, name, err, out)
	}
	return packets, nil
}

// Do calls f on a thread that is in the namespace: the sockets that f opens belong to it for good.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		before, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("find the own namespace: %w", err)
			return
		}
		defer before.Close()
		if err := netns.Set(n.handle); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", n.full, err)
			return
		}
		result := f()
		if netns.Set(before) == nil {
			runtime.UnlockOSThread() // else the thread ends with this goroutine
		}
		done <- result
	}()
	return <-done
}

// Addresses returns the IPv4 addresses of an interface.
func (n *Namespace) Addresses(device string) ([]netip.Addr, error) { return n.addresses(device, 4) }

func (n *Namespace) addresses(device string, version int) ([]netip.Addr, error) {
	link, err := n.links.LinkByName(device)
	if err != nil {
		return nil, fmt.Errorf("%s: find %s: %w", n.Name, device, err)
	}
	family := netlink.FAMILY_V4
	if version == 6 {
		family = netlink.FAMILY_V6
	}
	list, err := n.links.AddrList(link, family)
	if err != nil {
		return nil, fmt.Errorf("%s: addresses of %s: %w", n.Name, device, err)
	}
	var found []netip.Addr
	for _, entry := range list {
		if address, ok := netip.AddrFromSlice(entry.IP); ok {
			found = append(found, address.Unmap())
		}
	}
	return found, nil
}

// Links returns the names of the interfaces that start with prefix.
func (n *Namespace) Links(prefix string) ([]string, error) {
	list, err := n.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("%s: list interfaces: %w", n.Name, err)
	}
	var found []string
	for _, link := range list {
		if strings.HasPrefix(link.Attrs().Name, prefix) {
			found = append(found, link.Attrs().Name)
		}
	}
	return found, nil
}

// Counters are what an interface has received and sent together.
type Counters struct{ Bytes, Packets uint64 }

// Counters reads the counters of an interface.
func (n *Namespace) Counters(device string) (Counters, error) {
	link, err := n.links.LinkByName(device)
	if err != nil {
		return Counters{}, fmt.Errorf("%s: find %s: %w", n.Name, device, err)
	}
	s := link.Attrs().Statistics
	if s == nil {
		return Counters{}, fmt.Errorf("%s: %s has no statistics", n.Name, device)
	}
	return Counters{s.RxBytes + s.TxBytes, s.RxPackets + s.TxPackets}, nil
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
