package l2tpnl

import (
	"fmt"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// Conn talks to the kernel's "l2tp" family in the network namespace of the thread that dialled. It is safe for concurrent use.
type Conn struct {
	c      *genetlink.Conn
	family genetlink.Family
}

// Dial opens a connection. The error satisfies errors.Is(err, [os.ErrNotExist]) if the kernel has no L2TP: load the module
// l2tp_netlink then.
func Dial() (*Conn, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, wrap("opening generic netlink", err)
	}
	// For better error texts only; no kernel in use lacks it.
	_ = c.SetOption(netlink.ExtendedAcknowledge, true)
	return newConn(c)
}

// newConn looks the family up and owns c, also on error.
func newConn(c *genetlink.Conn) (*Conn, error) {
	family, err := c.GetFamily(familyName)
	if err != nil {
		_ = c.Close()
		return nil, wrap(fmt.Sprintf("finding the kernel's %q netlink family (modprobe l2tp_netlink)", familyName), err)
	}
	return &Conn{c: c, family: family}, nil
}

// Close closes the connection. Tunnels and sessions stay.
func (c *Conn) Close() error { return c.c.Close() }

// change sends a command that the kernel acknowledges.
func (c *Conn) change(command uint8, attributes func(*netlink.AttributeEncoder)) error {
	_, err := c.execute(command, netlink.Request|netlink.Acknowledge, attributes)
	return err
}

// get asks for one object. An acknowledgement must not be asked for: the kernel sends it after the answer in a datagram of its own,
// which the next command would take for its answer.
func (c *Conn) get(command uint8, attributes func(*netlink.AttributeEncoder)) ([]byte, error) {
	messages, err := c.execute(command, netlink.Request, attributes)
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d answers of the kernel to one question", len(messages))
	}
	return messages[0].Data, nil
}

func (c *Conn) dump(command uint8) ([]genetlink.Message, error) {
	return c.execute(command, netlink.Request|netlink.Dump, nil)
}

func (c *Conn) execute(command uint8, flags netlink.HeaderFlags, attributes func(*netlink.AttributeEncoder)) ([]genetlink.Message, error) {
	var data []byte
	if attributes != nil {
		e := netlink.NewAttributeEncoder()
		attributes(e)
		var err error
		if data, err = e.Encode(); err != nil {
			return nil, fmt.Errorf("encoding netlink attributes: %w", err)
		}
	}
	m := genetlink.Message{Header: genetlink.Header{Command: command, Version: c.family.Version}, Data: data}
	return c.c.Execute(m, c.family.ID, flags)
}

// checkID refuses what L2TPv2's 16-bit header fields cannot carry (RFC 2661 section 3.1).
func checkID(kind string, id uint32) error {
	if id == 0 || id > 0xffff {
		return fmt.Errorf("%s id %d is outside 1 to 65535", kind, id)
	}
	return nil
}
