package ikev1

import (
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestIdentitiesOfAnswer: behind a NAT a peer may name the addresses that it sees, but no other traffic.
func TestIdentitiesOfAnswer(t *testing.T) {
	id := func(addr string, protocol uint8, port uint16) wire.ID {
		return wire.AddrID(netip.MustParseAddr(addr), protocol, port)
	}
	ours := []wire.Payload{id("10.0.0.10", 17, 1701), id("192.0.2.1", 17, 1701)}
	for name, c := range map[string]struct {
		answer         []wire.ID
		direct, behind bool // a NAT
	}{
		"none":             {nil, true, true},
		"the same":         {[]wire.ID{id("10.0.0.10", 17, 1701), id("192.0.2.1", 17, 1701)}, true, true},
		"as the peer sees": {[]wire.ID{id("192.0.2.2", 17, 1701), id("192.0.2.1", 17, 1701)}, false, true},
		"another port":     {[]wire.ID{id("10.0.0.10", 17, 1702), id("192.0.2.1", 17, 1701)}, false, false},
		"any port":         {[]wire.ID{id("10.0.0.10", 17, 1701), id("192.0.2.1", 17, 0)}, false, false},
		"another protocol": {[]wire.ID{id("10.0.0.10", 6, 1701), id("192.0.2.1", 17, 1701)}, false, false},
		"another family":   {[]wire.ID{id("10.0.0.10", 17, 1701), id("2001:db8::1", 17, 1701)}, false, false},
		"a network": {[]wire.ID{id("10.0.0.10", 17, 1701),
			{Kind: wire.IDIPv4Subnet, Protocol: 17, Port: 1701, Data: make([]byte, 8)}}, false, false},
		"one": {[]wire.ID{id("10.0.0.10", 17, 1701)}, false, false},
	} {
		var answer [][]byte
		for _, one := range c.answer {
			answer = append(answer, one.AppendBody(nil))
		}
		if repeats(answer, ours, false) != c.direct || repeats(answer, ours, true) != c.behind {
			t.Errorf("%s: accepted directly: %v, behind a NAT: %v", name, !c.direct, !c.behind)
		}
	}
	if repeats([][]byte{{1}, {1, 2}}, ours, true) {
		t.Error("what cannot be read is accepted")
	}
}
