package l2tpnl

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
)

// Tunnel is an L2TPv2 tunnel over UDP.
type Tunnel struct {
	// ID is the local tunnel id, which the peer puts into its headers; 1 to 65535, unique in the network namespace.
	ID uint32
	// PeerID is the peer's tunnel id, which goes into our headers; 1 to 65535.
	PeerID uint32
	// FD is the tunnel's UDP socket, a descriptor of this process: for CreateTunnel only, the kernel does not tell it. The kernel
	// holds the socket itself, the descriptor may be copied and closed; but see the package's text for the tunnel's life.
	//
	// With -1 the kernel makes a socket from Local and Remote, in the clear, of which nobody reads control messages: for tunnels that
	// are set up by hand at both ends.
	FD int
	// Local and Remote are the socket's addresses, both IPv4 or both IPv6. Remote is 0.0.0.0:0 or [::]:0 if the socket is not
	// connected. CreateTunnel wants them with FD -1 only; a Local port of 0 takes any.
	Local, Remote netip.AddrPort
	// NoChecksum: the socket sends without UDP checksums; over IPv6 one that the kernel made takes messages without, too (RFC 6935).
	// With a FD it is told, and set by SO_NO_CHECK or UDP_NO_CHECK6_TX.
	NoChecksum bool

	// What follows comes from the kernel and is ignored by CreateTunnel.

	Stats Stats
}

// CreateTunnel makes the kernel take over the data messages of the UDP socket t.FD; control messages still reach readers of it.
// The socket must be connected before sessions can send.
//
// Errors: [os.ErrExist] if the id is taken (also by a tunnel whose deletion is not finished), EBUSY if the socket is a tunnel's
// already, EBADF, EADDRINUSE or EADDRNOTAVAIL for a socket that the kernel makes. A failure leaves no tunnel behind.
func (c *Conn) CreateTunnel(t Tunnel) error {
	if err := checkID("tunnel", t.ID); err != nil {
		return fmt.Errorf("creating an L2TP tunnel: %w", err)
	}
	if err := checkID("peer's tunnel", t.PeerID); err != nil {
		return fmt.Errorf("creating L2TP tunnel %d: %w", t.ID, err)
	}
	if t.FD < 0 {
		if err := t.checkAddresses(); err != nil {
			return fmt.Errorf("creating L2TP tunnel %d without a socket: %w", t.ID, err)
		}
	}
	err := c.change(cmdTunnelCreate, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, t.ID)
		e.Uint32(attrPeerConnID, t.PeerID)
		e.Uint8(attrProtoVersion, protoVersion2)
		e.Uint16(attrEncapType, encapTypeUDP)
		if t.FD >= 0 {
			e.Uint32(attrFD, uint32(t.FD))
		} else {
			t.encodeAddresses(e)
		}
	})
	if err == nil {
		return nil
	}
	if halfDone(err) {
		if got, getErr := c.Tunnel(t.ID); getErr == nil && got.PeerID == t.PeerID {
			_ = c.DeleteTunnel(t.ID)
		}
	}
	return wrap(fmt.Sprintf("creating L2TP tunnel %d (peer's %d)", t.ID, t.PeerID), err)
}

func (t Tunnel) checkAddresses() error {
	local, remote := t.Local.Addr().Unmap(), t.Remote.Addr().Unmap()
	switch {
	case !local.IsValid() || !remote.IsValid() || local.Is4() != remote.Is4():
		return fmt.Errorf("from %v to %v: two addresses of one family are wanted", t.Local, t.Remote)
	case remote.IsUnspecified() || t.Remote.Port() == 0:
		return fmt.Errorf("to %v: the peer's address and port are wanted", t.Remote)
	case local.Zone() != "" || remote.Zone() != "":
		return fmt.Errorf("from %v to %v: the kernel takes no addresses with a zone", t.Local, t.Remote)
	}
	return nil
}

