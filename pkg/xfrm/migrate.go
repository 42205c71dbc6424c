package xfrm

import (
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var loopback6 = netip.IPv6Loopback()

// canMigrate asks the kernel once whether it has XFRM_MSG_MIGRATE_STATE: one that has looks for the SA, which cannot be there, since
// nobody has one of a reserved SPI.
func (c *Conn) canMigrate() bool {
	if !c.asked {
		nobody := State{ID: ID{Dst: loopback6, SPI: 1}, Src: loopback6}
		err := c.migrate(&nobody, &nobody)
		c.asked, c.migrates = true, errors.Is(err, unix.ESRCH)
	}
	return c.migrates
}

// migrate moves an SA, with all its state, to where after is. What is not in the request stays; what is taken away has to be.
func (c *Conn) migrate(before, after *State) error {
	_, err := c.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: msgMigrateState, Flags: netlink.Request | netlink.Acknowledge},
		Data:   migration(before, after),
	})
	return wrap("migrate SA "+before.ID.String(), err)
}

// migration is struct xfrm_user_migrate_state with the attributes that change.
func migration(before, after *State) []byte {
	b := make([]byte, sizeMigrateState)
	copy(b, before.ID.marshal())
	putAddress(b[offMigrateDst:], after.Dst)
	putAddress(b[offMigrateSrc:], after.Src)
	after.Selector.put(b[offMigrateSelector:], family(after.Dst))
	native.PutUint32(b[offMigrateReqID:], after.ReqID)
	native.PutUint16(b[offMigrateFamily:], family(after.Dst))
	switch {
	case after.Encap != nil:
		b = after.Encap.append(b)
	case before.Encap != nil:
		b = appendAttribute(b, attrEncap, make([]byte, sizeEncapTmpl)) // type 0 takes it away
	}
	return b
}
