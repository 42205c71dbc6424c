package l2tpnl

// Numbers of linux/l2tp.h, with its names.
const (
	familyName = "l2tp"
	groupName  = "l2tp" // of notifications

	cmdTunnelCreate  = 1
	cmdTunnelDelete  = 2
	cmdTunnelModify  = 3
	cmdTunnelGet     = 4
	cmdSessionCreate = 5
	cmdSessionDelete = 6
	cmdSessionModify = 7
	cmdSessionGet    = 8

	attrPWType        = 1  // u16
	attrEncapType     = 2  // u16
	attrProtoVersion  = 7  // u8
	attrIfname        = 8  // string
	attrConnID        = 9  // u32
	attrPeerConnID    = 10 // u32
	attrSessionID     = 11 // u32
	attrPeerSessionID = 12 // u32
	attrUDPCsum       = 13 // u8, on creation set by its presence
	attrDebug         = 17 // u32
	attrRecvSeq       = 18 // u8
	attrSendSeq       = 19 // u8
	attrLNSMode       = 20 // u8
	attrUsingIPsec    = 21 // u8
	attrRecvTimeout   = 22 // u64, milliseconds
	attrFD            = 23 // u32
	attrIPSaddr       = 24 // 4 octets
	attrIPDaddr       = 25 // 4 octets
	attrUDPSport      = 26 // u16
	attrUDPDport      = 27 // u16
	attrStats         = 30 // nested
	attrIP6Saddr      = 31 // 16 octets
	attrIP6Daddr      = 32 // 16 octets
	attrZeroCsum6Tx   = 33 // flag
	attrZeroCsum6Rx   = 34 // flag

	statTxPackets        = 1 // all u64
	statTxBytes          = 2
	statTxErrors         = 3
	statRxPackets        = 4
	statRxBytes          = 5
	statRxSeqDiscards    = 6
	statRxOOSPackets     = 7
	statRxErrors         = 8
	statRxCookieDiscards = 10
	statRxInvalid        = 11

	encapTypeUDP  = 0
	pwTypePPP     = 7
	protoVersion2 = 2
)
