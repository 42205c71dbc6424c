package lab

import (
	"fmt"
	"net/netip"
)

// Addresses of a Scene.
var (
	ServerAddress  = netip.MustParseAddr("192.0.2.1")
	ServerAddress6 = netip.MustParseAddr("2001:db8::1")
	NATAddress     = netip.MustParseAddr("192.0.2.2")
	homeRouter     = netip.MustParseAddr("10.0.0.1")
)

// Scene is the usual surroundings: an internet with a server and a NAT router, and a home network behind that.
//
//	server 192.0.2.1 ─┬─ internet ─┬─ 192.0.2.2 nat 10.0.0.1 ── home ── 10.0.0.10, 10.0.0.11, …
//	                  │            └─ 192.0.2.10, 192.0.2.11, … clients without NAT
//	     2001:db8::1 ─┘               2001:db8::a, 2001:db8::b, …
type Scene struct {
	*Lab
	Server *Server
	NAT    *Namespace

	internet, home *Network
	hosts          int
}

// NewScene builds the surroundings with a server that is not started yet. An empty binary leaves the server's namespace to the caller.
func NewScene(binary, config string) (*Scene, error) {
	l, err := New()
	if err != nil {
		return nil, err
	}
	s := &Scene{Lab: l}
	if err := s.build(binary, config); err != nil {
		l.Close()
		return nil, err
	}
	return s, nil
}

func (s *Scene) build(binary, config string) error {
	var err error
	if s.internet, err = s.Network("internet"); err != nil {
		return err
	}
	if s.home, err = s.Network("home"); err != nil {
		return err
	}
	space, err := s.Namespace("server")
	if err != nil {
		return err
	}
	err = s.internet.Attach(space, "eth0", netip.Addr{}, netip.PrefixFrom(ServerAddress, 24), netip.PrefixFrom(ServerAddress6, 64))
	if err != nil {
		return err
	}
	if err := space.Sysctl("net.ipv4.ip_forward=1"); err != nil {
		return err
	}
	if s.Server, err = s.Lab.Server(space, binary, config); err != nil {
		return err
	}
	if s.NAT, err = s.Namespace("nat"); err != nil {
		return err
	}
	if err := s.internet.Attach(s.NAT, "eth0", netip.Addr{}, netip.PrefixFrom(NATAddress, 24)); err != nil {
		return err
	}
	if err := s.home.Attach(s.NAT, "eth1", netip.Addr{}, netip.PrefixFrom(homeRouter, 24)); err != nil {
		return err
	}
	return s.NAT.NAT("eth0")
}

// HomeHost makes a host behind the NAT.
func (s *Scene) HomeHost(name string) (*Namespace, error) {
	n, err := s.Namespace(name)
	if err != nil {
		return nil, err
	}
	s.hosts++
	address := netip.AddrFrom4([4]byte{10, 0, 0, byte(9 + s.hosts)})
	return n, s.home.Attach(n, "eth0", homeRouter, netip.PrefixFrom(address, 24))
}

// PublicHost makes a host with public addresses, which it returns.
func (s *Scene) PublicHost(name string) (n *Namespace, v4, v6 netip.Addr, err error) {
	if n, err = s.Namespace(name); err != nil {
		return nil, v4, v6, err
	}
	s.hosts++
	v4 = netip.AddrFrom4([4]byte{192, 0, 2, byte(9 + s.hosts)})
	v6 = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 9+s.hosts))
	return n, v4, v6, s.internet.Attach(n, "eth0", netip.Addr{}, netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64))
}

// HomeClient makes a foreign client behind the NAT.
func (s *Scene) HomeClient(name string, options ClientOptions) (*Client, error) {
	n, err := s.HomeHost(name)
	if err != nil {
		return nil, err
	}
	return s.Client(n, s.withServer(options))
}

// PublicClient makes a foreign client without NAT.
func (s *Scene) PublicClient(name string, options ClientOptions) (*Client, error) {
	n, _, _, err := s.PublicHost(name)
	if err != nil {
		return nil, err
	}
	return s.Client(n, s.withServer(options))
}

func (s *Scene) withServer(options ClientOptions) ClientOptions {
	if !options.Server.IsValid() {
		options.Server = ServerAddress
	}
	return options
}
