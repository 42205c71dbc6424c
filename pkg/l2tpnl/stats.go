package l2tpnl

import "github.com/mdlayher/netlink"

// Stats are the kernel's counters of a tunnel or session since its creation. They count data messages; octets include the PPP frame,
// and on receipt also the L2TP header.
type Stats struct {
	TxPackets, TxBytes, TxErrors uint64
	RxPackets, RxBytes, RxErrors uint64
	// RxSeqDiscards counts messages dropped for their sequence number or the lack of it; RxErrors counts them, too. RxOOS counts those
	// that came out of order and were put in order. Both are of sessions; a tunnel's stay zero.
	RxSeqDiscards, RxOOS uint64
	// RxInvalid counts messages with a header that no session understands (kernels since 5.12).
	RxInvalid uint64
	// RxCookieDiscards is of L2TPv3 and always zero here.
	RxCookieDiscards uint64
}

func (s *Stats) decode(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case statTxPackets:
			s.TxPackets = d.Uint64()
		case statTxBytes:
			s.TxBytes = d.Uint64()
		case statTxErrors:
			s.TxErrors = d.Uint64()
		case statRxPackets:
			s.RxPackets = d.Uint64()
		case statRxBytes:
			s.RxBytes = d.Uint64()
		case statRxErrors:
			s.RxErrors = d.Uint64()
		case statRxSeqDiscards:
			s.RxSeqDiscards = d.Uint64()
		case statRxOOSPackets:
			s.RxOOS = d.Uint64()
		case statRxInvalid:
			s.RxInvalid = d.Uint64()
		case statRxCookieDiscards:
			s.RxCookieDiscards = d.Uint64()
		}
	}
	return d.Err()
}
