package l2tp

import (
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

func TestRequest(t *testing.T) {
	message := func(change func(*wire.Message)) []byte {
		m := wire.Message{AVPs: []wire.AVP{
			wire.SCCRQ.Value(), wire.Uint16(wire.AttrProtocolVersion, 0x0100), wire.Bytes(wire.AttrHostName, "lac"), wire.Uint16(wire.AttrAssignedTunnelID, 7),
		}}
		if change != nil {
			change(&m)
		}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		payload []byte
		want    uint16
	}{
		"SCCRQ":                        {message(nil), 7},
		"another message":              {message(func(m *wire.Message) { m.AVPs[0] = wire.HELLO.Value() }), 0},
		"for a tunnel":                 {message(func(m *wire.Message) { m.TunnelID = 9 }), 0},
		"not the first of its channel": {message(func(m *wire.Message) { m.Ns = 1 }), 0},
		"without Assigned Tunnel ID":   {message(func(m *wire.Message) { m.AVPs = m.AVPs[:3] }), 0},
		"Assigned Tunnel ID 0":         {message(func(m *wire.Message) { m.AVPs[3].Value = []byte{0, 0} }), 0},
		"no message type first":        {message(func(m *wire.Message) { m.AVPs = m.AVPs[1:] }), 0},
		"acknowledgement":              {message(func(m *wire.Message) { m.AVPs = nil }), 0},
		"truncated":                    {message(nil)[:20], 0},
		"data":                         {[]byte{0, 2, 0, 0, 0, 0, 0xff, 3}, 0},
		"nothing":                      {nil, 0},
	} {
		if got, ok := Request(c.payload); got != c.want || ok != (c.want != 0) {
			t.Errorf("%s: %d, %v, want %d", name, got, ok, c.want)
		}
	}
}
