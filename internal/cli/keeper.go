package cli

import (
	"fmt"
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
}

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
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
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
