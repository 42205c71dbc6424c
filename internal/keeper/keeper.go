package keeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/confine"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

const (
	// DefaultLinger is how long a keeper waits for a daemon before it ends everything.
	DefaultLinger = 5 * time.Minute
	// stopWait is how long a daemon may take to say goodbye to its clients when the keeper is told to end.
	stopWait = 20 * time.Second
)

// Config says what a keeper is to be.
type Config struct {
	// Dir has the socket and the lock; protocol.Dir if empty.
	Dir string
	// Linger is how long the keeper waits for a daemon before it ends everything; 0 is for ever.
	Linger time.Duration
	// ForServe: it was started by a daemon, which ends it when it ends itself.
	ForServe bool
	// Build is our version.
	Build string
	Log   *zap.Logger

	// Thread is the process's first, which runs it; nil for a keeper that does not become another program.
	Thread *pppd.Thread
	// Upgrades makes the keeper become Program.
	Upgrades chan os.Signal
	Program  Program
	// State is the descriptor that Program.Resume named, in a process that was another keeper before; otherwise 0.
	State int
}

// Keeper holds what outlives the daemon.
type Keeper struct {
	cfg    Config
	log    *zap.Logger
	path   string
	lock   *lock
	socket *net.UnixListener
	radius *os.File
	secret string
	store  store
	held   shelf

	helloWait time.Duration // how long somebody who has connected may take to say hello

	presence chan struct{} // something about daemon has changed
	shutdown chan struct{} // closed when the daemon wants the end
	asked    sync.Once     // closes shutdown
	down     chan struct{} // closed when everything was given back

	setup sync.Mutex   // held while there is a setup
	door  sync.RWMutex // held for writing while nobody may become the daemon

	mu       sync.Mutex // guards what follows
	daemon   *connection
	machine  *machine // nil before the first setup
	stopping bool
	using    sync.WaitGroup // what is being done to the machine; nothing is begun while stopping

	resumed *connection // of a daemon that the program before has served
}

// Run keeps until ctx ends, a daemon asks for the end, or none has come for too long; it then gives everything back. There is one keeper in a
// network namespace.
//
// Call it on the main goroutine, in a program that has called runtime.LockOSThread in an init function: it needs the process's first thread.
func Run(ctx context.Context, cfg Config) error {
	if unix.Gettid() != os.Getpid() {
		return errors.New("run the keeper: not on the process's first thread")
	}
	if err := confine.Hide(); err != nil { // there will be keys in it; pppd and the program of an upgrade begin anew with this
		return err
	}
	cfg.Thread = pppd.NewThread()
	running, end := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		defer end()
		k, err := begin(cfg)
		if err == nil {
			err = k.run(ctx)
		}
		result <- err
	}()
	return errors.Join(cfg.Thread.Run(running), <-result)
}

// begin makes a new keeper, or one that goes on for another.
func begin(cfg Config) (*Keeper, error) {
	if cfg.State != 0 {
		return resume(cfg)
	}
	return open(cfg)
}

func (k *Keeper) run(ctx context.Context) error {
	k.serveResumed()
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		k.accept()
	}()
	k.log.Info("keeping", zap.String("version", k.cfg.Build), zap.String("socket", k.path), zap.Duration("linger", k.cfg.Linger))
	k.wait(ctx)
	err := k.stop()
	<-accepting
	return err
}

// newKeeper has nothing yet.
func newKeeper(cfg Config) *Keeper {
	return &Keeper{
		cfg: cfg, log: cfg.Log, helloWait: helloWait,
		store:    store{records: make(map[string][]byte)},
		held:     shelf{files: make(map[string]*os.File)},
		presence: make(chan struct{}, 1), shutdown: make(chan struct{}), down: make(chan struct{}),
	}
}

// open takes the lock and opens the sockets that need no setup.
func open(cfg Config) (_ *Keeper, err error) {
	if cfg.Dir == "" {
		cfg.Dir = protocol.Dir
	}
	k := newKeeper(cfg)
	k.secret = newSecret()
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	namespace, err := protocol.Namespace()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the keeper: %w", err)
	}
	if k.lock, err = lockNamespace(cfg.Dir, namespace); err != nil {
		return nil, err
	}
	if k.radius, err = listenRadius(); err != nil {
		return nil, err
	}
	path := protocol.SocketPath(cfg.Dir, namespace)
	if k.socket, err = listen(path); err != nil {
		return nil, err
	}
	k.path = path
	return k, nil
}

