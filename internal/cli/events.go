package cli

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

// followed is how many of the latest events --follow begins with.
const followed = 10

// maxListed bounds the proposals of one list in a table.
const maxListed = 12

func newEvents(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Show what happened, why it failed and what would cure it", Args: args(cobra.NoArgs)}
	o := outputFlags(g, cmd, true)
	o.notes = eventNotes
	var follow bool
	var q control.EventQuery
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, fmt.Sprintf("begin with the latest %d events (or with --since) and go on with new ones", followed))
	cmd.Flags().Uint64Var(&q.Since, "since", 0, "only events with a higher number (seq)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(reflect.TypeFor[control.Event]()); err != nil {
			return err
		}
		c := g.client()
		defer c.Close()
		if !follow {
			events, err := c.Events(cmd.Context(), q)
			if err != nil {
				return err
			}
			return printList(o, noun{"event", "events"}, events)
		}
		if len(o.sort) > 0 {
			return usagef("--follow shows events as they come: it goes without --sort")
		}
		if !cmd.Flags().Changed("since") {
			q.Limit = followed
		}
		out, err := newStream[control.Event](o, eventWidths)
		if err != nil {
			return err
		}
		err = c.FollowEvents(cmd.Context(), q, out.print)
		if errors.Is(err, context.Canceled) {
			return nil // the operator has seen enough
		}
		return err
	}
	return cmd
}

// eventWidths are for tables that cannot know what will come.
var eventWidths = map[string]int{"time": 19, "severity": 8, "kind": 16, "peer": 21, "user": 10, "cause": 20}

// eventNotes are the lines below an event in a table: what to do, and what was offered and allowed.
func eventNotes(row reflect.Value) (notes []string) {
	e := row.Interface().(control.Event)
	for _, note := range []struct{ name, text string }{
		{"hint", strings.ReplaceAll(escaped(e.Hint), `\\`, `\`)}, // paths of the registry are there to be copied
		{"client", escaped(strings.Trim(e.ClientKind+" "+e.Identity, " "))},
		{"offered", escaped(abridged(e.Offered))}, {"allowed", escaped(abridged(e.Allowed))},
	} {
		if e.Cause != "" && note.text != "" {
			notes = append(notes, "    "+note.name+": "+note.text)
		}
	}
	return notes
}

// abridged keeps the beginning of a list.
func abridged(list string) string {
	parts := strings.Split(list, ", ")
	if more := len(parts) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(parts[:maxListed], ", "), more)
	}
	return list
}
