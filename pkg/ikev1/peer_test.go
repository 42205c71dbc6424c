package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// newPeer is a client number n without a NAT; behindNAT puts it behind one.
func newPeer(n uint64) *ikev1test.Peer {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], n)
	outer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 500)
	return ikev1test.NewPeer(outer, netip.MustParseAddrPort("203.0.113.1:500"), []byte(goodPSK), rand.NewChaCha8(seed))
}

// agree checks that the kernel of w has the SAs of q's child with the client's keys; outbound says whether that direction must be there.
func (w *world) agree(q *ikev1test.QuickMode, outbound bool) error {
	in, ok := w.inbound[q.Theirs]
	if !ok {
		return fmt.Errorf("SPI %#x of message 2 is not installed", q.Theirs)
	}
	bits, auth := uint64(0), uint64(0)
	for _, a := range q.Chosen.Transforms[0].Attributes {
		switch v, _ := a.Uint(); a.Type {
		case wire.AttrSAKeyLength:
			bits = v
		case wire.AttrAuthAlgorithm:
			auth = v
		}
	}
	check := func(sa ikev1.ChildSA, spi uint32) error {
		keyLen := int(bits / 8)
		switch sa.Encryption {
		case ikev1.AESGCM16:
			keyLen += 4
		case ikev1.TripleDES:
			keyLen = 24
		}
		// HMACSHA256_96 has the number of HMACSHA256_128.
		if uint8(sa.Encryption) != q.Chosen.Transforms[0].ID || uint64(sa.Integrity)&0xff != auth || len(sa.EncryptionKey) != keyLen ||
			len(sa.IntegrityKey) != sa.Integrity.KeyLen() {
			return fmt.Errorf("installed %v with %d octets and %v with %d, chosen was %+v", sa.Encryption, len(sa.EncryptionKey), sa.Integrity,
				len(sa.IntegrityKey), q.Chosen)
		}
		encryption, integrity := q.KeysFor(spi, len(sa.EncryptionKey), len(sa.IntegrityKey))
		if !bytes.Equal(encryption, sa.EncryptionKey) || !bytes.Equal(integrity, sa.IntegrityKey) {
			return fmt.Errorf("the keys of SPI %#x differ", spi)
		}
		if sa.SPI != spi || sa.Local != q.Server || sa.Remote != q.Addr || sa.Encapsulated != q.Encapsulated {
			return fmt.Errorf("SPI %#x is installed as %#x from %v to %v, encapsulated %v", spi, sa.SPI, sa.Local, sa.Remote, sa.Encapsulated)
		}
		return nil
	}
	if err := check(in, q.Theirs); err != nil {
		return fmt.Errorf("inbound: %w", err)
	}
	out, ok := w.outbound[in.Child]
	if !outbound {
		return nil
	}
	if !ok {
		return errors.New("the outbound SA is not installed")
	}
	if err := check(out, q.Ours); err != nil {
		return fmt.Errorf("outbound: %w", err)
	}
	return nil
}
