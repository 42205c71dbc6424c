package steering

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"
)

// event is a notification about something in a table.
func event(kind uint16, family byte, table string) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(nftablesSubsystem | kind)},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, Config{Table: table}.attribute()...),
	}
}

// committed is the end of a transaction.
func committed(t *testing.T, generation, pid uint32, process string) netlink.Message {
	t.Helper()
	b, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: attrGenID, Data: binary.BigEndian.AppendUint32(nil, generation)},
		{Type: attrGenProcessID, Data: binary.BigEndian.AppendUint32(nil, pid)},
		{Type: attrGenProcess, Data: append([]byte(process), 0)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return netlink.Message{
		Header: netlink.Header{Type: nftablesSubsystem | unix.NFT_MSG_NEWGEN},
		Data:   append([]byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0}, b...),
	}
}

// TestWait: whatever touches the table is noticed, however its transaction arrives, and nothing else is.
func TestWait(t *testing.T) {
	const ours, inet = "l2tpctl", unix.NFPROTO_INET
	gone := event(unix.NFT_MSG_DELTABLE, inet, ours)
	end := committed(t, 9, 42, "nft")
	by := Restoration{PID: 42, Process: "nft"}
	type datagram []netlink.Message
	for _, c := range []struct {
		name      string
		datagrams []datagram
		touched   bool
		by        Restoration
		err       error
	}{
		{"in one datagram", []datagram{{gone, end}}, true, by, nil},
		{"in several", []datagram{{event(unix.NFT_MSG_DELRULE, inet, ours)}, {event(unix.NFT_MSG_DELRULE, inet, "other")}, {gone}, {end}}, true, by, nil},
		{"the deadline comes before the end", []datagram{{gone}}, true, Restoration{}, os.ErrDeadlineExceeded},
		{"the deadline comes first", nil, false, Restoration{}, os.ErrDeadlineExceeded},
		{"by ourselves", []datagram{{gone}, {committed(t, 7, 1, "l2tpctl")}}, false, Restoration{}, nil},
		{"another table", []datagram{{event(unix.NFT_MSG_DELTABLE, inet, "l2tpctl2"), end}}, false, Restoration{}, nil},
		{"another family", []datagram{{event(unix.NFT_MSG_DELTABLE, unix.NFPROTO_IPV4, ours), end}}, false, Restoration{}, nil},
		{"nothing", []datagram{{end}}, false, Restoration{}, nil},
		{"too short", []datagram{{{Header: gone.Header, Data: gone.Data[:3]}, end}}, false, Restoration{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			left := c.datagrams
			g := &Guard{cfg: DefaultConfig(), own: 7, events: nltest.Dial(func([]netlink.Message) ([]netlink.Message, error) {
				if len(left) == 0 {
					return nil, os.ErrDeadlineExceeded
				}
				first := left[0]
				left = left[1:]
				return first, nil
			})}
			touched, by, err := g.wait()
			if touched != c.touched || by != c.by || !errors.Is(err, c.err) {
				t.Errorf("got %v, %+v, %v; want %v, %+v, %v", touched, by, err, c.touched, c.by, c.err)
			}
		})
	}
}
