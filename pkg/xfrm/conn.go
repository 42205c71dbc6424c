package xfrm

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn speaks NETLINK_XFRM in the network namespace of the thread that dialled. It is safe for concurrent use.
type Conn struct {
	nl *netlink.Conn

	moving    sync.Mutex    // held by Move
	deletions *netlink.Conn // what the kernel tells of SAs that Move deletes
	migrates  bool          // the kernel can move an SA by itself, if it was asked
	asked     bool
}

// Dial opens the connection. It fails with EPROTONOSUPPORT when the kernel has no XFRM netlink interface.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_XFRM, nil)
	if err != nil {
		return nil, wrap("open XFRM netlink", err)
	}
	// Every supported kernel has it; without it errors are merely terse.
	_ = nl.SetOption(netlink.ExtendedAcknowledge, true)
	deletions, err := netlink.Dial(unix.NETLINK_XFRM, nil)
	if err != nil {
		_ = nl.Close()
		return nil, wrap("open XFRM netlink", err)
	}
	return &Conn{nl: nl, deletions: deletions}, nil
}

// Close closes the connection. SAs stay in the kernel.
func (c *Conn) Close() error {
	if c.deletions == nil {
		return c.nl.Close()
	}
	return errors.Join(c.nl.Close(), c.deletions.Close())
}

// Add installs an SA (XFRM_MSG_NEWSA). An SA with the same ID gives os.ErrExist.
func (c *Conn) Add(s *State) error { return c.add(s, nil) }

// add is Add with further attributes.
func (c *Conn) add(s *State, more []byte) error {
	err := c.put("add", msgNewSA, s, more)
	if s.ESN && s.Direction == Out && errors.Is(err, unix.EINVAL) {
		// Kernels before 6.10 know no directions, and want a window with ESN even where there is nothing to receive.
		old := *s
		old.Direction, old.ReplayWindow = 0, 1
		if c.put("add", msgNewSA, &old, more) == nil {
			return nil
		}
	}
	return err
}

// Update changes an SA in place (XFRM_MSG_UPDSA): UDP encapsulation ports, limits, mark. Keys, addresses, offload and replay
// state stay as they are. An unknown SA gives os.ErrNotExist.
func (c *Conn) Update(s *State) error {
	here := *s
	here.Offload = Offload{} // the kernel would give the device a second one for a moment, for which it may have no room
	return c.put("update", msgUpdSA, &here, nil)
}

func (c *Conn) put(verb string, kind netlink.HeaderType, s *State, more []byte) error {
	op := fmt.Sprintf("%s SA %s", verb, s.ID)
	if err := s.validate(); err != nil {
		return &Error{Op: op, Err: err}
	}
	data := append(s.appendTo(nil), more...)
	defer clear(data) // it holds the keys
	_, err := c.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge},
		Data:   data,
	})
	return wrap(op, err)
}

// Delete removes an SA. An unknown one gives os.ErrNotExist.
func (c *Conn) Delete(id ID) error {
	_, err := c.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: msgDelSA, Flags: netlink.Request | netlink.Acknowledge},
		Data:   id.marshal(),
	})
	return wrap("delete SA "+id.String(), err)
}

// Get returns one SA with its keys and counters. An unknown one gives os.ErrNotExist.
func (c *Conn) Get(id ID) (State, error) {
	op := "get SA " + id.String()
	msgs, err := c.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: msgGetSA, Flags: netlink.Request}, // a reply and no acknowledgement
		Data:   id.marshal(),
	})
	if err != nil {
		return State{}, wrap(op, err)
	}
	if len(msgs) != 1 || msgs[0].Header.Type != msgNewSA {
		return State{}, &Error{Op: op, Err: fmt.Errorf("the kernel answered with %d messages where one SA is due", len(msgs))}
	}
	s, err := parseState(msgs[0].Data)
	clear(msgs[0].Data)
	return s, wrap(op, err)
}

// UpdateEncap gives an SA new UDP ports, after a NAT has changed its mapping, and keeps all else. An unknown SA gives
// os.ErrNotExist. Each direction has an SA of its own: call it for both.
func (c *Conn) UpdateEncap(id ID, e Encap) error {
	s, err := c.Get(id)
	if err != nil {
		return err
	}
	s.Encap = &e
	return c.Update(&s)
}

// List returns all ESP SAs of the namespace. The kernel holds the lock of its SA table while it copies them, so do not
// poll.
func (c *Conn) List() ([]State, error) {
	const op = "list SAs"
	msgs, err := c.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: msgGetSA, Flags: netlink.Request | netlink.Dump},
		Data:   appendAttribute(nil, attrProto, []byte{unix.IPPROTO_ESP}),
	})
	if err != nil {
		return nil, wrap(op, err)
	}
	states := make([]State, 0, len(msgs))
	for _, m := range msgs {
		if m.Header.Type != msgNewSA {
			continue
		}
		s, err := parseState(m.Data)
		clear(m.Data)
		if errors.Is(err, errNotESP) {
			continue
		}
		if err != nil {
			return nil, wrap(op, err)
		}
		states = append(states, s)
	}
	return states, nil
}

// DeleteMatching deletes the SAs that match wants gone and returns how many there were. One that vanishes meanwhile is
// not an error.
func (c *Conn) DeleteMatching(match func(State) bool) (int, error) {
	states, err := c.List()
	if err != nil {
		return 0, err
	}
	n := 0
	var errs []error
	for _, s := range states {
		if !match(s) {
			continue
		}
		err := c.Delete(s.ID)
		switch {
		case err == nil:
			n++
		case !errors.Is(err, os.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// marshal is struct xfrm_usersa_id.
func (id ID) marshal() []byte {
	b := make([]byte, sizeUserSAID)
	putAddress(b, id.Dst)
	network.PutUint32(b[16:], id.SPI)
	native.PutUint16(b[20:], family(id.Dst))
	b[22] = unix.IPPROTO_ESP
	return b
}

// parseID reads struct xfrm_usersa_id.
func parseID(b []byte) (ID, error) {
	dst, err := address(b, native.Uint16(b[20:]))
	if err != nil {
		return ID{}, err
	}
	if b[22] != unix.IPPROTO_ESP {
		return ID{}, errNotESP
	}
	return ID{Dst: dst, SPI: network.Uint32(b[16:])}, nil
}
