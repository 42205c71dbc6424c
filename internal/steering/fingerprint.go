package steering

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes of linux/netfilter/nf_tables.h that the libraries do not name. The first attribute of every object is its table.
const (
	attrTable         = 1
	attrTableFlags    = 2
	attrGenID         = 1
	attrGenProcessID  = 2
	attrGenProcess    = 3
	sizeNFGenMsg      = 4 // struct nfgenmsg
	nftablesSubsystem = unix.NFNL_SUBSYS_NFTABLES << 8
)

// A fingerprint stands for everything in the table that decides what becomes of a packet. Handles, counts and uses are not in it.
type fingerprint [sha256.Size]byte

// kinds are what a table consists of, and the attributes of each that matter.
var kinds = []struct {
	request    uint16
	attributes []uint16
}{
	{unix.NFT_MSG_GETTABLE, []uint16{attrTable, attrTableFlags}},
	{unix.NFT_MSG_GETCHAIN, []uint16{unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HOOK, unix.NFTA_CHAIN_POLICY, unix.NFTA_CHAIN_TYPE}},
	{unix.NFT_MSG_GETRULE, []uint16{unix.NFTA_RULE_CHAIN, unix.NFTA_RULE_EXPRESSIONS}},
	{unix.NFT_MSG_GETOBJ, []uint16{unix.NFTA_OBJ_NAME, unix.NFTA_OBJ_TYPE}},
	{unix.NFT_MSG_GETSET, []uint16{unix.NFTA_SET_NAME}},
}

// readFingerprint asks the kernel for the whole table, again if somebody changes nftables meanwhile; EINTR if that never stops.
func (c Config) readFingerprint() (f fingerprint, err error) {
	const attempts = 10
	for range attempts {
		if f, err = c.dump(); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return f, err
}

func (c Config) dump() (fingerprint, error) {
	sum := sha256.New()
	for _, k := range kinds {
		replies, err := ask(k.request, netlink.Request|netlink.Dump, c.attribute())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fingerprint{}, fmt.Errorf("read nftables table inet %s: %w", c.Table, err)
		}
		for _, m := range replies {
			if m.Header.Flags&netlink.DumpInterrupted != 0 {
				return fingerprint{}, fmt.Errorf("read nftables table inet %s: %w", c.Table, unix.EINTR)
			}
			if c.concerns(m) {
				digest(sum, k.request, m.Data[sizeNFGenMsg:], k.attributes)
			}
		}
	}
	return fingerprint(sum.Sum(nil)), nil
}

// digest adds an object to a sum: its kind, and those attributes that matter, each with its length.
func digest(sum hash.Hash, kind uint16, data []byte, wanted []uint16) {
	head := func(kind uint16, n int) {
		sum.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, kind), uint32(n)))
	}
	head(kind, len(wanted))
	for _, w := range wanted {
		value := attribute(data, w)
		head(w, len(value))
		sum.Write(value)
	}
}

// generation is the number of the latest transaction of the namespace.
func generation() (uint32, error) {
	replies, err := ask(unix.NFT_MSG_GETGEN, netlink.Request, nil)
	if err != nil {
		return 0, fmt.Errorf("read the generation of nftables: %w", err)
	}
	for _, m := range replies {
		if len(m.Data) < sizeNFGenMsg {
			continue
		}
		if id := attribute(m.Data[sizeNFGenMsg:], attrGenID); len(id) == 4 {
			return binary.BigEndian.Uint32(id), nil
		}
	}
	return 0, errors.New("read the generation of nftables: the kernel does not tell it")
}

// ask sends one request of the nftables subsystem for family inet.
func ask(request uint16, flags netlink.HeaderFlags, attributes []byte) ([]netlink.Message, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(nftablesSubsystem | request), Flags: flags},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attributes...),
	})
}

// attribute is the table's name as the first attribute of a request. It fits: names are short.
func (c Config) attribute() []byte {
	name := append([]byte(c.Table), 0)
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(name)))
	b = binary.NativeEndian.AppendUint16(b, attrTable)
	return append(append(b, name...), make([]byte, -len(name)&3)...)
}

// concerns reports whether a message is about our table or something in it.
func (c Config) concerns(m netlink.Message) bool {
	return len(m.Data) >= sizeNFGenMsg && m.Data[0] == unix.NFPROTO_INET &&
		bytes.Equal(bytes.TrimRight(attribute(m.Data[sizeNFGenMsg:], attrTable), "\x00"), []byte(c.Table))
}

// attribute returns the value of a netlink attribute, nil if there is none.
func attribute(b []byte, kind uint16) []byte {
	for len(b) >= 4 {
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return b[4:length]
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}
