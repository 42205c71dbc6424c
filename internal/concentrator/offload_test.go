package concentrator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/egress"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// auto is offload: auto.
func auto(_ *bench, opt *Options) { opt.Offload = offloadModes["auto"] }

// takes is a device that knows one mode.
func takes(mode xfrm.OffloadMode) func(*xfrm.State) (xfrm.Offload, error) {
	return func(st *xfrm.State) (xfrm.Offload, error) {
		if st.Offload.Mode != mode {
			return xfrm.Offload{}, unsupported
		}
		return st.Offload, nil
	}
}

func (b *bench) wantAsked(why string, want ...string) {
	b.t.Helper()
	if got := b.m.requests(); !slices.Equal(got, want) {
		b.t.Errorf("%s: the device was asked for %q, want %q", why, got, want)
	}
}

// wantPlaces checks where the SAs of a station are: on the machine, and in what the daemon says of them.
func (b *bench) wantPlaces(why string, s *station, in, out, tunnel string) {
	b.t.Helper()
	port := uint16(0)
	b.on(func() { port = uint16(b.clientOf(s).port) })
	sas := b.sas(s)
	for direction, want := range map[xfrm.Direction]string{xfrm.In: in, xfrm.Out: out} {
		if got := describeOffload(sas[direction].Offload, b.m.Name); got != want {
			b.t.Errorf("%s: the SA %s is in %q, want %q", why, direction, got, want)
		}
	}
	rows, err := b.c.API().SAs(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, row := range rows {
		if want := map[string]string{"in": in, "out": out}[row.Direction]; row.TunnelID == port && row.SPI == spi(sas[xfrm.In].SPI) && row.Offload != want {
			b.t.Errorf("%s: the SA %s is shown in %q, want %q", why, row.Direction, row.Offload, want)
		}
	}
	tunnels, err := b.c.API().Tunnels(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	sessions, err := b.c.API().Sessions(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	shown := []string{}
	for _, row := range tunnels {
		if row.ID == port {
			shown = append(shown, row.Offload)
		}
	}
	for _, row := range sessions {
		if row.TunnelID == port {
			shown = append(shown, row.Offload)
		}
	}
	if !slices.Equal(shown, []string{tunnel, tunnel}) {
		b.t.Errorf("%s: tunnel and session are shown with %q, want %q", why, shown, tunnel)
	}
}

func (b *bench) wantOffloads(why string, want control.OffloadStats) {
	b.t.Helper()
	st, err := b.c.API().Stats(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if st.Offload != want {
		b.t.Errorf("%s: the counters are %+v, want %+v", why, st.Offload, want)
	}
}

// A device that has crypto mode gets the SAs that are not encapsulated, and is not asked again for what it has refused.
func TestOffloadCrypto(t *testing.T) {
	play(t, 80, func(t *testing.T, b *bench) {
		b.m.nic = takes(xfrm.OffloadCrypto)
		first := b.connected(2)
		b.wantAsked("first client", "crypto in", "packet out", "crypto out")
		b.wantPlaces("first client", first, "eth2/crypto", "eth2/crypto", "eth2/crypto")
		b.wantOffloads("first client", control.OffloadStats{Crypto: 2, Refused: 1})
		second := b.connected(4)
		b.wantAsked("packet mode is remembered", "crypto in", "crypto out")
		b.wantPlaces("second client", second, "eth2/crypto", "eth2/crypto", "eth2/crypto")

		natted := b.connected(3)
		b.wantAsked("in UDP only packet mode can be of use", "packet out")
		b.wantPlaces("client behind a NAT", natted, "", "", "")
		b.wantOffloads("three clients", control.OffloadStats{Crypto: 4, Software: 2, Refused: 2})
		natted.rekey()
		time.Sleep(time.Second)
		b.wantAsked("nothing is left to ask for")

		time.Sleep(refusedFor - time.Minute)
		first.rekey()
		time.Sleep(2 * time.Minute)
		b.m.requests()
		first.rekey()
		time.Sleep(time.Second)
		b.wantAsked("after an hour, but packet mode could not be proved beside the old SA", "crypto in", "crypto out")
		b.connected(6)
		b.wantAsked("after an hour", "crypto in", "packet out", "crypto out")
	}, auto)
}

// A kernel that does not find SAs in packet mode must not be left with one.
func TestOffloadPacket(t *testing.T) {
	for _, finds := range []bool{false, true} {
		t.Run(fmt.Sprintf("found %v", finds), func(t *testing.T) {
			play(t, 81, func(t *testing.T, b *bench) {
				b.m.findsPacket = finds
				b.m.nic = func(st *xfrm.State) (xfrm.Offload, error) { return st.Offload, nil }
				s := b.connected(2)
				if !finds {
					b.wantAsked("not found", "crypto in", "packet out", "crypto out")
					b.wantPlaces("not found", s, "eth2/crypto", "eth2/crypto", "eth2/crypto")
					b.wantOffloads("not found", control.OffloadStats{Crypto: 2, Refused: 1})
					b.connected(4)
					b.wantAsked("remembered", "crypto in", "crypto out")
					return
				}
				b.wantPlaces("found", s, "eth2/crypto", "eth2/packet", "in:eth2/crypto out:eth2/packet")
				b.wantOffloads("found", control.OffloadStats{Crypto: 1, Packet: 1})
				natted := b.connected(1)
				b.wantPlaces("in UDP", natted, "", "eth2/packet", "out:eth2/packet")
				b.m.requests()
				s.rekey()
				time.Sleep(time.Second)
				b.wantAsked("proved before", "crypto in", "packet out")

				b.m.way = func(netip.Addr) int { return 3 }
				s.wantTold("before the packets go another way", 0)
				b.c.HandleRoutes(egress.Change{All: true})
				time.Sleep(time.Second)
				s.wantTold("the kernel drops what does not leave by the device of its SA, of both pairs", 2)
			}, auto)
		})
	}
}

// A device without room is left alone for a while, for everything; one that knows nothing of ESP, for an hour.
func TestOffloadNoRoom(t *testing.T) {
	play(t, 82, func(t *testing.T, b *bench) {
		room := 1
		b.m.nic = func(st *xfrm.State) (xfrm.Offload, error) {
			if room--; room < 0 {
				return xfrm.Offload{}, &xfrm.Error{Op: "add SA", Message: "sim: full", Err: unix.ENOSPC}
			}
			return st.Offload, nil
		}
		s := b.connected(2)
		b.wantAsked("first client", "crypto in", "crypto out")
		b.wantPlaces("first client", s, "eth2/crypto", "", "in:eth2/crypto")
		b.connected(4)
		b.wantAsked("full")
		time.Sleep(fullFor)
		room = 2
		third := b.connected(6)
		b.wantAsked("a minute later", "crypto in", "crypto out")
		b.wantPlaces("third client", third, "eth2/crypto", "eth2/crypto", "eth2/crypto")

		b.m.way = func(netip.Addr) int { return 3 }
		b.m.nic = func(*xfrm.State) (xfrm.Offload, error) { return xfrm.Offload{}, nil }
		fourth := b.connected(8)
		b.wantAsked("a device without ESP", "crypto in", "crypto out")
		b.wantPlaces("a device without ESP", fourth, "", "", "")
		b.connected(10)
		b.wantAsked("it is remembered")
	}, func(_ *bench, opt *Options) { opt.Offload = offloadModes["crypto"] })
}

// What fails in software as well is not the device's fault.
func TestOffloadNotToBlame(t *testing.T) {
	play(t, 83, func(t *testing.T, b *bench) {
		failing := true
		b.m.nic = func(st *xfrm.State) (xfrm.Offload, error) {
			if failing {
				return xfrm.Offload{}, errors.New("out of luck")
			}
			return st.Offload, nil
		}
		b.m.refuse(func(operation string) bool { return operation == "add in" })
		s := b.station(2)
		s.dial()
		time.Sleep(time.Minute)
		if len(b.m.requests()) == 0 {
			t.Fatal("the device was not asked")
		}
		b.wantOffloads("all fails", control.OffloadStats{})
		b.m.refuse(nil)
		failing = false
		s.dial()
		b.until("the client is connected", func() bool { return s.up(1) })
		b.wantPlaces("all works", s, "eth2/crypto", "eth2/crypto", "eth2/crypto")
	}, func(_ *bench, opt *Options) { opt.Offload = offloadModes["crypto"] })
}

// Without a route, and with offload off, all is done in software.
func TestOffloadOff(t *testing.T) {
	for name, adjust := range map[string]func(*bench, *Options){
		"off":      func(b *bench, opt *Options) { opt.Offload = offloadModes["off"] },
		"no route": func(b *bench, opt *Options) { auto(b, opt); b.m.way = func(netip.Addr) int { return 0 } },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, 84, func(t *testing.T, b *bench) {
				b.m.nic = takes(xfrm.OffloadCrypto)
				s := b.connected(2)
				b.wantAsked(name)
				b.wantPlaces(name, s, "", "", "")
				b.c.HandleRoutes(egress.Change{All: true, Down: map[int]bool{2: true}})
				b.wantOffloads(name, control.OffloadStats{Software: 2})
			}, adjust)
		})
	}
}

// When the packets of a client go another way, nothing is taken from it, and its next SAs are where they leave then.
func TestOffloadRouteChange(t *testing.T) {
	play(t, 85, func(t *testing.T, b *bench) {
		b.m.nic = takes(xfrm.OffloadCrypto)
		s, other := b.connected(2), b.connected(4)
		b.m.way = func(remote netip.Addr) int {
			if remote == s.home.Addr.Addr() {
				return 3
			}
			return 2
		}
		b.c.HandleRoutes(egress.Change{Nets: map[netip.Prefix]bool{netip.MustParsePrefix("192.0.2.0/24"): true}})
		b.wantOffloads("a route to others", control.OffloadStats{Crypto: 4, Refused: 1})
		b.c.HandleRoutes(egress.Change{Nets: map[netip.Prefix]bool{netip.MustParsePrefix("198.51.100.0/24"): true}})
		time.Sleep(time.Second)
		b.wantOffloads("a route to it", control.OffloadStats{Crypto: 4, Refused: 1, Moved: 1})
		s.wantTold("a route to it", 0)
		b.c.HandleRoutes(egress.Change{All: true})
		b.wantOffloads("nothing new", control.OffloadStats{Crypto: 4, Refused: 1, Moved: 1})
		s.rekey()
		time.Sleep(time.Second)
		b.wantPlaces("after a rekey", s, "eth3/crypto", "eth3/crypto", "eth3/crypto")
		b.wantPlaces("the other", other, "eth2/crypto", "eth2/crypto", "eth2/crypto")
	}, auto)
}

// SAs go with their device. Nobody knows how far they had counted, so their client is told, and negotiates others.
func TestOffloadDeviceDown(t *testing.T) {
	play(t, 86, func(t *testing.T, b *bench) {
		b.m.nic = takes(xfrm.OffloadCrypto)
		s, natted := b.connected(2), b.connected(1)
		b.c.HandleRoutes(egress.Change{Down: map[int]bool{7: true}})
		time.Sleep(time.Second)
		b.m.down(2)
		b.m.way = func(netip.Addr) int { return 3 }
		b.c.HandleRoutes(egress.Change{All: true, Down: map[int]bool{2: true}})
		time.Sleep(time.Second)
		s.wantTold("its SAs are gone", 1)
		b.wantOffloads("its SAs are gone", control.OffloadStats{Software: 2, Refused: 2, Lost: 2})
		natted.wantTold("its SAs were in software", 0)
		s.rekey()
		time.Sleep(time.Second)
		b.wantPlaces("the new SAs", s, "eth3/crypto", "eth3/crypto", "eth3/crypto")
		time.Sleep(3 * time.Minute)
		b.want("nothing else has changed", counts{sas: 4, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2})
	}, auto)
}

// What is remembered of devices is bounded, and forgotten with the device.
func TestRefusalsAreBounded(t *testing.T) {
	now := time.Unix(1700000000, 0)
	o := newOffloads()
	for i := range 3 * maxRefusals {
		o.refuse(now, demand{device: i, mode: xfrm.OffloadCrypto, cipher: "aes128"}, unix.EINVAL)
		if len(o.refused) > maxRefusals {
			t.Fatalf("%d refusals are remembered", len(o.refused))
		}
	}
	last := demand{device: 3*maxRefusals - 1, mode: xfrm.OffloadCrypto, cipher: "aes128"}
	if !o.refuses(now, last) || o.refuses(now.Add(refusedFor), last) {
		t.Error("the last refusal is not remembered for its time")
	}
	o.forget(last.device)
	if o.refuses(now, last) {
		t.Error("the refusal of a device that is gone is remembered")
	}
}
