package ikev1

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

func TestNoticedLifetime(t *testing.T) {
	const esp, isakmp = wire.ProtocolESP, wire.ProtocolISAKMP
	spi := []byte{1, 2, 3, 4}
	attributes := func(list ...wire.Attribute) []byte { return wire.AppendAttributes(nil, list...) }
	short, long := wire.ShortAttribute, wire.LongAttribute
	for _, c := range []struct {
		name     string
		protocol wire.Protocol
		spi      []byte
		data     []byte
		want     time.Duration
	}{
		{"seconds", esp, spi, attributes(short(1, 1), long(2, 3600)), time.Hour},
		{"in the short form", esp, spi, attributes(short(1, 1), short(2, 3600)), time.Hour},
		{"and kilobytes", esp, spi, attributes(short(1, 2), long(2, 5000), short(1, 1), long(2, 7200)), 2 * time.Hour},
		{"only kilobytes", esp, spi, attributes(short(1, 2), long(2, 5000)), 0},
		{"without an SPI", esp, nil, attributes(short(1, 1), long(2, 3600)), time.Hour},
		{"of another SPI", esp, []byte{1, 2, 3, 5}, attributes(short(1, 1), long(2, 3600)), 0},
		{"of another protocol", isakmp, spi, attributes(short(1, 1), long(2, 3600)), 0},
		{"less than a minute", esp, spi, attributes(short(1, 1), long(2, 5)), time.Minute},
		{"zero", esp, spi, attributes(short(1, 1), long(2, 0)), 0},
		{"an attribute that does not matter", esp, spi, attributes(short(6, 256), short(1, 1), long(2, 3600), short(11, 9)), time.Hour},
		{"a duration without a type", esp, spi, attributes(long(2, 3600)), 0},
		{"two durations", esp, spi, attributes(short(1, 1), long(2, 3600), long(2, 60)), 0},
		{"a type that there is not", esp, spi, attributes(short(1, 3), long(2, 3600)), 0},
		{"cut short", esp, spi, attributes(short(1, 1), long(2, 3600))[:11], 0},
		{"nothing", esp, spi, nil, 0},
	} {
		list := []wire.Notification{
			{Protocol: esp, Kind: wire.NotifyInitialContact, SPI: spi, Data: attributes(short(1, 1), long(2, 100))},
			{Protocol: c.protocol, Kind: wire.NotifyResponderLifetime, SPI: c.spi, Data: c.data},
		}
		if got := noticedLifetime(list, esp, spi); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for _, numbers := range [][2]uint16{{11, 12}, {1, 2}} {
		list := []wire.Notification{{Protocol: isakmp, Kind: wire.NotifyResponderLifetime, Data: attributes(short(numbers[0], 1), long(numbers[1], 3600))}}
		if got := noticedLifetime(list, isakmp, make([]byte, 16)); got != time.Hour {
			t.Errorf("phase 1 with attributes %v: %v", numbers, got)
		}
	}
}
