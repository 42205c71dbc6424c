package l2tpnl

import (
	"fmt"
	"math"
	"time"

	"github.com/mdlayher/netlink"
)

// Session is a PPP session of an L2TPv2 tunnel.
type Session struct {
	// TunnelID and ID are the local ids, which the peer puts into its headers; ID is 1 to 65535 and unique in its tunnel.
	TunnelID, ID uint32
	// PeerID is the peer's session id, which goes into our headers; 1 to 65535.
	PeerID uint32
	// LNSMode lets this side decide whether data messages carry sequence numbers. SendSeq and RecvSeq ask for them on sending and
	// demand them on receipt; best left off.
	LNSMode, SendSeq, RecvSeq bool
	// ReorderTimeout is how long an out-of-order message is kept, in whole milliseconds; zero drops it. Only with sequence numbers.
	ReorderTimeout time.Duration

	// What follows comes from the kernel and is ignored by CreateSession.

	PeerTunnelID uint32
	Interface    string // empty for PPP sessions, whose interfaces PPP makes
	UsingIPsec   bool   // the tunnel's socket carries IPsec policies
	Stats        Stats
}

// CreateSession creates a session of an existing tunnel. Opening its PPPoL2TP socket with [OpenSession] joins it to PPP, and would
// also have created it.
//
// Errors: [os.ErrExist] if the id is taken, [os.ErrNotExist] if there is no such tunnel. A failure leaves no session behind.
func (c *Conn) CreateSession(s Session) error {
	if err := checkID("session", s.ID); err != nil {
		return fmt.Errorf("creating an L2TP session: %w", err)
	}
	if err := checkID("peer's session", s.PeerID); err != nil {
		return fmt.Errorf("creating L2TP session %d/%d: %w", s.TunnelID, s.ID, err)
	}
	err := c.change(cmdSessionCreate, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, s.TunnelID)
		e.Uint32(attrSessionID, s.ID)
		e.Uint32(attrPeerSessionID, s.PeerID)
		e.Uint16(attrPWType, pwTypePPP)
		if s.RecvSeq {
			e.Uint8(attrRecvSeq, 1)
		}
		if s.SendSeq {
			e.Uint8(attrSendSeq, 1)
		}
		if s.LNSMode {
			e.Uint8(attrLNSMode, 1)
		}
		if s.ReorderTimeout > 0 {
			e.Uint64(attrRecvTimeout, uint64(s.ReorderTimeout.Milliseconds()))
		}
	})
	if err == nil {
		return nil
	}
	if halfDone(err) {
		if got, getErr := c.Session(s.TunnelID, s.ID); getErr == nil && got.PeerID == s.PeerID {
			_ = c.DeleteSession(s.TunnelID, s.ID)
		}
	}
	return fmt.Errorf("creating L2TP session %d/%d (peer's %d): %w", s.TunnelID, s.ID, s.PeerID, err)
}

// DeleteSession deletes a session. The kernel finishes the work after the call has returned; a pppd that uses the session hears
// nothing of it. The error is [os.ErrNotExist] if there is no such session.
func (c *Conn) DeleteSession(tunnelID, id uint32) error {
	err := c.change(cmdSessionDelete, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, tunnelID)
		e.Uint32(attrSessionID, id)
	})
	if err != nil {
		return fmt.Errorf("deleting L2TP session %d/%d: %w", tunnelID, id, err)
	}
	return nil
}

// Session returns one session with its counters. The error is [os.ErrNotExist] if there is no such session.
func (c *Conn) Session(tunnelID, id uint32) (Session, error) {
	data, err := c.get(cmdSessionGet, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, tunnelID)
		e.Uint32(attrSessionID, id)
	})
	if err != nil {
		return Session{}, fmt.Errorf("asking for L2TP session %d/%d: %w", tunnelID, id, err)
	}
	s, _, err := decodeSession(data)
	return s, err
}

// Sessions returns every PPP session of the network namespace, whoever made it, with its counters.
func (c *Conn) Sessions() ([]Session, error) {
	messages, err := c.dump(cmdSessionGet)
	if err != nil {
		return nil, fmt.Errorf("listing L2TP sessions: %w", err)
	}
	sessions := make([]Session, 0, len(messages))
	for _, m := range messages {
		s, ppp, err := decodeSession(m.Data)
		if err != nil {
			return nil, err
		}
		if ppp {
			sessions = append(sessions, s)
		}
	}
	return sessions, nil
}

// decodeSession reports false for pseudowires other than PPP.
func decodeSession(data []byte) (s Session, ppp bool, err error) {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return Session{}, false, fmt.Errorf("decoding an L2TP session: %w", err)
	}
	for d.Next() {
		switch d.Type() {
		case attrConnID:
			s.TunnelID = d.Uint32()
		case attrPeerConnID:
			s.PeerTunnelID = d.Uint32()
		case attrSessionID:
			s.ID = d.Uint32()
		case attrPeerSessionID:
			s.PeerID = d.Uint32()
		case attrPWType:
			ppp = d.Uint16() == pwTypePPP
		case attrIfname:
			s.Interface = d.String()
		case attrRecvSeq:
			s.RecvSeq = d.Uint8() != 0
		case attrSendSeq:
			s.SendSeq = d.Uint8() != 0
		case attrLNSMode:
			s.LNSMode = d.Uint8() != 0
		case attrUsingIPsec:
			s.UsingIPsec = d.Uint8() != 0
		case attrRecvTimeout:
			s.ReorderTimeout = time.Duration(min(d.Uint64(), math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
		case attrStats:
			d.Nested(s.Stats.decode)
		}
	}
	if err := d.Err(); err != nil {
		return Session{}, false, fmt.Errorf("decoding an L2TP session: %w", err)
	}
	return s, ppp, nil
}
