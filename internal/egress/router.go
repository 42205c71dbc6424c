package egress

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// Router asks the kernel for routes, in the network namespace of the thread that opened it. It is safe for concurrent use.
type Router struct {
	handle *netlink.Handle
}

// Open opens the connection to the kernel.
func Open() (*Router, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &Router{handle}, nil
}

// Close closes the connection.
func (r *Router) Close() error {
	r.handle.Close()
	return nil
}

// Device is the index of the device by which packets with these addresses and this mark leave. There is an error if there is no route.
func (r *Router) Device(local, remote netip.Addr, mark uint32) (int, error) {
	routes, err := r.handle.RouteGetWithOptions(remote.AsSlice(), &netlink.RouteGetOptions{SrcAddr: local.AsSlice(), Mark: mark})
	if err != nil {
		return 0, fmt.Errorf("look up the route from %s to %s: %w", local, remote, err)
	}
	if len(routes) != 1 || routes[0].LinkIndex <= 0 {
		return 0, fmt.Errorf("look up the route from %s to %s: the kernel names no device", local, remote)
	}
	return routes[0].LinkIndex, nil
}

// Name is the name of a device, or a number sign and its index if there is none with that.
func (r *Router) Name(device int) string {
	link, err := r.handle.LinkByIndex(device)
	if err != nil {
		return fmt.Sprintf("#%d", device)
	}
	return link.Attrs().Name
}

// Encrypts fails unless packets of a socket with a policy for the reqid find an SA. Nothing is sent. CAP_NET_ADMIN is required.
func (r *Router) Encrypts(local, remote netip.Addr, reqid uint32) (err error) {
	v6 := remote.Is6()
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open a socket to try an SA: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(reqid)); err != nil {
		return fmt.Errorf("mark a socket to try an SA: %w", err)
	}
	if err := xfrm.SetSocketPolicy(fd, v6, xfrm.Out, reqid); err != nil {
		return err
	}
	if err := unix.Bind(fd, sockaddr(local, 0)); err != nil {
		return fmt.Errorf("bind a socket to %s to try an SA: %w", local, err)
	}
	const l2tp = 1701
	if err := unix.Connect(fd, sockaddr(remote, l2tp)); err != nil { // the kernel looks for the SA here, and fails without
		return fmt.Errorf("connect a socket to %s to try an SA: %w", remote, err)
	}
	return nil
}

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: port}
}
