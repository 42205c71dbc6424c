//go:build kernel

package xfrm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// suite is a pair of algorithms with what it adds to a packet.
type suite struct {
	name      string
	set       func(*State)
	iv, block int
	icv       int
}

func cbc(crypt *Crypt, auth *Auth) func(*State) {
	return func(s *State) { s.Crypt, s.Auth = crypt, auth }
}

func gcm(make func([]byte) *AEAD, octets int) func(*State) {
	return func(s *State) { s.AEAD = make(key(octets)) }
}

var suites = []suite{
	{name: "3des-sha1", set: cbc(TripleDESCBC([]byte("one key, two keys, three")), HMACSHA1(key(20))), iv: 8, block: 8, icv: 12},
	{name: "aes128-sha1", set: cbc(AESCBC(key(16)), HMACSHA1(key(20))), iv: 16, block: 16, icv: 12},
	{name: "aes192-sha256_96", set: cbc(AESCBC(key(24)), HMACSHA256Trunc96(key(32))), iv: 16, block: 16, icv: 12},
	{name: "aes256-sha256", set: cbc(AESCBC(key(32)), HMACSHA256(key(32))), iv: 16, block: 16, icv: 16},
	{name: "aes256-sha384", set: cbc(AESCBC(key(32)), HMACSHA384(key(48))), iv: 16, block: 16, icv: 24},
	{name: "aes256-sha512", set: cbc(AESCBC(key(32)), HMACSHA512(key(64))), iv: 16, block: 16, icv: 32},
	{name: "aes128gcm8", set: gcm(AESGCM8, 20), iv: 8, block: 4, icv: 8},
	{name: "aes192gcm12", set: gcm(AESGCM12, 28), iv: 8, block: 4, icv: 12},
	{name: "aes256gcm16", set: gcm(AESGCM16, 36), iv: 8, block: 4, icv: 16},
}

// length is that of an ESP packet with a UDP datagram in it (RFC 4303 section 2).
func (s suite) length(payload int) int {
	inner := (8 + payload + 2 + s.block - 1) / s.block * s.block
	return 8 + s.iv + inner + s.icv
}

var text = bytes.Repeat([]byte("no other must read this. "), 4)

// TestKernelTraffic sends through each algorithm, without and with ESN.
func TestKernelTraffic(t *testing.T) {
	for _, suite := range suites {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ESN %v", suite.name, extended), func(t *testing.T) {
				l := newLink(t)
				for _, dir := range []Direction{In, Out} {
					l.secure(dir, func(s *State) { suite.set(s); s.ESN = extended })
				}
				for i := range uint32(3) {
					sent, received := l.send(text)
					if sent == nil || *sent != (esp{i + 1, suite.length(len(text))}) || !received {
						t.Fatalf("packet %d: on the wire %+v, want length %d; received %v", i+1, sent, suite.length(len(text)), received)
					}
				}
				in, out := l.state(In), l.state(Out)
				if in.ESN != extended || out.ESN != extended || in.Sequence != (Sequence{Received: 3}) || out.Sequence != (Sequence{Sent: 3}) ||
					in.Stats.Packets != 3 || out.Stats.Packets != 3 {
					t.Errorf("after three packets the SAs are\n%+v\n%+v", in, out)
				}
			})
		}
	}
}

// TestKernelMismatch: what one side leaves out the other misses.
func TestKernelMismatch(t *testing.T) {
	for name, c := range map[string]struct{ in, out func(*State) }{
		"ICV of 96 and of 128 bits": {
			cbc(AESCBC(key(32)), HMACSHA256(key(32))), cbc(AESCBC(key(32)), HMACSHA256Trunc96(key(32))),
		},
		"ICV of 12 and of 16 octets": {gcm(AESGCM16, 36), gcm(AESGCM12, 36)},
		"ESN here and not there": {
			gcm(AESGCM16, 36), func(s *State) { gcm(AESGCM16, 36)(s); s.ESN = true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLink(t)
			l.secure(In, c.in)
			l.secure(Out, c.out)
			if sent, received := l.send(text); sent == nil || received {
				t.Errorf("on the wire %v, received %v", sent, received)
			}
			if in := l.state(In); in.Stats.IntegrityFailed != 1 {
				t.Errorf("statistics are %+v", in.Stats)
			}
		})
	}
}

