package ikev1_test

import (
	"fmt"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// TestNATTraversalDrafts: a client that does not know RFC 3947 goes by the best draft that it knows, with the numbers of that.
func TestNATTraversalDrafts(t *testing.T) {
	d02, d02n, d03 := ikev1test.VendorNATT02, ikev1test.VendorNATT02n, ikev1test.VendorNATT03
	for _, c := range []struct {
		name    string
		offered [][]byte
		want    []byte
	}{
		{"Windows XP", [][]byte{ikev1test.VendorFragmentation, d02n}, d02n},
		{"02", [][]byte{d02}, d02},
		{"03 before 02", [][]byte{d02, d02n, d03}, d03},
		{"RFC 3947 before all", [][]byte{d03, d02n, ikev1test.VendorRFC3947}, ikev1test.VendorRFC3947},
		{"00 is another protocol", [][]byte{ikev1test.VendorNATT00}, nil},
		{"08 and the one without a number count for nothing alone", [][]byte{ikev1test.VendorNATT08, ikev1test.VendorNATTDraft}, nil},
	} {
		for i, p := range []*ikev1test.Peer{newPeer(1), newPeer(2).BehindNAT(500, 4500), serverBehindNAT(newPeer(3)), newPeer(4)} {
			name := fmt.Sprintf("%s, %d", c.name, i)
			w := newWorld(t, func(c *ikev1.Config) { c.ForceEncapsulation = i == 3 })
			p.VendorIDs, p.Forced = c.offered, i == 3
			m := w.connect(p)
			want(t, string(m.NATTraversal()), string(c.want), name)
			q := w.quick(m, 1)
			want(t, w.client().Encapsulated, c.want != nil && i != 0, name)
			want(t, len(q.NATOA) != 0, p.Encapsulated, name)
			w.hangUp(m, q)
			w.empty(name)
		}
	}
}
