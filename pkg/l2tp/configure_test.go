package l2tp

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// A tunnel keeps what it began with; the next one has the new configuration.
func TestConfigure(t *testing.T) {
	b := newBench(t, Config{HostName: "old", HelloInterval: 20 * time.Second, MaxSessionsPerTunnel: 2})
	b.establish()
	b.call()
	if err := b.e.Configure(Config{HostName: "new", HelloInterval: time.Hour, MaxSessionsPerTunnel: 1}); err != nil {
		t.Fatal(err)
	}
	b.sayControl(4, 2, wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, 77))
	b.wantMessage("the second of two sessions", wire.ICRP, 2, 5)
	b.sayControl(5, 3)
	b.wait(21 * time.Second)
	b.wantMessage("the old interval of HELLO", wire.HELLO, 3, 5)
	b.take(b.e.Forget(b.now, slotA))
	b.events, b.sent = nil, nil

	b.say(wire.Message{AVPs: clients[0].sccrq})
	m := b.wantMessage("a new tunnel", wire.SCCRP, 0, 1)
	if name := string(m.Decode(nil).HostName); name != "new" {
		t.Errorf("host name %q", name)
	}
}

func TestConfigureWithFaults(t *testing.T) {
	b := newBench(t, Config{HostName: "old"})
	if err := b.e.Configure(Config{HostName: "new", Retries: 1000}); err == nil {
		t.Fatal("accepted 1000 retries")
	}
	b.say(wire.Message{AVPs: clients[0].sccrq})
	m := b.wantMessage("a tunnel", wire.SCCRP, 0, 1)
	if name := string(m.Decode(nil).HostName); name != "old" {
		t.Errorf("host name %q: half a configuration counts", name)
	}
}
