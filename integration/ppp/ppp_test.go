//go:build kernel

package ppp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"golang.org/x/sys/unix"
)

const all = pppd.AuthPAP | pppd.AuthCHAP | pppd.AuthMSCHAPv2

// addresses returns our and the peer's address on an interface.
func addresses(t *testing.T, iface string) string {
	t.Helper()
	i, err := net.InterfaceByName(iface)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, " ") + " mtu " + strconv.Itoa(i.MTU)
}

// sendThrough sends a datagram of 1000 octets out of an interface, to nobody.
func sendThrough(t *testing.T, iface string) {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), iface) }), err)
	}}
	c, err := d.Dial("udp4", "10.99.99.99:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
}

func TestSession(t *testing.T) {
	before := tree(t, "/etc/ppp", "/run")
	b := newBench(t)
	for _, tt := range []struct {
		name           string
		methods        pppd.Auth
		user, password string
		client         []string
		method         aaa.Method
		address        string
	}{
		{"PAP", pppd.AuthPAP, "alice", "wonderland", nil, aaa.MethodPAP, ""},
		{"CHAP", pppd.AuthCHAP, "alice", "wonderland", nil, aaa.MethodCHAP, ""},
		{"MSCHAPv2", pppd.AuthMSCHAPv2, "alice", "wonderland", nil, aaa.MethodMSCHAPv2, ""},
		{"MSCHAPv2 with a domain", pppd.AuthMSCHAPv2, `HOME\alice`, "wonderland", nil, aaa.MethodMSCHAPv2, ""},
		{"fixed address", pppd.AuthMSCHAPv2, "bob", "builder", nil, aaa.MethodMSCHAPv2, "10.9.9.9"},
		{"MSCHAPv2 after a refusal", all, "alice", "wonderland", []string{"refuse-chap"}, aaa.MethodMSCHAPv2, ""},
		{"PAP after refusals", all, "alice", "wonderland", []string{"refuse-mschap-v2", "refuse-chap"}, aaa.MethodPAP, ""},
		{"PAP beyond ASCII", pppd.AuthPAP, "jürgen", "pässwörd", nil, aaa.MethodPAP, ""},
		{"another address asked for", all, "alice", "wonderland", []string{"172.16.0.1:", "ipcp-accept-local"}, aaa.MethodCHAP, ""},
		{"multilink, VJ and IPv6 asked for", pppd.AuthMSCHAPv2, "alice", "wonderland", []string{"mp", "+ipv6", "deflate", "15"}, aaa.MethodMSCHAPv2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			l := b.connect(tt.methods, tt.user, tt.password, tt.client...)
			got := next[aaa.Authenticated](b, l)
			if got.Method != tt.method || (tt.address != "" && got.Address.String() != tt.address) {
				t.Fatalf("told %v, want %s by %s with %s%s", got, tt.user, tt.method, tt.address, l.logs())
			}
			up := next[aaa.Started](b, l)
			if want := (aaa.Started{NASID: l.nas, User: got.User, Address: got.Address}); up != want {
				t.Fatalf("told %v, want %v%s", up, want, l.logs())
			}
			t.Logf("up %v after the start", time.Since(l.server.Started).Round(time.Millisecond))
			if got := addresses(t, l.iface); got != localIP+"/32 mtu 1400" {
				t.Errorf("%s has %s, want %s/32 mtu 1400", l.iface, got, localIP)
			}
			eventually(t, "the client's interface is up", func() (string, bool) {
				log := l.clientLog.String()
				return log, strings.Contains(log, "local  IP address "+got.Address.String()) && strings.Contains(log, "primary   DNS address 10.9.0.53")
			})
			sendThrough(t, l.iface)
			l.client.Process.Signal(os.Interrupt)
			if exit := b.ended(l); exit.Code != pppd.ExitOK && exit.Code != pppd.ExitHangup {
				t.Errorf("our pppd: %+v, want code 0 or 16%s", exit, l.logs())
			}
			if stopped, ok := b.last(l).(aaa.Stopped); !ok || stopped.TxPackets == 0 || stopped.TxBytes < 1000 {
				t.Errorf("last event %+v, want Stopped with counters%s", stopped, l.logs())
			}
			b.aaa.Close(l.nas)
			if _, err := net.InterfaceByName(l.iface); err == nil {
				t.Errorf("%s is still there", l.iface)
			}
			if strings.Contains(l.serverLog.String(), tt.password) {
				t.Errorf("the password is in our pppd's log")
			}
			if testing.Verbose() {
				t.Logf("log of our pppd:\n%s", l.serverLog)
			}
		})
	}
	b.t = t
	if s := b.aaa.Stats(); s.PoolUsed != 0 || s.Dropped != 0 {
		t.Errorf("%+v, want nothing in use and nothing dropped", s)
	}
	if after := tree(t, "/etc/ppp", "/run"); after != before {
		t.Errorf("/etc/ppp or /run changed:\n%s\nwas:\n%s", after, before)
	}
}

