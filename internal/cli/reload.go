package cli

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

func newReload(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "reload", Short: "Have the daemon read its configuration again, and show what it changed", Args: args(cobra.NoArgs)}
	o := outputFlags(g, cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(reflect.TypeFor[control.Change]()); err != nil {
			return err
		}
		c := g.client()
		defer c.Close()
		done, err := c.Reload(cmd.Context())
		var refusal *control.Error
		if errors.As(err, &refusal) && refusal.Status == http.StatusUnprocessableEntity {
			fmt.Fprintf(g.env.Err, "%s\nl2tpctl: the configuration cannot be used, and nothing was changed\n", escapedLines(refusal.Message))
			return errQuiet
		}
		if err != nil {
			return err
		}
		for _, w := range done.Warnings {
			fmt.Fprintf(g.env.Err, "warning: %s\n", escaped(w))
		}
		for _, n := range done.Notes {
			fmt.Fprintf(g.env.Err, "note: %s\n", escaped(n))
		}
		return printList(o, noun{"change", "changes"}, done.Changes)
	}
	return cmd
}
