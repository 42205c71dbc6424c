package l2tp

import "github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"

// Request reads an SCCRQ that no slot is known for yet: the tunnel id that the peer has assigned, by which, with its address and port, an owner
// tells the tunnels of one peer apart. It is false for any other message, and for an SCCRQ that an Engine would drop as DropBadSetup.
func Request(payload []byte) (assigned uint16, ok bool) {
	m, err := wire.Parse(payload)
	if err != nil {
		return 0, false
	}
	kind, _, ok := m.Type()
	b := m.Decode(nil)
	if !ok || kind != wire.SCCRQ || m.TunnelID != 0 || m.Ns != 0 || b.AssignedTunnelID == 0 {
		return 0, false
	}
	return b.AssignedTunnelID, true
}
