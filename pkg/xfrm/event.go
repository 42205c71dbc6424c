package xfrm

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

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

// parseEvents takes what one read of the socket has given. What cannot be read is of another protocol or family and none of our business.
func parseEvents(b []byte) []Event {
	defer clear(b) // what tells of an SA carries its keys
	var events []Event
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(native.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			break
		}
		kind := netlink.HeaderType(native.Uint16(b[4:]))
		if e, err := parseEvent(kind, b[unix.NLMSG_HDRLEN:length]); err == nil && e != nil {
			events = append(events, e)
		}
		b = b[min((length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return events
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
		ID: id, ReqID: native.Uint32(b[offMappingReqID:]),
		Old: netip.AddrPortFrom(before, network.Uint16(b[60:])),
		New: netip.AddrPortFrom(after, network.Uint16(b[62:])),
	}, nil
}
