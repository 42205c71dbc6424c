package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// upgrades lets a keeper become another program a few times while somebody goes on doing something.
func (e *external) upgrades(t *testing.T, meanwhile func() error) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := meanwhile(); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := 2; i <= 4; i++ {
		e.install(fmt.Sprintf("v%d", i))
		e.upgrade(fmt.Sprintf("\"build\": \"v%d\", \"before\": \"v%d\"", i, i-1))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if text := e.text(); strings.Contains(text, "the upgrade failed") {
		t.Error("an upgrade failed")
	}
}

// TestUpgradeDuringSetups: a setup that is asked for while the next program is tried waits for nothing that waits for it.
func TestUpgradeDuringSetups(t *testing.T) {
	k := startProcess(t, "v1")
	c, err := client.Dial(t.Context(), k.path, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k.upgrades(t, func() error {
		if _, err := c.Setup(context.Background(), protocol.Setup{}); err == nil || !strings.Contains(err.Error(), "marker") {
			return fmt.Errorf("setup without a marker: %w", err)
		}
		return nil
	})
}

// TestUpgradeAtTheDoor lets daemons come and go at every moment of an upgrade.
func TestUpgradeAtTheDoor(t *testing.T) {
	k := startProcess(t, "v1")
	n := 0
	k.upgrades(t, func() error {
		c, err := client.Dial(context.Background(), k.path, "daemon")
		if err != nil {
			return err
		}
		n++
		if err := errors.Join(c.Hold(fmt.Sprint(n%10), os.Stdin), c.Release(fmt.Sprint(n%10))); err != nil {
			return err
		}
		return c.Close()
	})
	if n == 0 {
		t.Error("no daemon came")
	}
}

// TestTwoHangups: a signal that comes before the next program has asked for it ends nothing, and the one after that has its effect.
func TestTwoHangups(t *testing.T) {
	k := startProcess(t, "v1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	k.replace("#!/bin/sh\ncase \"$*\" in *--state=*) kill -HUP $$;; esac\n" + buildVariable + "=v2 exec " + self + " \"$@\"\n")
	k.upgrade(`"build": "v2"`)
	k.install("v3")
	k.upgrade(`"build": "v3"`)
}

// TestPauseGivenUp: who waits for the end of long requests in vain leaves nothing behind that those which follow could meet.
func TestPauseGivenUp(t *testing.T) {
	k := start(t, nil)
	block := make(chan struct{})
	defer close(block)
	k.possess(func(m *machine) { m.sas.(*memory).block = block })
	c := k.dial(t)
	for range 50 {
		var asking sync.WaitGroup
		ask := func() {
			if _, err := c.SAs().List(); err != nil {
				t.Error(err)
			}
		}
		asking.Go(ask)
		for len(k.connected().places) == 0 {
			time.Sleep(time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := k.connected().pause(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("paused within a request: %v", err)
		}
		cancel()
		for range 4 {
			asking.Go(ask)
		}
		for range 5 {
			select {
			case block <- struct{}{}:
			case <-c.Done():
				t.Fatal(c.Err())
			}
		}
		asking.Wait()
		for len(k.connected().places) > 0 { // a reply comes before its request is over
			time.Sleep(time.Millisecond)
		}
	}
}