func TestRejected(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		name           string
		methods        pppd.Auth
		user, password string
		reason         aaa.Reason
		client         string // in the client's log
	}{
		{"PAP, wrong password", pppd.AuthPAP, "alice", "x", aaa.ReasonWrongPassword, "PAP authentication failed"},
		{"CHAP, wrong password", pppd.AuthCHAP, "alice", "x", aaa.ReasonWrongPassword, "CHAP authentication failed"},
		{"MSCHAPv2, wrong password", pppd.AuthMSCHAPv2, "alice", "x", aaa.ReasonWrongPassword, "E=691"},
		{"MSCHAPv2, unknown user", pppd.AuthMSCHAPv2, "mallory", "x", aaa.ReasonUnknownUser, "E=691"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			l := b.connect(tt.methods, tt.user, tt.password)
			if got := next[aaa.Rejected](b, l); got.Reason != tt.reason || got.User != tt.user {
				t.Fatalf("event %v, want %s%s", got, tt.reason, l.logs())
			}
			if exit := b.ended(l); exit.Code != pppd.ExitPeerAuthFailed {
				t.Errorf("our pppd: %+v, want code %d%s", exit, pppd.ExitPeerAuthFailed, l.logs())
			}
			t.Logf("ended %v after the start", time.Since(l.server.Started).Round(time.Millisecond))
			<-l.ended
			if !strings.Contains(l.clientLog.String(), tt.client) {
				t.Errorf("the client was not told %q%s", tt.client, l.logs())
			}
			b.aaa.Close(l.nas)
		})
	}
}

func TestTerminate(t *testing.T) {
	b := newBench(t)
	l := b.connect(all, "alice", "wonderland")
	next[aaa.Started](b, l)
	if err := l.server.Terminate(); err != nil {
		t.Fatal(err)
	}
	next[aaa.Stopped](b, l)
	if exit := b.ended(l); exit.Code != pppd.ExitUserRequest {
		t.Errorf("terminated: %+v, want code %d", exit, pppd.ExitUserRequest)
	}
	if err := l.server.Terminate(); err != nil {
		t.Errorf("Terminate after the end: %v", err)
	}

	l = b.connect(all, "alice", "wonderland")
	next[aaa.Started](b, l)
	_ = l.client.Process.Kill()
	start := time.Now()
	if err := l.server.Terminate(); err != nil {
		t.Fatal(err)
	}
	next[aaa.Stopped](b, l)
	b.ended(l)
	if d := time.Since(start); d >= 6*time.Second { // as with pppd's own values
		t.Errorf("hanging up on a silent peer took %v", d)
	} else {
		t.Logf("hanging up on a silent peer took %v", d)
	}

	l = b.connect(all, "alice", "wonderland")
	next[aaa.Started](b, l)
	if err := l.server.Kill(); err != nil {
		t.Fatal(err)
	}
	if exit := b.ended(l); exit.Signal.String() != "killed" {
		t.Errorf("killed: %+v", exit)
	}
}

