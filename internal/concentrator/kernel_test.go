//go:build kernel

package concentrator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
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

// keeperVariable makes the test binary a keeper in that directory.
const keeperVariable = "L2TPCTL_TEST_KEEPER"

func init() {
	if os.Getenv(keeperVariable) != "" {
		runtime.LockOSThread() // a keeper needs the first thread
	}
}

func TestMain(m *testing.M) {
	dir := os.Getenv(keeperVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := manyFiles(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	err := keeping.Run(ctx, keeping.Config{Dir: dir, Build: "bench", Log: zap.NewNop()})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// manyFiles lets this process have three files for each of 16,384 slots, and some more.
func manyFiles() error {
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100_000, Max: 100_000})
}

// realMachine is this machine: a keeper in a process of its own, and what a daemon has of it.
type realMachine struct {
	tb   testing.TB
	path string
	pid  int // of the keeper
	conn *keeper.Conn
	keeper.Inventory
	poller *udp.Poller
	times  map[string][]time.Duration // of operations
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
	if err := manyFiles(); err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), keeperVariable+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(unix.SIGTERM), cmd.Wait()); err != nil {
			tb.Error(err)
		}
	})
	namespace, err := protocol.Namespace()
	if err != nil {
		tb.Fatal(err)
	}
	return &realMachine{tb: tb, path: protocol.SocketPath(dir, namespace), pid: cmd.Process.Pid, times: make(map[string][]time.Duration)}
}

// dial is what a daemon does first.
func (m *realMachine) dial() {
	m.tb.Helper()
	var err error
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if m.conn, err = keeper.Dial(context.Background(), m.path, "bench"); err == nil {
			break
		}
		if time.Since(begin) > time.Minute { // a busy machine has to get round to the keeper
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

// die is the end of a daemon with a population: its copies of sockets are closed with it.
func (m *realMachine) die(p *population) {
	m.tb.Helper()
	p.leave()
	p.forget()
	m.leave()
	for _, cl := range p.c.clients {
		_ = cl.socket.Close() // the keeper does not hear of it
	}
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
	for _, n := range []int{1000, 5000} { // in a user-mode kernel one process cannot have the memory for more: each page is a mapping of the machine's
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
			m.die(p)
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
				m.die(p)
				b.StartTimer()
			}
			for name, d := range map[string]time.Duration{"inventory-ms": told, "serving-ms": adopted, "serving-cpu-ms": used, "checked-ms": checked} {
				b.ReportMetric(d.Seconds()*1000/float64(b.N), name)
			}
		})
	}
}
