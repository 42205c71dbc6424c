package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// UDP opens a socket in the namespace. The port may be one that another program of the namespace has already, if that allows
// it, as xl2tpd does; what arrives goes to one of the two.
func (n *Namespace) UDP(local netip.AddrPort) (*net.UDPConn, error) {
	var conn net.PacketConn
	err := n.Do(func() error {
		config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			var option error
			err := raw.Control(func(fd uintptr) {
				option = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			})
			return errors.Join(err, option)
		}}
		var err error
		conn, err = config.ListenPacket(context.Background(), "udp", local.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: open a socket at %s: %w", n.Name, local, err)
	}
	return conn.(*net.UDPConn), nil
}

// ErrSilence is Answer's error when nothing came.
var ErrSilence = errors.New("no answer")

// Answer sends a datagram and returns the answer, or ErrSilence when none comes within the patience.
func Answer(conn *net.UDPConn, to netip.AddrPort, payload []byte, patience time.Duration) ([]byte, error) {
	if _, err := conn.WriteToUDPAddrPort(payload, to); err != nil {
		return nil, fmt.Errorf("send to %s: %w", to, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, fmt.Errorf("set a read deadline: %w", err)
	}
	buffer := make([]byte, 2048)
	n, _, err := conn.ReadFromUDPAddrPort(buffer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, ErrSilence
	}
	if err != nil {
		return nil, fmt.Errorf("receive from %s: %w", to, err)
	}
	return buffer[:n], nil
}

// Bits of the first 16 of an L2TP header (RFC 2661, 3.1), with version 2.
const (
	l2tpControl  = 0xC802 // T, L, S
	l2tpData     = 0x0002
	l2tpDataLong = 0x4002 // L
)

// DataPacket makes an L2TP data message with a PPP frame; long includes the length field.
func DataPacket(tunnel, session uint16, long bool, frame []byte) []byte {
	frame = append([]byte{0xFF, 0x03}, frame...)
	if !long {
		header := binary.BigEndian.AppendUint16(nil, l2tpData)
		header = binary.BigEndian.AppendUint16(header, tunnel)
		return append(binary.BigEndian.AppendUint16(header, session), frame...)
	}
	header := binary.BigEndian.AppendUint16(nil, l2tpDataLong)
	header = binary.BigEndian.AppendUint16(header, uint16(8+len(frame)))
	header = binary.BigEndian.AppendUint16(header, tunnel)
	return append(binary.BigEndian.AppendUint16(header, session), frame...)
}

// AVP is an attribute of a control message, sent with the M bit.
type AVP struct {
	Type  uint16
	Value []byte
}

// Control message types and attributes that the tests forge (RFC 2661, 4.4).
const (
	avpMessageType    = 0
	avpResultCode     = 1
	avpProtocol       = 2
	avpFraming        = 3
	avpHostName       = 7
	avpAssignedTunnel = 9
	avpAssignedCall   = 14

	messageSCCRQ   = 1
	messageStopCCN = 4
	messageHello   = 6
	messageCDN     = 14
)

func controlMessage(tunnel, session, ns, nr, kind uint16, avps ...AVP) []byte {
	message := binary.BigEndian.AppendUint16(nil, l2tpControl)
	message = append(message, 0, 0) // length, below
	for _, field := range []uint16{tunnel, session, ns, nr} {
		message = binary.BigEndian.AppendUint16(message, field)
	}
	for _, avp := range append([]AVP{{avpMessageType, be16(kind)}}, avps...) {
		message = binary.BigEndian.AppendUint16(message, 0x8000|uint16(6+len(avp.Value)))
		message = append(message, 0, 0) // vendor: IETF
		message = binary.BigEndian.AppendUint16(message, avp.Type)
		message = append(message, avp.Value...)
	}
	binary.BigEndian.PutUint16(message[2:], uint16(len(message)))
	return message
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// SCCRQ makes the first message of a control connection.
func SCCRQ(tunnel uint16, hostName string) []byte {
	return controlMessage(0, 0, 0, 0, messageSCCRQ, AVP{avpProtocol, []byte{1, 0}}, AVP{avpFraming, []byte{0, 0, 0, 3}},
		AVP{avpHostName, []byte(hostName)}, AVP{avpAssignedTunnel, be16(tunnel)})
}

// StopCCN makes a message that closes a tunnel.
func StopCCN(tunnel, assigned, ns, nr uint16) []byte {
	return controlMessage(tunnel, 0, ns, nr, messageStopCCN, AVP{avpAssignedTunnel, be16(assigned)}, AVP{avpResultCode, []byte{0, 6}})
}

// CDN makes a message that closes a session.
func CDN(tunnel, session, assigned, ns, nr uint16) []byte {
	return controlMessage(tunnel, session, ns, nr, messageCDN, AVP{avpResultCode, []byte{0, 3}}, AVP{avpAssignedCall, be16(assigned)})
}

// Hello makes a keepalive message.
func Hello(tunnel, ns, nr uint16) []byte { return controlMessage(tunnel, 0, ns, nr, messageHello) }

// Echo returns every datagram that arrives at a local address to where it came from, until the lab closes.
func (n *Namespace) Echo(local netip.AddrPort) error {
	conn, err := n.UDP(local)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	n.lab.onClose(func() error {
		defer func() { <-done }()
		return conn.Close()
	})
	go func() {
		defer close(done)
		for b := make([]byte, 2048); ; {
			size, from, err := conn.ReadFromUDPAddrPort(b)
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err == nil:
				_, _ = conn.WriteToUDPAddrPort(b[:size], from) // what is lost is missed by who sent it
			}
		}
	}()
	return nil
}
