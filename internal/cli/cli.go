package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

// ServeFunc runs the daemon until the context ends.
type ServeFunc func(ctx context.Context, s Service) error

// Service is what a daemon is to be.
type Service struct {
	Config *config.Config
	// Load reads the configuration again, from where Config came from.
	Load func() (*config.Config, error)
	Log  *zap.Logger
	// SetLevel sets the level of Log: debug, info, warn or error.
	SetLevel func(level string)
}

// KeepFunc runs the keeper until the context ends.
type KeepFunc func(ctx context.Context, k Keeper) error

// DoctorFunc checks the machine. The configuration is nil if there is none.
type DoctorFunc func(ctx context.Context, cfg *config.Config) []doctor.Finding

// DescribeFunc says in lines what a configuration amounts to, or why it cannot be served.
type DescribeFunc func(cfg *config.Config) ([]string, error)

// Env is what the command line touches besides its arguments.
type Env struct {
	Out, Err io.Writer
	Terminal bool // Out is a terminal
	Version  control.Version
	Serve    ServeFunc
	Keep     KeepFunc           // nil: there is no such command
	TryState func(fd int) error // whether Keep could go on with the state in a descriptor
	Linger   time.Duration      // default of Keeper.Linger
	Describe DescribeFunc
	Doctor   DoctorFunc // nil: there is no such command
}

// Run runs one command line, without the name of the program, and returns the exit code.
func Run(ctx context.Context, env Env, args []string) int {
	root := newRoot(&env)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return report(env.Err, cmd, err)
}

// IsTerminal says whether a file is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func newRoot(env *Env) *cobra.Command {
	g := &globals{env: env}
	root := group("l2tpctl", "L2TP/IPsec concentrator for Linux",
		newServe(g), newCheck(g), newTunnel(g), newSession(g), newSA(g), newEvents(g), newReload(g), newStats(g), newVersion(g))
	if env.Keep != nil {
		root.AddCommand(newKeeper(g))
	}
	if env.Doctor != nil {
		root.AddCommand(newDoctor(g))
	}
	root.Version = env.Version.Version
	root.SetVersionTemplate("l2tpctl {{.Version}}\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVar(&g.socket, "socket", config.DefaultSocket, "control socket of the daemon")
	return root
}

// globals are the environment and the flags of all commands.
type globals struct {
	env    *Env
	socket string
}

// client returns a client of the daemon; the caller closes it.
func (g *globals) client() *control.Client { return control.NewClient(g.socket) }

// group is a command that only has subcommands.
func group(name, short string, sub ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(cmd.ErrOrStderr()) // not where a program expects a list
			_ = cmd.Help()
			return helpShown{fmt.Errorf("which command? %s needs one of those above", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(sub...)
	return cmd
}
