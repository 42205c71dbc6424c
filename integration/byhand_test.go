//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

// The addresses in a link that is made by hand.
var (
	handServer = netip.MustParseAddr("10.98.0.1")
	handClient = netip.MustParseAddr("10.98.0.2")
)

// byHand makes a session of the kernel without any daemon: `ip xfrm state` and `ip xfrm policy`, one L2TP tunnel with a PPPoL2TP socket, and pppd,
// at two public hosts. It returns the client and the server.
func (f *fixture) byHand(mtu int) (client, server *lab.Namespace) {
	f.t.Helper()
	server, at, _, err := f.PublicHost("handserver")
	f.must(err)
	client, from, _, err := f.PublicHost("handclient")
	f.must(err)
	for _, host := range []struct {
		space       *lab.Namespace
		own, theirs netip.Addr
		options     []string
	}{
		{server, at, from, []string{handServer.String() + ":" + handClient.String()}},
		{client, from, at, []string{"ipcp-accept-local", "ipcp-accept-remote"}},
	} {
		f.must(host.space.Batch(
			handSA(from, at, 0x1000), handSA(at, from, 0x1001),
			handPolicy("out", host.own, host.theirs), handPolicy("in", host.theirs, host.own)))
		var tunnel, session *os.File
		f.must(host.space.Do(func() (err error) {
			tunnel, session, err = handSession(host.own, host.theirs)
			return err
		}))
		f.t.Cleanup(func() { tunnel.Close() }) // the tunnel ends with it
		cmd := host.space.Command(context.Background(), append([]string{
			"pppd", "nodetach", "plugin", "pppol2tp.so", "pppol2tp", "3", "pppol2tp_tunnel_id", "1", "pppol2tp_session_id", "1", "noauth",
			"noccp", "novj", "noipv6", "nodefaultroute", "mtu", fmt.Sprint(mtu), "mru", fmt.Sprint(mtu),
		}, host.options...)...)
		cmd.ExtraFiles = []*os.File{session}
		_, err = f.Lab.Start(cmd, "pppd-"+host.space.Name+".log")
		f.must(errors.Join(err, session.Close()))
	}
	for _, space := range []*lab.Namespace{server, client} {
		f.must(lab.Until(f.ctx, 30*time.Second, "the link by hand is up", func() error {
			addresses, err := space.Addresses("ppp0")
			if err == nil && len(addresses) == 0 {
				err = errors.New("ppp0 has no address")
			}
			return err
		}))
	}
	return client, server
}

// handSA has the algorithms of the lab's clients.
func handSA(from, to netip.Addr, spi int) string {
	return fmt.Sprintf("xfrm state add src %s dst %s proto esp spi %d reqid 1 mode transport replay-window 32 auth-trunc hmac(sha1) 0x%s 96 enc cbc(aes) 0x%s",
		from, to, spi, strings.Repeat("11", 20), strings.Repeat("22", 32))
}

func handPolicy(direction string, from, to netip.Addr) string {
	return fmt.Sprintf("xfrm policy add src %s dst %s proto udp sport 1701 dport 1701 dir %s tmpl src %s dst %s proto esp reqid 1 mode transport",
		from, to, direction, from, to)
}

// handSession makes a tunnel and a session in the namespace of the calling thread, and returns their sockets.
func handSession(own, theirs netip.Addr) (tunnel, session *os.File, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	tunnel = os.NewFile(uintptr(fd), "tunnel")
	defer func() {
		if err != nil {
			err = errors.Join(err, tunnel.Close())
		}
	}()
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: own.As4(), Port: 1701}),
		unix.Connect(fd, &unix.SockaddrInet4{Addr: theirs.As4(), Port: 1701}),
	); err != nil {
		return nil, nil, err
	}
	kernel, err := l2tpnl.Dial()
	if err != nil {
		return nil, nil, err
	}
	defer kernel.Close()
	if err := kernel.CreateTunnel(l2tpnl.Tunnel{ID: 1, PeerID: 1, FD: fd}); err != nil {
		return nil, nil, err
	}
	session, err = l2tpnl.OpenSession(1, 1, 1, 1)
	return tunnel, session, err
}
