//go:build kernel

package concentrator

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	keeping "github.com/l2tpctl/l2tpctl/internal/keeper"
	keeper "github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/udp"
)

// realMachine is this machine: a keeper of this process, and what a daemon has of it.
type realMachine struct {
	tb   testing.TB
	path string
	conn *keeper.Conn
	keeper.Inventory
	poller *udp.Poller
}

// newRealMachine runs a keeper, which gives everything back when the test has ended, and a server that knows ways to the clients of a population.
func newRealMachine(tb testing.TB) *realMachine {
	tb.Helper()
	for _, line := range []string{
		"ip link set lo up", "ip address replace " + serverAddr.Addr().String() + " dev lo", "ip route replace 198.18.0.0/15 dev lo",
	} {
		f := strings.Fields(line)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			tb.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	// Keeper and daemon, with five files for each of 16,384 slots.
	files := unix.Rlimit{Cur: 200_000, Max: 200_000}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- keeping.Run(ctx, keeping.Config{Dir: dir, Build: "bench", Log: zap.NewNop()}) }()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	namespace, err := protocol.Namespace()
	if err != nil {
		tb.Fatal(err)
	}
	return &realMachine{tb: tb, path: protocol.SocketPath(dir, namespace)}
}

// dial is what a daemon does first.
func (m *realMachine) dial() {
	m.tb.Helper()
	var err error
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if m.conn, err = keeper.Dial(context.Background(), m.path, "bench"); err == nil {
			break
		}
		if time.Since(begin) > 10*time.Second {
			m.tb.Fatal(err)
		}
	}
	if m.Inventory, err = m.conn.Setup(context.Background(), protocol.Setup{Marker: "l2tpctl-bench"}); err != nil {
		m.tb.Fatal(err)
	}
	if m.poller, err = udp.NewPoller(func(uint16, netip.AddrPort, []byte) {}); err != nil {
		m.tb.Fatal(err)
	}
}

// leave is the end of a daemon; the keeper has what it had.
func (m *realMachine) leave() {
	m.tb.Helper()
	m.Inventory.Close()
	if err := m.poller.Close(); err != nil {
		m.tb.Error(err)
	}
	if err := m.conn.Close(); err != nil {
		m.tb.Error(err)
	}
	m.conn.Welcome().Radius.Conn.Close()
}

func (m *realMachine) parts() Parts {
	return Parts{SAs: m.conn.SAs(), Tunnels: m.conn.Tunnels(), Sockets: clientSockets{m.conn.Sockets(m.poller)}, Store: m.conn}
}

// estate takes over what there is.
func (m *realMachine) estate(p *population) Estate {
	m.tb.Helper()
	e := Estate{Records: m.Records, Sockets: make(map[uint16]ClientSocket, len(m.Clients)), Processes: p.endpoints()}
	sockets := m.conn.Sockets(m.poller)
	for _, cl := range m.Clients {
		s, err := sockets.Adopt(cl)
		if err != nil {
			m.tb.Fatal(err)
		}
		e.Sockets[cl.Port] = s
	}
	m.Clients = nil
	for _, s := range m.Sessions {
		e.Sessions = append(e.Sessions, [2]uint16{s.Tunnel, s.Session})
	}
	return e
}

// BenchmarkTakeover is the way of a new daemon from its first word to the keeper to its serving clients that are connected with one session
// each, with sockets, SAs, tunnels and sessions of the kernel, without pppd.
func BenchmarkTakeover(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newRealMachine(b)
			m.dial()
			p := newPopulation(b, m.parts())
			p.serve(p.daemon())
			begin := time.Now()
			for i := range n {
				p.connect(i)
			}
			b.Logf("%d clients connected within %v", n, time.Since(begin).Round(time.Second))
			p.leave()
			p.forget()
			m.leave()
			var told, adopted, checked time.Duration
			var used time.Duration
			for b.Loop() {
				begin, before := time.Now(), cpuTime(b)
				m.dial()
				told += time.Since(begin)
				p.renew(m.parts())
				c := p.daemon()
				c.Adopt(time.Now(), m.estate(p))
				adopted += time.Since(begin)
				used += cpuTime(b) - before
				p.serve(c)
				c.Compare()
				p.settled(n)
				checked += time.Since(begin)
				b.StopTimer()
				p.leave()
				p.forget()
				m.leave()
				b.StartTimer()
			}
			for name, d := range map[string]time.Duration{"inventory-ms": told, "serving-ms": adopted, "serving-cpu-ms": used, "checked-ms": checked} {
				b.ReportMetric(d.Seconds()*1000/float64(b.N), name)
			}
		})
	}
}
