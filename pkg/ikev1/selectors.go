package ikev1

import (
	"bytes"
	"fmt"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

const (
	protocolUDP = 17
	portL2TP    = 1701
	portNATT    = 4500
)

// selectors checks the identities of Quick Mode message 1: what traffic the client wants to protect. It returns the payloads to
// repeat, or a complaint.
//
// Addresses are not compared with anything. A client behind a NAT names its private address, and calls a server behind one by its
// public address; what counts is that the SA is bound to the two outer addresses. Without identities these are meant.
func selectors(ids [][]byte) (echo []wire.Payload, complaint string) {
	if len(ids) == 0 {
		return nil, ""
	}
	if len(ids) > 2 {
		return nil, fmt.Sprintf("%d identities where 2 belong", len(ids))
	}
	for i, body := range ids {
		if len(ids) == 1 {
			i = 1 // behind a NAT Windows XP leaves its own out
		}
		id, err := wire.ParseID(body)
		if err != nil {
			return nil, err.Error()
		}
		who := [...]string{"client's", "server's"}[i]
		// Windows XP names itself by its host name (KB818043).
		if id.Kind != wire.IDIPv4Addr && id.Kind != wire.IDIPv6Addr && (i == 1 || id.Kind != wire.IDFQDN) {
			return nil, fmt.Sprintf("the %s identity is of type %d, not an address", who, id.Kind)
		}
		if id.Protocol != protocolUDP {
			return nil, fmt.Sprintf("the %s identity is for IP protocol %d, not UDP", who, id.Protocol)
		}
		if i == 1 && id.Port != portL2TP && id.Port != 0 {
			return nil, fmt.Sprintf("the server's identity is for UDP port %d, not 1701", id.Port)
		}
		echo = append(echo, wire.Raw{Kind: wire.PayloadID, Body: bytes.Clone(body)})
	}
	return echo, ""
}

// cloneSA returns a copy that refers to no received octets.
func cloneSA(sa *wire.SA) *wire.SA {
	c, err := wire.ParseSA(sa.AppendBody(nil))
	if err != nil {
		return sa // cannot be: it is made of what was parsed
	}
	return c
}