// TestKernelSequenceWrap: after packet 2^32-1 there is another one with ESN, and none without.
func TestKernelSequenceWrap(t *testing.T) {
	const before = 1<<32 - 3
	for name, c := range map[string]struct {
		extended bool
		change   func(out *State)
		wire     []uint32
		end      uint64
	}{
		"32 bits": {false, nil, []uint32{1<<32 - 2, 1<<32 - 1}, 1<<32 - 1},
		"ESN":     {true, nil, []uint32{1<<32 - 2, 1<<32 - 1, 0, 1, 2}, 1<<32 + 2},
		"ESN as it is added to a kernel before 6.10": {
			true, func(out *State) { out.Direction, out.ReplayWindow = 0, 1 }, []uint32{1<<32 - 2, 1<<32 - 1, 0, 1, 2}, 1<<32 + 2,
		},
	} {
		for _, suite := range []suite{suites[0], suites[len(suites)-1]} {
			t.Run(name+" "+suite.name, func(t *testing.T) {
				l := newLink(t)
				l.secure(In, func(s *State) { suite.set(s); s.ESN, s.Sequence.Received = c.extended, before })
				l.secure(Out, func(s *State) {
					suite.set(s)
					s.ESN, s.Sequence.Sent = c.extended, before
					if c.change != nil {
						c.change(s)
					}
				})
				var wire []uint32
				got := 0
				for range 5 {
					sent, received := l.send(text)
					if sent != nil {
						wire = append(wire, sent.sequence)
					}
					if received {
						got++
					}
				}
				if !slices.Equal(wire, c.wire) || got != len(c.wire) {
					t.Errorf("sequence numbers %x on the wire, want %x; %d received", wire, c.wire, got)
				}
				if in, out := l.state(In), l.state(Out); in.Sequence.Received != c.end || out.Sequence.Sent != c.end {
					t.Errorf("at the end sent %#x, received %#x, want %#x", out.Sequence.Sent, in.Sequence.Received, uint64(c.end))
				}
				l.enter(l.src)
				if n := statistic(t, "XfrmOutStateSeqError"); n != 5-len(c.wire) {
					t.Errorf("XfrmOutStateSeqError is %d, want %d", n, 5-len(c.wire))
				}
			})
		}
	}
}

// TestKernelByteLimits: one event at the soft limit, while traffic goes on; at the hard one it ends.
func TestKernelByteLimits(t *testing.T) {
	for _, limited := range []Direction{In, Out} {
		t.Run(limited.String(), func(t *testing.T) {
			l := newLink(t)
			l.enter(map[Direction]netns.NsHandle{In: l.dst, Out: l.src}[limited])
			m, err := NewMonitor()
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			events := make(chan Event, 10)
			go func() {
				for {
					list, err := m.Receive()
					if err != nil {
						return
					}
					for _, e := range list {
						events <- e
					}
				}
			}()
			for _, dir := range []Direction{In, Out} {
				l.secure(dir, func(s *State) {
					gcm(AESGCM16, 20)(s)
					if dir == limited {
						s.Soft.Bytes, s.Hard.Bytes = 1000, 2000
					}
				})
			}
			next := func(within time.Duration) (e Event) {
				select {
				case e = <-events:
				case <-time.After(within):
				}
				return e
			}
			const moment = 200 * time.Millisecond // for an event that is not to come, or may come later
			id := ID{Dst: l.dstAddr, SPI: linkSPI}
			for range 5 { // of 108 octets each, as the SA counts them
				if _, received := l.send(text); !received {
					t.Fatal("a packet was lost before any limit")
				}
			}
			if e := next(moment); e != nil {
				t.Fatalf("%+v after %d octets", e, l.state(limited).Stats.Bytes)
			}
			soft := 0
			for range 8 { // the one that finds the limit reached gives the event
				if _, received := l.send(text); !received {
					t.Fatal("a packet was lost between the limits")
				}
				switch e := next(moment); e {
				case Expire{ID: id, ReqID: linkReqID}:
					if soft++; l.state(limited).Stats.Bytes < 1000 {
						t.Errorf("soft limit after %d octets", l.state(limited).Stats.Bytes)
					}
				case nil:
				default:
					t.Fatalf("unexpected %+v", e)
				}
			}
			if soft != 1 {
				t.Fatalf("%d events of the soft limit after %d octets, want one", soft, l.state(limited).Stats.Bytes)
			}
			received := true
			for n := 0; n < 20 && received; n++ {
				_, received = l.send(text)
			}
			if e := next(patience); received || e != (Expire{ID: id, ReqID: linkReqID, Hard: true}) {
				t.Errorf("at the hard limit: received %v, event %+v", received, e)
			}
			if _, err := l.sas[limited].Get(id); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("Get after the hard limit gave %v", err)
			}
		})
	}
}
