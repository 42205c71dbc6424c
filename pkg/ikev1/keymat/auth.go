package keymat

import (
	"encoding/binary"
	"net/netip"
)

// HashI returns HASH_I of Main Mode: prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b) (RFC 2409 section 5). sai and idii are
// payload bodies, without the generic payload header; sai is the initiator's whole offer as it was received.
func HashI(h Hash, skeyid, gxi, gxr []byte, ckyI, ckyR [8]byte, sai, idii []byte) []byte {
	return prf(h, skeyid, gxi, gxr, ckyI[:], ckyR[:], sai, idii)
}

// HashR returns HASH_R of Main Mode: prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b) (RFC 2409 section 5). The arguments
// stand in the same order as for [HashI].
func HashR(h Hash, skeyid, gxi, gxr []byte, ckyI, ckyR [8]byte, sai, idir []byte) []byte {
	return prf(h, skeyid, gxr, gxi, ckyR[:], ckyI[:], sai, idir)
}

// Hash1 returns HASH(1) of Quick Mode: prf(SKEYID_a, M-ID | rest) (RFC 2409 section 5.5). rest is the message after the HASH payload,
// payload headers included, padding excluded.
func Hash1(h Hash, skeyidA []byte, messageID uint32, rest []byte) []byte {
	return prf(h, skeyidA, id(messageID), rest)
}

// Hash2 returns HASH(2) of Quick Mode: prf(SKEYID_a, M-ID | Ni_b | rest). rest is as for [Hash1].
func Hash2(h Hash, skeyidA []byte, messageID uint32, ni, rest []byte) []byte {
	return prf(h, skeyidA, id(messageID), ni, rest)
}

// Hash3 returns HASH(3) of Quick Mode: prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b).
func Hash3(h Hash, skeyidA []byte, messageID uint32, ni, nr []byte) []byte {
	return prf(h, skeyidA, []byte{0}, id(messageID), ni, nr)
}

// HashInfo returns HASH(1) of an Informational exchange: prf(SKEYID_a, M-ID | N/D) (RFC 2409 section 5.7). rest is as for [Hash1].
func HashInfo(h Hash, skeyidA []byte, messageID uint32, rest []byte) []byte {
	return Hash1(h, skeyidA, messageID, rest)
}

// NATD returns the body of a NAT-D payload: HASH(CKY-I | CKY-R | IP | Port) (RFC 3947 section 3.2). An IPv4-mapped IPv6 address is
// hashed as IPv4.
func NATD(h Hash, ckyI, ckyR [8]byte, addr netip.AddrPort) []byte {
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], addr.Port())
	return digest(h, ckyI[:], ckyR[:], addr.Addr().Unmap().AsSlice(), port[:])
}

func id(messageID uint32) []byte { return binary.BigEndian.AppendUint32(nil, messageID) }
