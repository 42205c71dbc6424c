package xfrm

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Message types of linux/xfrm.h that this package sends or understands.
const (
	msgNewSA   = 0x10
	msgDelSA   = 0x11
	msgGetSA   = 0x12
	msgExpire  = 0x18
	msgUpdSA   = 0x1a
	msgFlushSA = 0x1c
	msgMapping = 0x26

	msgMigrateState = 0x29 // Linux 7.2
)

// Attribute types, enum xfrm_attr_type_t.
const (
	attrAlgCrypt     = 2
	attrEncap        = 4
	attrSA           = 6
	attrLifetime     = 9
	attrReplay       = 10
	attrAlgAEAD      = 18
	attrAlgAuthTrunc = 20
	attrReplayESN    = 23
	attrProto        = 25
	attrOffloadDev   = 28
	attrSetMark      = 29
	attrSetMarkMask  = 30
	attrMTimerThresh = 32
	attrSADir        = 33 // Linux 6.10; older kernels ignore it
)

// Sizes in octets of the fixed structures on 64-bit kernels.
const (
	sizeAddress        = 16
	sizeSelector       = 56
	sizeID             = 24
	sizeLifetimeCfg    = 64
	sizeUserSAInfo     = 224
	sizeUserSAID       = 24
	sizeUserExpire     = 232
	sizeUserMapping    = 64
	sizeUserPolicyInfo = 168
	sizeUserTmpl       = 64
	sizeEncapTmpl      = 24
	sizeReplayESN      = 24 // without the bitmap
	sizeReplay         = 12
	sizeAlgName        = 64
	sizeOffload        = 8
	sizeLifetimeCur    = 32
	sizeMigrateState   = 132
)

// Offsets in struct xfrm_usersa_info.
const (
	offSAID         = sizeSelector
	offSASrc        = offSAID + sizeID
	offSALifetime   = offSASrc + sizeAddress
	offSACurrent    = offSALifetime + sizeLifetimeCfg
	offSAStats      = offSACurrent + 32
	offSAReqID      = 208
	offMappingReqID = 24 // in struct xfrm_user_mapping
	offSAFamily     = 212
	offSAMode       = 214
	offSAReplay     = 215
	offSAFlags      = 216
)

// Offsets in struct xfrm_user_migrate_state.
const (
	offMigrateDst      = sizeUserSAID
	offMigrateSrc      = offMigrateDst + sizeAddress
	offMigrateSelector = offMigrateSrc + sizeAddress + 8 // after the mark, which is zero as that of every SA of ours
	offMigrateReqID    = offMigrateSelector + sizeSelector
	offMigrateFamily   = offMigrateReqID + 8
)

// flagESN is XFRM_STATE_ESN.
const flagESN = 128

var (
	native  = binary.NativeEndian
	network = binary.BigEndian
)

// infinite is XFRM_INF. Zero would mean "expired at once".
const infinite = ^uint64(0)

// family gives AF_INET or AF_INET6 for an address.
func family(a netip.Addr) uint16 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// putAddress writes an xfrm_address_t; b holds zeros before. The zero Addr stays zero.
func putAddress(b []byte, a netip.Addr) {
	if a.IsValid() {
		copy(b[:sizeAddress], a.AsSlice())
	}
}

// address reads an xfrm_address_t of the given family.
func address(b []byte, family uint16) (netip.Addr, error) {
	switch family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[:4])), nil
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(b[:16])), nil
	}
	return netip.Addr{}, fmt.Errorf("address family %d is neither IPv4 nor IPv6", family)
}

// appendAttribute appends one netlink attribute, padded to four octets.
func appendAttribute(b []byte, kind uint16, data []byte) []byte {
	b = native.AppendUint16(b, uint16(4+len(data)))
	b = native.AppendUint16(b, kind)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendAttributeUint32(b []byte, kind uint16, v uint32) []byte {
	return appendAttribute(b, kind, native.AppendUint32(nil, v))
}
