package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Multicast groups, enum xfrm_nlgroups. ACQUIRE (1) is left out on purpose: with a listener the kernel makes a larval SA
// for each destination that has a policy and no SA.
const (
	groupExpire  = 2
	groupSA      = 3
	groupMapping = 8
)

// ErrOverrun says that the kernel dropped events because they were not read in time: compare with List.
var ErrOverrun = errors.New("XFRM events were lost")

// Event is Expire, Mapping, Deleted or Flushed.
type Event interface{ event() }

// Expire tells that an SA has reached a limit of State.Soft, or of State.Hard, and then the kernel has deleted it.
type Expire struct {
	ID    ID
	ReqID uint32
	Hard  bool
}

// Mapping tells that authentic ESP of an encapsulated inbound SA came from another address or port than the SA has: a
// NAT has changed its mapping. The kernel goes on to accept; the outbound SA must be changed by us.
type Mapping struct {
	ID       ID
	ReqID    uint32
	Old, New netip.AddrPort
}

// Deleted tells that somebody, who may be ourselves, has deleted an SA.
type Deleted struct {
	ID    ID
	ReqID uint32
}

// Flushed tells that somebody has deleted all SAs of the namespace, or all of one protocol, which may be another than ESP.
type Flushed struct{}

func (Expire) event()  {}
func (Mapping) event() {}
func (Deleted) event() {}
func (Flushed) event() {}

// Monitor receives events of all SAs in a network namespace.
type Monitor struct {
	nl     *netlink.Conn
	lost   bool // events, and ErrOverrun is still to be returned
	closed atomic.Bool
}

// NewMonitor joins the EXPIRE, SA and MAPPING groups in the network namespace of the calling thread.
func NewMonitor() (*Monitor, error) {
	nl, err := netlink.Dial(unix.NETLINK_XFRM, nil)
	if err != nil {
		return nil, wrap("open XFRM netlink", err)
	}
	for _, group := range []uint32{groupExpire, groupSA, groupMapping} {
		if err := nl.JoinGroup(group); err != nil {
			_ = nl.Close()
			return nil, wrap(fmt.Sprintf("join XFRM group %d", group), err)
		}
	}
	// A rekey of many clients expires many SAs at once. Best effort: rmem_max may be lower.
	_ = nl.SetReadBuffer(4 << 20)
	return &Monitor{nl: nl}, nil
}

// Receive waits for events. ErrOverrun comes after the events that were not lost, is not final, and whatever happens from then
// on is told again; any other error is final. Close makes it return os.ErrClosed. It is for one goroutine.
func (m *Monitor) Receive() ([]Event, error) {
	for {
		// After an overrun the kernel drops everything, and says so only once, until nothing waits any more: whoever compared
		// before would miss what happens between the comparison and the last old event.
		if m.lost && !waiting(m.nl) {
			m.lost = false
			return nil, fmt.Errorf("receive XFRM events: %w", ErrOverrun)
		}
		msgs, err := m.nl.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			m.lost = true
			continue
		}
		if err != nil && m.closed.Load() {
			return nil, fmt.Errorf("receive XFRM events: %w", os.ErrClosed) // the error of a closing descriptor has no name
		}
		if err != nil {
			return nil, wrap("receive XFRM events", err)
		}
		var events []Event
		for _, msg := range msgs {
			// What cannot be read is of another protocol or family and none of our business.
			if e, err := parseEvent(msg.Header.Type, msg.Data); err == nil && e != nil {
				events = append(events, e)
			}
			clear(msg.Data) // what tells of an SA carries its keys
		}
		if len(events) > 0 {
			return events, nil
		}
	}
}

// Close ends the Monitor and a waiting Receive.
func (m *Monitor) Close() error {
	m.closed.Store(true)
	return m.nl.Close()
}

// parseEvent returns nil without an error for messages that are no events.
func parseEvent(kind netlink.HeaderType, b []byte) (Event, error) {
	switch kind {
	case msgExpire:
		if len(b) < sizeUserExpire {
			return nil, fmt.Errorf("EXPIRE of %d octets is shorter than %d", len(b), sizeUserExpire)
		}
		s, err := parseInfo(b)
		if err != nil {
			return nil, fmt.Errorf("EXPIRE: %w", err)
		}
		return Expire{ID: s.ID, ReqID: s.ReqID, Hard: b[sizeUserSAInfo] != 0}, nil
	case msgMapping:
		return parseMapping(b)
	case msgDelSA:
		return parseDeleted(b)
	case msgFlushSA:
		return Flushed{}, nil
	}
	return nil, nil
}

// parseDeleted reads struct xfrm_usersa_id, and the SA itself in an attribute.
func parseDeleted(b []byte) (Event, error) {
	if len(b) < sizeUserSAID {
		return nil, fmt.Errorf("DELSA of %d octets is shorter than %d", len(b), sizeUserSAID)
	}
	id, err := parseID(b)
	if err != nil {
		return nil, fmt.Errorf("DELSA: %w", err)
	}
	d := Deleted{ID: id}
	err = eachAttribute(b[sizeUserSAID:], func(kind uint16, data []byte) error {
		if kind != attrSA {
			return nil
		}
		if len(data) < sizeUserSAInfo {
			return fmt.Errorf("SA of %d octets is shorter than %d", len(data), sizeUserSAInfo)
		}
		d.ReqID = native.Uint32(data[offSAReqID:])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("DELSA: %w", err)
	}
	return d, nil
}

func parseMapping(b []byte) (Event, error) {
	if len(b) < sizeUserMapping {
		return nil, fmt.Errorf("MAPPING of %d octets is shorter than %d", len(b), sizeUserMapping)
	}
	id, err := parseID(b)
	if err != nil {
		return nil, fmt.Errorf("MAPPING: %w", err)
	}
	// The family is known to be good after parseID.
	before, _ := address(b[28:], family(id.Dst))
	after, _ := address(b[44:], family(id.Dst))
	return Mapping{
		ID: id, ReqID: native.Uint32(b[24:]),
		Old: netip.AddrPortFrom(before, network.Uint16(b[60:])),
		New: netip.AddrPortFrom(after, network.Uint16(b[62:])),
	}, nil
}

// waiting tells whether something can be read without waiting for it.
func waiting(nl *netlink.Conn) bool {
	raw, err := nl.SyscallConn()
	if err != nil {
		return false
	}
	fds := []unix.PollFd{{Events: unix.POLLIN}}
	err = raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		for {
			if _, err := unix.Poll(fds, 0); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return err == nil && fds[0].Revents&unix.POLLIN != 0
}