func (t Tunnel) encodeAddresses(e *netlink.AttributeEncoder) {
	local, remote := t.Local.Addr().Unmap(), t.Remote.Addr().Unmap()
	saddr, daddr := uint16(attrIP6Saddr), uint16(attrIP6Daddr)
	if local.Is4() {
		saddr, daddr = attrIPSaddr, attrIPDaddr
	}
	e.Bytes(saddr, local.AsSlice())
	e.Bytes(daddr, remote.AsSlice())
	e.Uint16(attrUDPSport, t.Local.Port())
	e.Uint16(attrUDPDport, t.Remote.Port())
	switch {
	case local.Is4() && !t.NoChecksum:
		e.Uint8(attrUDPCsum, 1)
	case !local.Is4() && t.NoChecksum:
		e.Flag(attrZeroCsum6Tx, true)
		e.Flag(attrZeroCsum6Rx, true)
	}
}

// ModifyTunnel changes nothing, as there is nothing of a tunnel that the kernel could change: it makes the kernel tell every [Monitor]
// of the tunnel as it is, with its counters. The error is [os.ErrNotExist] if there is no such tunnel.
func (c *Conn) ModifyTunnel(id uint32) error {
	err := c.change(cmdTunnelModify, func(e *netlink.AttributeEncoder) { e.Uint32(attrConnID, id) })
	return wrap(fmt.Sprintf("modifying L2TP tunnel %d", id), err)
}

// DeleteTunnel deletes a tunnel and its sessions. The kernel finishes the work after the call has returned. The error is
// [os.ErrNotExist] if there is no such tunnel.
func (c *Conn) DeleteTunnel(id uint32) error {
	err := c.change(cmdTunnelDelete, func(e *netlink.AttributeEncoder) { e.Uint32(attrConnID, id) })
	return wrap(fmt.Sprintf("deleting L2TP tunnel %d", id), err)
}

// Tunnel returns one tunnel with its counters. The error is [os.ErrNotExist] if there is no such tunnel.
func (c *Conn) Tunnel(id uint32) (Tunnel, error) {
	data, err := c.get(cmdTunnelGet, func(e *netlink.AttributeEncoder) { e.Uint32(attrConnID, id) })
	if err != nil {
		return Tunnel{}, wrap(fmt.Sprintf("asking for L2TP tunnel %d", id), err)
	}
	t, _, err := decodeTunnel(data)
	return t, err
}

// Tunnels returns every L2TPv2 tunnel over UDP of the network namespace, whoever made it, with its counters.
func (c *Conn) Tunnels() ([]Tunnel, error) {
	messages, err := c.dump(cmdTunnelGet)
	if err != nil {
		return nil, wrap("listing L2TP tunnels", err)
	}
	tunnels := make([]Tunnel, 0, len(messages))
	for _, m := range messages {
		t, ours, err := decodeTunnel(m.Data)
		if err != nil {
			return nil, err
		}
		if ours {
			tunnels = append(tunnels, t)
		}
	}
	return tunnels, nil
}

// decodeTunnel reports false for tunnels of L2TPv3 or over bare IP.
func decodeTunnel(data []byte) (t Tunnel, v2 bool, err error) {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return Tunnel{}, false, fmt.Errorf("decoding an L2TP tunnel: %w", err)
	}
	t.FD = -1
	var version uint8
	var encap uint16
	var local, remote netip.Addr
	var localPort, remotePort uint16
	for d.Next() {
		switch d.Type() {
		case attrConnID:
			t.ID = d.Uint32()
		case attrPeerConnID:
			t.PeerID = d.Uint32()
		case attrProtoVersion:
			version = d.Uint8()
		case attrEncapType:
			encap = d.Uint16()
		case attrIPSaddr, attrIP6Saddr:
			local, _ = netip.AddrFromSlice(d.Bytes())
		case attrIPDaddr, attrIP6Daddr:
			remote, _ = netip.AddrFromSlice(d.Bytes())
		case attrUDPSport:
			localPort = d.Uint16()
		case attrUDPDport:
			remotePort = d.Uint16()
		case attrUDPCsum:
			t.NoChecksum = d.Uint8() == 0
		case attrZeroCsum6Tx:
			t.NoChecksum = true
		case attrStats:
			d.Nested(t.Stats.decode)
		}
	}
	if err := d.Err(); err != nil {
		return Tunnel{}, false, fmt.Errorf("decoding an L2TP tunnel: %w", err)
	}
	t.Local, t.Remote = netip.AddrPortFrom(local, localPort), netip.AddrPortFrom(remote, remotePort)
	return t, version == protoVersion2 && encap == encapTypeUDP, nil
}
