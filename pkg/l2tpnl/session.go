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
	// LNSMode makes this side, and not the peer, decide whether data messages carry sequence numbers (RFC 2661 section 5.4). Without
	// it, SendSeq follows what the peer sends.
	LNSMode bool
	// SendSeq numbers what is sent; in LNSMode it also drops what comes without numbers. RecvSeq drops what comes without numbers. Both
	// are best left off: no client wants them for PPP, and kernels up to 7.3.3 may damage a message that is sent while SendSeq changes.
	SendSeq, RecvSeq bool
	// ReorderTimeout is how long a message that came too early waits for those before it: 0 to MaxReorderTimeout, rounded up to
	// milliseconds. After it the message is dropped, not delivered, as soon as another one comes. Zero drops what is out of order at
	// once. Only for messages with sequence numbers.
	ReorderTimeout time.Duration
	Debug          DebugFlags

	// What follows comes from the kernel and is ignored by CreateSession.

	PeerTunnelID uint32
	Interface    string // empty for PPP sessions, whose interfaces PPP makes
	UsingIPsec   bool   // the tunnel's socket carries IPsec policies
	Stats        Stats
}

// CreateSession creates a session of an existing tunnel. Opening its PPPoL2TP socket with [OpenSession] joins it to PPP, and would
// also have created it.
//
// Errors: [os.ErrExist] if the id is taken, [os.ErrNotExist] if there is no such tunnel, EPROTONOSUPPORT without the module l2tp_ppp. A
// failure leaves no session behind.
func (c *Conn) CreateSession(s Session) error {
	if err := checkID("session", s.ID); err != nil {
		return fmt.Errorf("creating an L2TP session: %w", err)
	}
	if err := checkID("peer's session", s.PeerID); err != nil {
		return fmt.Errorf("creating L2TP session %d/%d: %w", s.TunnelID, s.ID, err)
	}
	if err := checkReorderTimeout(s.ReorderTimeout); err != nil {
		return fmt.Errorf("creating L2TP session %d/%d: %w", s.TunnelID, s.ID, err)
	}
	err := c.change(cmdSessionCreate, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, s.TunnelID)
		e.Uint32(attrSessionID, s.ID)
		e.Uint32(attrPeerSessionID, s.PeerID)
		e.Uint16(attrPWType, pwTypePPP)
		var o Options
		if s.LNSMode {
			o.LNSMode = &s.LNSMode
		}
		if s.SendSeq {
			o.SendSeq = &s.SendSeq
		}
		if s.RecvSeq {
			o.RecvSeq = &s.RecvSeq
		}
		if s.ReorderTimeout != 0 {
			o.ReorderTimeout = &s.ReorderTimeout
		}
		if s.Debug != 0 {
			o.Debug = &s.Debug
		}
		o.encode(e)
	})
	if err == nil {
		return nil
	}
	if halfDone(err) {
		if got, getErr := c.Session(s.TunnelID, s.ID); getErr == nil && got.PeerID == s.PeerID {
			_ = c.DeleteSession(s.TunnelID, s.ID)
		}
	}
	return wrap(fmt.Sprintf("creating L2TP session %d/%d (peer's %d)", s.TunnelID, s.ID, s.PeerID), err)
}

// ModifySession changes options of a session while it is in use. The error is [os.ErrNotExist] if there is no such session.
func (c *Conn) ModifySession(tunnelID, id uint32, o Options) error {
	op := fmt.Sprintf("modifying L2TP session %d/%d", tunnelID, id)
	if err := o.check(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return wrap(op, c.change(cmdSessionModify, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, tunnelID)
		e.Uint32(attrSessionID, id)
		o.encode(e)
	}))
}

// DeleteSession deletes a session. The kernel finishes the work after the call has returned; a pppd that uses the session hears
// nothing of it. The error is [os.ErrNotExist] if there is no such session.
func (c *Conn) DeleteSession(tunnelID, id uint32) error {
	err := c.change(cmdSessionDelete, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, tunnelID)
		e.Uint32(attrSessionID, id)
	})
	return wrap(fmt.Sprintf("deleting L2TP session %d/%d", tunnelID, id), err)
}

// Session returns one session with its counters. The error is [os.ErrNotExist] if there is no such session.
func (c *Conn) Session(tunnelID, id uint32) (Session, error) {
	data, err := c.get(cmdSessionGet, func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, tunnelID)
		e.Uint32(attrSessionID, id)
	})
	if err != nil {
		return Session{}, wrap(fmt.Sprintf("asking for L2TP session %d/%d", tunnelID, id), err)
	}
	s, _, err := decodeSession(data)
	return s, err
}

// Sessions returns every PPP session of the network namespace, whoever made it, with its counters.
func (c *Conn) Sessions() ([]Session, error) {
	messages, err := c.dump(cmdSessionGet)
	if err != nil {
		return nil, wrap("listing L2TP sessions", err)
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
		case attrDebug:
			s.Debug = DebugFlags(d.Uint32())
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