// TestAwaitPeer shows that a client that begins late loses no time, and that one that never begins is spoken to.
func TestAwaitPeer(t *testing.T) {
	b := newBench(t)
	b.late, b.patience = 300*time.Millisecond, patience
	// What is said before the client is there is said again after a second, and makes it wait for the rest of that. On a busy machine
	// it may take as long now and then, but not every time.
	const limit = 700 * time.Millisecond
	took := patience
	for n := 0; n < 10 && took > limit; n++ {
		l := b.connect(pppd.AuthMSCHAPv2, "alice", "wonderland")
		next[aaa.Started](b, l)
		took = time.Since(l.dialled)
		t.Logf("up %v after the client began", took.Round(time.Millisecond))
		if before := l.dialled.Sub(l.server.Started); before > 0 {
			t.Fatalf("pppd was started %v before the client's", before)
		}
	}
	if took > limit {
		t.Errorf("never up within %v", limit)
	}
	b.late, b.patience = time.Millisecond, 50*time.Millisecond
	l := b.connect(pppd.AuthMSCHAPv2, "alice", "wonderland", "silent")
	next[aaa.Started](b, l)
}

// TestStrays ends what a predecessor left, and nothing else.
func TestStrays(t *testing.T) {
	b := newBench(t)
	l := b.connect(all, "alice", "wonderland")
	next[aaa.Started](b, l)
	if n, err := pppd.EndStrays(context.Background(), "l2tpctl-other"); n != 0 || err != nil {
		t.Errorf("another marker: %d strays, %v", n, err)
	}
	strays, err := pppd.FindStrays(marker)
	if err != nil || len(strays) != 1 || strays[0].PID != l.server.PID || strays[0].Marker != marker+"-"+l.iface {
		t.Fatalf("strays %v, %v, want process %d", strays, err, l.server.PID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if n, err := pppd.EndStrays(ctx, marker); n != 1 || err != nil {
		t.Errorf("%d strays, %v, want one", n, err)
	}
	b.ended(l)
}

// TestClose shows that nothing outlives the launcher.
func TestClose(t *testing.T) {
	ours, err := os.Readlink("/proc/self/ns/mnt") // of the first thread, which launchers leave alone here
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	links := []*link{b.connect(all, "alice", "wonderland"), b.connect(all, "alice", "wonderland")}
	for _, l := range links {
		next[aaa.Started](b, l)
	}
	b.close()
	for _, l := range links {
		if exit := b.ended(l); exit.Code != pppd.ExitUserRequest {
			t.Errorf("%+v, want code %d", exit, pppd.ExitUserRequest)
		}
	}
	if _, err := b.launcher.Start(pppd.Session{}); err != pppd.ErrClosed {
		t.Errorf("Start after Close: %v", err)
	}
	eventually(t, "all threads are in the mount namespace "+ours, func() (string, bool) {
		is := threads(t)
		return is, is == ours
	})
}

// threads names the mount namespaces of this process's threads.
func threads(t *testing.T) string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/task/*/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	var names []string
	for _, l := range links {
		if n, err := os.Readlink(l); err == nil && !set[n] {
			set[n] = true
			names = append(names, n)
		}
	}
	return strings.Join(names, " ")
}

// TestMany measures what a session costs.
func TestMany(t *testing.T) {
	const n = 30
	b := newBench(t)
	start := time.Now()
	var links []*link
	for range n {
		links = append(links, b.connect(all, "alice", "wonderland"))
	}
	t.Logf("%d pairs started in %v", n, time.Since(start).Round(time.Millisecond))
	seen := map[netip.Addr]bool{}
	for _, l := range links {
		e := next[aaa.Started](b, l)
		if seen[e.Address] {
			t.Errorf("%v was given twice", e.Address)
		}
		seen[e.Address] = true
	}
	t.Logf("%d pairs up after %v", n, time.Since(start).Round(time.Millisecond))
	var pss, private int
	for _, l := range links {
		p, d := memory(t, l.server.PID)
		pss, private = pss+p, private+d
	}
	t.Logf("memory of one pppd: %d kB proportional, %d kB private and dirty", pss/n, private/n)
	start = time.Now()
	b.close()
	t.Logf("all ended in %v", time.Since(start).Round(time.Millisecond))
}

// memory reads Pss and Private_Dirty in kB.
func memory(t *testing.T, pid int) (pss, dirty int) {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "Pss:":
			pss = n
		case "Private_Dirty:":
			dirty = n
		}
	}
	return pss, dirty
}
