package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitUnreachable = 3 // the daemon could not be asked
)

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// helpShown is a command line that lacks a command; the help has been printed already.
type helpShown struct{ error }

// errQuiet is a failure that has been printed already.
var errQuiet = errors.New("failed")

// report prints an error and returns the exit code for it.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	var usage usageError
	var helped helpShown
	var faults config.Errors
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errQuiet):
		return ExitFailure
	case errors.As(err, &helped):
		fmt.Fprintf(w, "\nl2tpctl: %s\n", escapedLines(err.Error()))
		return ExitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(w, "l2tpctl: %v\nTry: %s --help\n", escaped(err.Error()), cmd.CommandPath())
		return ExitUsage
	case errors.As(err, &faults): // FILE:LINE:COLUMN first, as editors expect it
		fmt.Fprintln(w, faults)
		return ExitFailure
	}
	fmt.Fprintf(w, "l2tpctl: %s\n", escapedLines(err.Error()))
	if errors.Is(err, control.ErrUnreachable) {
		return ExitUnreachable
	}
	return ExitFailure
}

// args makes a refusal by a validator of cobra a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