// newSecret returns 32 characters of base32 text: 160 random bits.
func newSecret() string { return (rand.Text() + rand.Text())[:32] }

// listenRadius opens a socket on a free port of 127.0.0.1, which the daemon reads.
func listenRadius() (*os.File, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for RADIUS on loopback (is the interface lo up?): %w", err)
	}
	defer conn.Close()
	f, err := conn.File()
	if err != nil {
		return nil, fmt.Errorf("listen for RADIUS on loopback: %w", err)
	}
	return f, nil
}

// accept serves whoever connects, until the socket is closed.
func (k *Keeper) accept() {
	for {
		conn, err := k.socket.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			k.log.Warn("accepting a connection failed", zap.Error(err))
			time.Sleep(100 * time.Millisecond) // no more descriptors: that passes
			continue
		}
		go k.serve(conn)
	}
}

// changed tells wait to look. The caller holds mu.
func (k *Keeper) changed() {
	select {
	case k.presence <- struct{}{}:
	default:
	}
}

// connected is the daemon, or nil.
func (k *Keeper) connected() *connection {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.daemon
}

// wait returns when the keeper is to end.
func (k *Keeper) wait(ctx context.Context) {
	linger := time.NewTimer(0)
	linger.Stop()
	lonely := false
	for {
		if alone := k.connected() == nil && k.cfg.Linger > 0; alone != lonely {
			if lonely = alone; lonely {
				linger.Reset(k.cfg.Linger)
			} else {
				linger.Stop()
			}
		}
		select {
		case <-k.presence:
		case <-k.cfg.Upgrades:
			if err := k.upgrade(); err != nil {
				k.log.Error("the upgrade failed, and nothing has changed; this keeper goes on", zap.Error(err))
			}
		case <-linger.C:
			k.log.Warn("no daemon has come: ending everything", zap.Duration("after", k.cfg.Linger))
			return
		case <-k.shutdown:
			k.log.Info("the daemon ends everything")
			return
		case <-ctx.Done():
			k.log.Info("ending everything")
			k.farewell()
			return
		}
	}
}

// farewell lets the daemon say goodbye to its clients. It ends with asking for the end itself, or by leaving.
func (k *Keeper) farewell() {
	c := k.connected()
	if c == nil {
		return
	}
	k.tell(protocol.OpStopping, nil)
	select {
	case <-k.shutdown:
	case <-c.gone:
	case <-time.After(stopWait):
		k.log.Warn("the daemon has not ended its sessions in time", zap.Duration("after", stopWait))
	}
}

// stop gives everything back, tells the daemon, and lets it go.
func (k *Keeper) stop() error {
	k.mu.Lock()
	k.stopping = true
	m := k.machine
	k.machine = nil
	k.mu.Unlock()
	k.setup.Lock() // one that is being made is made, and then undone
	defer k.setup.Unlock()
	if m == nil {
		k.mu.Lock()
		m, k.machine = k.machine, nil
		k.mu.Unlock()
	}
	var err error
	k.using.Wait() // what it makes would be left behind
	if m != nil {
		answered := k.answerAccounting()
		err = m.close()
		answered()
	}
	k.log.Info("everything was given back", zap.Int("records", k.store.count()))
	err = errors.Join(err, k.held.close(), k.close())
	close(k.down)
	if c := k.connected(); c != nil {
		c.t.Interrupt()
		<-c.gone
	}
	return err
}

// close gives back what open has taken. The socket goes before the lock does, which the next keeper waits for.
func (k *Keeper) close() error {
	var errs []error
	if k.socket != nil {
		errs = append(errs, k.socket.Close())
	}
	if k.path != "" {
		errs = append(errs, os.Remove(k.path))
	}
	if k.radius != nil {
		errs = append(errs, k.radius.Close())
	}
	if k.lock != nil {
		errs = append(errs, k.lock.Close())
	}
	return errors.Join(errs...)
}
