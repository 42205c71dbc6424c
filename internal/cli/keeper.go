package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/config"
)

// Keeper is what a keeper is to be.
type Keeper struct {
	// Linger is how long it waits for a daemon before it ends everything; 0 is for ever.
	Linger time.Duration
	// ForServe: a daemon has started it, and ends it with itself.
	ForServe bool
	Log      *zap.Logger
	// Args are the command line to which Resume or Trial and a number is added for the program that is to go on for this one.
	Args          []string
	Resume, Trial string
	// State is the number that was added to Resume; 0 if this is a new keeper.
	State int
}

// The flags that only a keeper uses, which wants to become this program.
const (
	stateFlag = "state"
	trialFlag = "try-state"
)

func newKeeper(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keeper",
		Short: "Hold sockets, SAs and PPP sessions while the concentrator restarts",
		Long: "Hold sockets, SAs and PPP sessions while the concentrator restarts.\n\n" +
			"serve starts one if none runs in its network namespace; as a service of its own it also outlives what else serve was started with.",
		Args: args(cobra.NoArgs),
	}
	var k Keeper
	var log config.Log
	cmd.Flags().DurationVar(&k.Linger, "linger", g.env.Linger, "end all sessions if no daemon comes for so long; 0: never")
	cmd.Flags().BoolVar(&k.ForServe, "for-serve", false, "end when the daemon ends that has started it")
	cmd.Flags().StringVar(&log.Level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&log.Format, "log-format", "json", "json or console")
	trial := 0
	cmd.Flags().IntVar(&k.State, stateFlag, 0, "go on for the keeper whose state is in this descriptor")
	cmd.Flags().IntVar(&trial, trialFlag, 0, "only read the state in this descriptor")
	for _, name := range []string{stateFlag, trialFlag} {
		_ = cmd.Flags().MarkHidden(name) // fails for flags that there are not
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if trial != 0 {
			return g.env.TryState(trial)
		}
		k.Args = []string{
			os.Args[0], "keeper", "--linger=" + k.Linger.String(), fmt.Sprintf("--for-serve=%t", k.ForServe), "--log-level=" + log.Level, "--log-format=" + log.Format,
		}
		k.Resume, k.Trial = "--"+stateFlag+"=", "--"+trialFlag+"="
		if k.Linger < 0 {
			return usagef("--linger %v: a time cannot be negative", k.Linger)
		}
		if log.Format != "json" && log.Format != "console" {
			return usagef("--log-format %q: want json or console", log.Format)
		}
		if k.Log, _, err = NewLogger(log, g.env.Err); err != nil {
			return usageError{fmt.Errorf("--log-level %q: want debug, info, warn or error", log.Level)}
		}
		err = g.env.Keep(cmd.Context(), k)
		_ = k.Log.Sync() // fails on terminals and pipes, which need none
		return err
	}
	return cmd
}
