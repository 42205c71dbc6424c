package l2tp

import (
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/scenarios with what the engine does")

// TestScenarios plays testdata/scenarios/*.txt. A line is a comment (#) or a command; what the engine does follows, indented:
//
//	recv TUNNEL/SESSION NS NR KIND [name=value]...   a message of the peer; KIND may be ZLB
//	raw HEX                                          any datagram
//	from ADDRESS:PORT                                the source of what follows
//	done, fail                                       the oldest action that was asked for has succeeded, failed
//	wait DURATION                                    time passes
//	close-tunnel CODE, close-session ID CODE, forget, shutdown, tunnels
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(old), func(*bench) {})
			if got == string(old) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			oldLines, gotLines := strings.Split(string(old), "\n"), strings.Split(got, "\n")
			for i := range min(len(oldLines), len(gotLines)) {
				if oldLines[i] != gotLines[i] {
					t.Fatalf("%s:%d differs (-update rewrites it)\nwant %s\ngot  %s", file, i+1, oldLines[i], gotLines[i])
				}
			}
			t.Fatalf("%s: %d lines, want %d", file, len(gotLines), len(oldLines))
		})
	}
}

// TestScenariosWithRestarts plays the same with a new engine, made of the records, after each line: the peer must notice nothing.
func TestScenariosWithRestarts(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), play(t, string(want), func(b *bench) {
				if !b.waitsForTurn() {
					b.restart()
				}
			})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// play returns the script with what the engine does. It calls after when a line is done.
func play(t testing.TB, script string, after func(*bench)) string {
	b := newBench(t, Config{})
	b.manual = true
	var out strings.Builder
	asked := 0
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // an earlier result
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		before := asked - len(b.pending)
		if strings.Fields(line)[0] == "done" || strings.Fields(line)[0] == "fail" {
			before++
		}
		perform(t, b, line, &out)
		for _, a := range b.pending[max(asked-before, 0):] {
			fmt.Fprintf(&out, "    do    %v\n", a)
			asked++
		}
		for len(b.sent) > 0 {
			d := b.sent[0]
			b.sent = b.sent[1:]
			m, err := wire.Parse(d.Payload)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "    send  %s\n", describe(m))
		}
		for _, e := range b.events {
			fmt.Fprintf(&out, "    event %v\n", e)
		}
		b.events = nil
		asked -= len(b.pending)
		after(b)
		asked += len(b.pending)
	}
	return out.String()
}

func perform(t testing.TB, b *bench, line string, out *strings.Builder) {
	t.Helper()
	words := strings.Fields(line)
	number := func(i int) uint16 {
		if i >= len(words) {
			t.Fatalf("%s: too short", line)
		}
		n, err := strconv.ParseUint(words[i], 0, 16)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return uint16(n)
	}
	switch words[0] {
	case "recv":
		b.say(parseMessage(t, words[1:]))
	case "raw":
		payload, err := hex.DecodeString(strings.Join(words[1:], ""))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		b.sayRaw(payload)
	case "from":
		b.remote = netip.MustParseAddrPort(words[1])
	case "done":
		b.complete(nil)
	case "fail":
		b.complete(errKernel)
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		b.wait(d)
	case "close-tunnel":
		b.take(b.e.CloseTunnel(b.now, slotA, Result{Code: number(1)}))
	case "close-session":
		b.take(b.e.CloseSession(b.now, slotA, number(1), Result{Code: number(2)}))
	case "forget":
		b.take(b.e.Forget(b.now, slotA))
	case "shutdown":
		b.take(b.e.Shutdown(b.now))
	case "tunnels":
		for _, info := range b.e.Tunnels() {
			fmt.Fprintf(out, "    tunnel %d peer %d %v %s %q\n", info.Tunnel, info.PeerTunnel, info.Remote, info.State, info.HostName)
			for _, c := range info.Sessions {
				fmt.Fprintf(out, "    session %d peer %d %s\n", c.Session, c.PeerSession, c.State)
			}
		}
	default:
		t.Fatalf("%s: unknown command", line)
	}
}

// parseMessage reads TUNNEL/SESSION NS NR KIND and AVPs, which are name=text, name=number or VENDOR:TYPE=hex; a ? before the = clears
// the M bit.
func parseMessage(t testing.TB, words []string) wire.Message {
	t.Helper()
	var m wire.Message
	if _, err := fmt.Sscanf(strings.Join(words[:3], " "), "%d/%d %d %d", &m.TunnelID, &m.SessionID, &m.Ns, &m.Nr); err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	if words[3] == "ZLB" {
		return m
	}
	kind := wire.MessageType(0)
	for kind.String() != words[3] {
		if kind++; kind > 100 {
			t.Fatalf("unknown message %s", words[3])
		}
	}
	m.AVPs = append(m.AVPs, kind.Value())
	for _, word := range words[4:] {
		m.AVPs = append(m.AVPs, parseAVP(t, word))
	}
	return m
}

func parseAVP(t testing.TB, word string) wire.AVP {
	t.Helper()
	name, value, _ := strings.Cut(word, "=")
	name, optional := strings.CutSuffix(name, "?")
	n, _ := strconv.ParseUint(value, 0, 32)
	var a wire.AVP
	switch name {
	case "version":
		a = wire.Uint16(wire.AttrProtocolVersion, uint16(n))
	case "framing-caps":
		a = wire.Uint32(wire.AttrFramingCaps, uint32(n))
	case "bearer-caps":
		a = wire.Uint32(wire.AttrBearerCaps, uint32(n))
	case "firmware":
		a = wire.Uint16(wire.AttrFirmwareRevision, uint16(n))
	case "host":
		a = wire.Bytes(wire.AttrHostName, value)
	case "vendor":
		a = wire.Bytes(wire.AttrVendorName, value)
	case "tunnel":
		a = wire.Uint16(wire.AttrAssignedTunnelID, uint16(n))
	case "window":
		a = wire.Uint16(wire.AttrReceiveWindow, uint16(n))
	case "session":
		a = wire.Uint16(wire.AttrAssignedSessionID, uint16(n))
	case "serial":
		a = wire.Uint32(wire.AttrCallSerial, uint32(n))
	case "tx-speed":
		a = wire.Uint32(wire.AttrTxConnectSpeed, uint32(n))
	case "framing":
		a = wire.Uint32(wire.AttrFramingType, uint32(n))
	default:
		v, err := hex.DecodeString(value)
		if err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		a = wire.AVP{Mandatory: true, Value: v}
		if _, err := fmt.Sscanf(name, "%d:%d", &a.Vendor, &a.Type); err != nil {
			t.Fatalf("%s: %v", word, err)
		}
	}
	if optional {
		a = a.Optional()
	}
	return a
}
