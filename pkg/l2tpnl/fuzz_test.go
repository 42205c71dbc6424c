package l2tpnl

import (
	"testing"
	"time"

	"github.com/mdlayher/netlink"
)

// encodeStats is the inverse of Stats.decode.
func encodeStats(s Stats) func(*netlink.AttributeEncoder) error {
	return func(e *netlink.AttributeEncoder) error {
		for kind, value := range map[uint16]uint64{
			statTxPackets: s.TxPackets, statTxBytes: s.TxBytes, statTxErrors: s.TxErrors,
			statRxPackets: s.RxPackets, statRxBytes: s.RxBytes, statRxErrors: s.RxErrors,
			statRxSeqDiscards: s.RxSeqDiscards, statRxOOSPackets: s.RxOOS, statRxInvalid: s.RxInvalid, statRxCookieDiscards: s.RxCookieDiscards,
		} {
			e.Uint64(kind, value)
		}
		return nil
	}
}

// FuzzTunnel checks that what decodes as a tunnel is the same after encoding it as the kernel would.
func FuzzTunnel(f *testing.F) {
	seed := func(fn func(*netlink.AttributeEncoder)) {
		e := netlink.NewAttributeEncoder()
		fn(e)
		b, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, 16384)
		e.Uint32(attrPeerConnID, 7)
		e.Uint8(attrProtoVersion, protoVersion2)
		e.Uint16(attrEncapType, encapTypeUDP)
		e.Bytes(attrIPSaddr, []byte{192, 0, 2, 1})
		e.Bytes(attrIPDaddr, []byte{192, 0, 2, 2})
		e.Uint16(attrUDPSport, 16384)
		e.Uint16(attrUDPDport, 1701)
		e.Nested(attrStats, encodeStats(Stats{TxPackets: 1, RxBytes: 2}))
	})
	seed(func(e *netlink.AttributeEncoder) {
		e.Uint8(attrProtoVersion, 3)
		e.Bytes(attrIP6Saddr, make([]byte, 16))
		e.Bytes(attrIPDaddr, []byte{1, 2, 3})
		e.Flag(attrZeroCsum6Tx, true)
		e.Nested(attrStats, func(e *netlink.AttributeEncoder) error { e.Uint16(statTxPackets, 1); return nil })
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		first, v2, err := decodeTunnel(data)
		if err != nil {
			return
		}
		if first.FD != -1 {
			t.Errorf("a descriptor from nowhere: %d", first.FD)
		}
		version := uint8(3)
		if v2 {
			version = protoVersion2
		}
		again, v2Again, err := decodeTunnel(encode(t, func(e *netlink.AttributeEncoder) {
			e.Uint32(attrConnID, first.ID)
			e.Uint32(attrPeerConnID, first.PeerID)
			e.Uint8(attrProtoVersion, version)
			e.Uint16(attrEncapType, encapTypeUDP)
			if a := first.Local.Addr(); a.IsValid() {
				e.Bytes(attrIPSaddr, a.AsSlice())
			}
			if a := first.Remote.Addr(); a.IsValid() {
				e.Bytes(attrIPDaddr, a.AsSlice())
			}
			e.Uint8(attrUDPCsum, octet(!first.NoChecksum))
			e.Uint16(attrUDPSport, first.Local.Port())
			e.Uint16(attrUDPDport, first.Remote.Port())
			e.Nested(attrStats, encodeStats(first.Stats))
		}))
		if err != nil || v2 != v2Again || first != again {
			t.Errorf("decoded %+v (version 2: %v), then %+v (%v), %v", first, v2, again, v2Again, err)
		}
	})
}

// FuzzSession is FuzzTunnel for sessions.
func FuzzSession(f *testing.F) {
	seed := func(s Session) []byte {
		e := netlink.NewAttributeEncoder()
		encodeSession(e, s, true)
		b, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	full := seed(Session{TunnelID: 16384, ID: 3, PeerID: 9, PeerTunnelID: 7, Interface: "l2t16384-1", LNSMode: true, SendSeq: true,
		UsingIPsec: true, ReorderTimeout: time.Second, Debug: DebugData, Stats: Stats{RxPackets: 5}})
	f.Add(full)
	f.Add(full[:len(full)-3])
	f.Add(seed(Session{}))
	f.Add(seed(Session{ReorderTimeout: -1 * time.Millisecond})) // all bits set
	f.Fuzz(func(t *testing.T, data []byte) {
		first, ppp, err := decodeSession(data)
		if err != nil {
			return
		}
		again, pppAgain, err := decodeSession(encode(t, func(e *netlink.AttributeEncoder) { encodeSession(e, first, ppp) }))
		if err != nil || ppp != pppAgain || first != again {
			t.Errorf("decoded %+v (PPP: %v), then %+v (%v), %v", first, ppp, again, pppAgain, err)
		}
	})
}

// encodeSession is the inverse of decodeSession.
func encodeSession(e *netlink.AttributeEncoder, s Session, ppp bool) {
	flag := func(kind uint16, set bool) {
		if set {
			e.Uint8(kind, 1)
		}
	}
	e.Uint32(attrConnID, s.TunnelID)
	e.Uint32(attrPeerConnID, s.PeerTunnelID)
	e.Uint32(attrSessionID, s.ID)
	e.Uint32(attrPeerSessionID, s.PeerID)
	if ppp {
		e.Uint16(attrPWType, pwTypePPP)
	}
	e.String(attrIfname, s.Interface)
	flag(attrRecvSeq, s.RecvSeq)
	flag(attrSendSeq, s.SendSeq)
	flag(attrLNSMode, s.LNSMode)
	flag(attrUsingIPsec, s.UsingIPsec)
	e.Uint32(attrDebug, uint32(s.Debug))
	e.Uint64(attrRecvTimeout, uint64(s.ReorderTimeout/time.Millisecond))
	e.Nested(attrStats, encodeStats(s.Stats))
}
