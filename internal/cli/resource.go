package cli

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

// newList is `list` of any resource.
func newList[T any](g *globals, n noun, get func(*control.Client, context.Context) ([]T, error)) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the " + n.many, Args: args(cobra.NoArgs)}
	o := outputFlags(g, cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(reflect.TypeFor[T]()); err != nil {
			return err
		}
		c := g.client()
		defer c.Close()
		rows, err := get(c, cmd.Context())
		if err != nil {
			return err
		}
		return printList(o, n, rows)
	}
	return cmd
}

// newShow is `show ID` of any resource.
func newShow[T any](g *globals, n noun, get func(*control.Client, context.Context, string) (T, error)) *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show one " + n.one, Args: args(cobra.ExactArgs(1))}
	o := outputFlags(g, cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(reflect.TypeFor[T]()); err != nil {
			return err
		}
		c := g.client()
		defer c.Close()
		row, err := get(c, cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printOne(o, row)
	}
	return cmd
}

func newTunnel(g *globals) *cobra.Command {
	n := noun{"tunnel", "tunnels"}
	shut := &cobra.Command{Use: "close ID...", Short: "Close tunnels, their sessions and their IPsec clients", Args: args(cobra.MinimumNArgs(1))}
	shut.RunE = func(cmd *cobra.Command, args []string) error {
		ids := make([]uint16, len(args))
		for i, arg := range args {
			var err error
			if ids[i], err = tunnelID(arg); err != nil {
				return err
			}
		}
		c := g.client()
		defer c.Close()
		for _, id := range ids {
			if err := c.CloseTunnel(cmd.Context(), id); err != nil {
				return err
			}
			fmt.Fprintf(g.env.Out, "closed tunnel %d\n", id)
		}
		return nil
	}
	return group("tunnel", "L2TP tunnels and their IPsec clients",
		newList(g, n, (*control.Client).Tunnels),
		newShow(g, n, func(c *control.Client, ctx context.Context, arg string) (control.Tunnel, error) {
			id, err := tunnelID(arg)
			if err != nil {
				return control.Tunnel{}, err
			}
			return c.Tunnel(ctx, id)
		}),
		shut)
}

func newSession(g *globals) *cobra.Command {
	n := noun{"session", "sessions"}
	var user string
	disconnect := &cobra.Command{Use: "disconnect {ID... | --user NAME}", Short: "End sessions, by id or by user"}
	disconnect.Flags().StringVar(&user, "user", "", "end all sessions of this user")
	disconnect.Args = func(cmd *cobra.Command, args []string) error {
		if (len(args) > 0) == (user != "") {
			return usagef("session disconnect needs either ids of sessions or --user NAME")
		}
		return nil
	}
	disconnect.RunE = func(cmd *cobra.Command, args []string) error {
		for _, id := range args {
			if err := checkSessionID(id); err != nil {
				return err
			}
		}
		c := g.client()
		defer c.Close()
		closed := func(id string) { fmt.Fprintf(g.env.Out, "closed session %s\n", escaped(id)) }
		if user != "" {
			ids, err := c.Disconnect(cmd.Context(), user)
			for _, id := range ids {
				closed(id)
			}
			return err
		}
		for _, id := range args {
			if err := c.CloseSession(cmd.Context(), id); err != nil {
				return err
			}
			closed(id)
		}
		return nil
	}
	return group("session", "PPP sessions of users",
		newList(g, n, (*control.Client).Sessions),
		newShow(g, n, func(c *control.Client, ctx context.Context, arg string) (control.Session, error) {
			if err := checkSessionID(arg); err != nil {
				return control.Session{}, err
			}
			return c.Session(ctx, arg)
		}),
		disconnect)
}

func newSA(g *globals) *cobra.Command {
	return group("sa", "ESP security associations in the kernel", newList(g, noun{"SA", "SAs"}, (*control.Client).SAs))
}

func tunnelID(s string) (uint16, error) {
	id, err := strconv.ParseUint(s, 10, 16)
	if err != nil || id == 0 {
		return 0, usagef("%q is not the id of a tunnel: a number from 1 to 65535", s)
	}
	return uint16(id), nil
}

// checkSessionID wants the id of a tunnel, "-", and a number from 1.
func checkSessionID(s string) error {
	tunnel, number, found := strings.Cut(s, "-")
	_, err := tunnelID(tunnel)
	if n, numErr := strconv.ParseUint(number, 10, 32); !found || err != nil || numErr != nil || n == 0 {
		return usagef("%q is not the id of a session: tunnel id, \"-\", number, such as 16384-1", s)
	}
	return nil
}
