//go:build kernel

package ppp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// keeperEnv makes of the test binary a process that owns pppd processes and execs itself. Its value is the number of the
// descriptor with its keeperState.
const keeperEnv = "L2TPCTL_TEST_KEEPER"

func init() {
	if os.Getenv(keeperEnv) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if fd, err := strconv.Atoi(os.Getenv(keeperEnv)); err == nil {
		if err := runKeeper(fd); err != nil {
			fmt.Fprintln(os.Stderr, "keeper:", err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// keeperState goes from the test to the first image, and from each image to the next.
type keeperState struct {
	Images   int // how many there were
	Radius   pppd.Radius
	Launcher *pppd.State
	Logs     map[string][]string
	Sockets  []int // descriptors of sessions to be started
}

// file puts the state into a file without a name.
func (s keeperState) file() (*os.File, error) {
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "state")
	if err := json.NewEncoder(f).Encode(s); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, 0)
	return f, err
}

// order is what the test tells the keeper to do, a line of JSON; a reply answers it.
type order struct {
	Do      string
	Session pppd.Session
	Socket  int    // descriptor
	Name    string // interface, or program
}

type reply struct {
	Error   string
	PID     int
	Images  int
	Running map[string]int // interface: PID
	Exit    pppd.Exit
	Log     []string
	Strange []string // threads in other mount namespaces
}

type keeper struct {
	mu       sync.Mutex
	state    keeperState
	launcher *pppd.Launcher
	sockets  map[int]*os.File
	strange  []string
}

func runKeeper(fd int) error {
	f := os.NewFile(uintptr(fd), "state")
	k := &keeper{sockets: map[int]*os.File{}}
	if err := json.NewDecoder(f).Decode(&k.state); err != nil {
		return err
	}
	f.Close()
	if k.state.Logs == nil {
		k.state.Logs = map[string][]string{}
	}
	for _, fd := range k.state.Sockets {
		unix.CloseOnExec(fd)
		k.sockets[fd] = os.NewFile(uintptr(fd), "session")
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	cfg := pppd.LauncherConfig{Marker: marker, Radius: k.state.Radius, Thread: pppd.NewThread()}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go k.watchThreads(ours)
	go func() {
		defer cancel()
		ended <- k.serve(cfg)
	}()
	return errors.Join(cfg.Thread.Run(ctx), <-ended)
}

// watchThreads looks for threads but the first that are where only pppd belongs.
func (k *keeper) watchThreads(ours string) {
	for ; ; time.Sleep(time.Millisecond) {
		links, _ := filepath.Glob("/proc/self/task/*/ns/mnt")
		for _, l := range links {
			tid := strings.Split(l, "/")[4]
			if ns, err := os.Readlink(l); err == nil && ns != ours && tid != strconv.Itoa(os.Getpid()) {
				k.mu.Lock()
				k.strange = append(k.strange, tid+" "+ns)
				k.mu.Unlock()
			}
		}
		go func() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil) }() // needs a thread
	}
}

func (k *keeper) log(iface string) func(string) {
	return func(line string) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.state.Logs[iface] = append(k.state.Logs[iface], line)
	}
}

func (k *keeper) serve(cfg pppd.LauncherConfig) (err error) {
	out := json.NewEncoder(os.Stdout)
	var adopted []*pppd.Process
	if k.state.Launcher == nil {
		k.launcher, err = pppd.NewLauncher(cfg)
	} else {
		k.launcher, adopted, err = pppd.Adopt(cfg, *k.state.Launcher, func(p pppd.ProcessState) func(string) { return k.log(p.Interface) })
	}
	if err != nil {
		return errors.Join(err, out.Encode(reply{Error: err.Error()}))
	}
	// Those that have ended meanwhile are not in Processes for long. The test asks for them later.
	time.Sleep(100 * time.Millisecond)
	all := map[string]*pppd.Process{}
	for _, p := range adopted {
		all[p.Interface] = p
	}
	if err := out.Encode(reply{PID: os.Getpid(), Images: k.state.Images}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		r, err := k.obey(o, all)
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return k.launcher.Close(ctx)
}

func (k *keeper) obey(o order, all map[string]*pppd.Process) (r reply, err error) {
	switch o.Do {
	case "start":
		o.Session.Socket, o.Session.Log = k.sockets[o.Socket], k.log(o.Session.Interface)
		delete(k.sockets, o.Socket)
		p, err := k.launcher.Start(o.Session)
		if err != nil {
			return r, err
		}
		all[p.Interface] = p
		r.PID = p.PID
	case "exec":
		return r, k.launcher.Exec(func(s pppd.State) (pppd.Image, error) { return k.next(o.Name, s) })
	case "exec while killing":
		path, err := os.Executable()
		if err != nil {
			return r, err
		}
		return r, k.launcher.Exec(func(s pppd.State) (pppd.Image, error) {
			i := slices.IndexFunc(s.Processes, func(p pppd.ProcessState) bool { return p.Interface == o.Name })
			pid := s.Processes[i].PID
			err := errors.Join(unix.Kill(pid, unix.SIGKILL), unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
			select {
			case <-all[o.Name].Done():
				err = errors.Join(err, errors.New("its end was told to the image that goes"))
			case <-time.After(100 * time.Millisecond):
			}
			image, composeErr := k.next(path, s)
			return image, errors.Join(err, composeErr)
		})
	case "list":
		r.Running = map[string]int{}
		for _, p := range k.launcher.Processes() {
			r.Running[p.Interface] = p.PID
		}
		k.mu.Lock()
		r.Strange = k.strange
		k.mu.Unlock()
	case "terminate":
		return r, all[o.Name].Terminate()
	case "wait":
		r.Exit = all[o.Name].Wait()
	case "log":
		k.mu.Lock()
		r.Log = k.state.Logs[o.Name]
		k.mu.Unlock()
	default:
		return r, fmt.Errorf("order %q", o.Do)
	}
	return r, nil
}

// next makes the next image of the state.
func (k *keeper) next(path string, s pppd.State) (pppd.Image, error) {
	next := k.state
	next.Images, next.Launcher, next.Sockets = next.Images+1, &s, nil
	var inherit []syscall.Conn
	for fd, f := range k.sockets {
		next.Sockets, inherit = append(next.Sockets, fd), append(inherit, f)
	}
	f, err := next.file()
	if err != nil {
		return pppd.Image{}, err
	}
	env := []string{keeperEnv + "=" + strconv.Itoa(int(f.Fd()))}
	return pppd.Image{Path: path, Argv: []string{"keeper"}, Env: env, Inherit: append(inherit, f)}, nil
}

// localAddress is ours on every link.
var localAddress = netip.MustParseAddr(localIP)
