package keeper

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// guardPause is between two attempts to guard the table again.
const guardPause = time.Second

// table is the steering table, guarded until close.
type table struct {
	tell func(protocol.Op, any)
	log  *zap.Logger
	done chan struct{} // closed when run has ended

	mu      sync.Mutex
	cfg     steering.Config
	guard   *steering.Guard
	closing chan struct{} // closed by close
}

// guard installs the table.
func guard(cfg steering.Config, tell func(protocol.Op, any), log *zap.Logger) (*table, error) {
	g, err := steering.NewGuard(cfg)
	if err != nil {
		return nil, fmt.Errorf("install the steering table: %w", err)
	}
	t := &table{tell: tell, log: log, cfg: cfg, guard: g, done: make(chan struct{}), closing: make(chan struct{})}
	go t.run()
	return t, nil
}

// run guards, whatever happens.
func (t *table) run() {
	defer close(t.done)
	for {
		g := t.current()
		err := g.Run(t.restored)
		select {
		case <-t.closing:
			return
		default:
		}
		if t.current() != g {
			continue // it was replaced
		}
		t.log.Error("guarding the steering table failed; trying again", zap.Error(err))
		select {
		case <-t.closing:
			return
		case <-time.After(guardPause):
		}
		if err := t.replace(t.config()); err != nil {
			t.log.Error("installing the steering table failed", zap.Error(err))
		}
	}
}

func (t *table) current() *steering.Guard {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.guard
}

func (t *table) config() steering.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg
}

// replace installs another table in place of this one, at once. The guard of this one goes first, since it would defend it. On an error
// everything is as it was, if possible; otherwise run goes on trying.
func (t *table) replace(cfg steering.Config) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.guard.Close()
	g, openErr := steering.NewGuard(cfg)
	if openErr == nil {
		t.guard, t.cfg = g, cfg
		return err
	}
	err = errors.Join(err, fmt.Errorf("install the steering table: %w", openErr))
	if g, openErr = steering.NewGuard(t.cfg); openErr != nil {
		return errors.Join(err, fmt.Errorf("install the steering table as it was: %w", openErr))
	}
	t.guard = g
	return err
}

func (t *table) restored(r steering.Restoration) {
	t.tell(protocol.OpRestoration, protocol.Restoration{Missing: r.Missing, PID: r.PID, Process: r.Process, Err: protocol.ErrorOf(r.Err)})
}

// leave ends the guarding, and lets the table be.
func (t *table) leave() error {
	close(t.closing)
	err := t.current().Close()
	<-t.done
	return err
}

// close ends the guarding, and removes the table.
func (t *table) close() error {
	return errors.Join(t.leave(), steering.Remove(t.config()))
}
