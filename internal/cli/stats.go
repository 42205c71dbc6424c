package cli

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// counter is a row of `stats`.
type counter struct {
	Name  string `json:"name" table:"col"` // dotted path in the JSON object
	Value uint64 `json:"value" table:"col"`
}

func newStats(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "stats", Short: "Show the counters of the daemon and the kernel", Args: args(cobra.NoArgs)}
	o := outputFlags(g, cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(reflect.TypeFor[counter]()); err != nil {
			return err
		}
		c := g.client()
		defer c.Close()
		stats, err := c.Stats(cmd.Context())
		if err != nil {
			return err
		}
		if o.format == "json" && len(o.columns)+len(o.sort)+len(o.match) == 0 {
			return writeJSON(g.env.Out, stats)
		}
		rows := flatten("", reflect.ValueOf(stats))
		if err := printList(o, noun{"counter", "counters"}, rows); err != nil || o.format == "json" || o.format == "csv" {
			return err
		}
		keep, err := filters(columnsOf(reflect.TypeFor[counter]()), o.match)
		if err == nil && !slices.ContainsFunc(rows, func(c counter) bool { return keep(reflect.ValueOf(c)) }) {
			fmt.Fprintln(g.env.Err, "no counter matches; those of xfrm_stat and drops are left out as long as they are zero")
		}
		return err
	}
	return cmd
}

// flatten turns nested structs and maps of numbers into rows.
func flatten(path string, v reflect.Value) []counter {
	var out []counter
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			out = append(out, flatten(path+name+".", v.Field(i))...)
		}
	case v.Kind() == reflect.Map:
		if m, ok := v.Interface().(map[string]uint64); ok {
			for _, name := range slices.Sorted(maps.Keys(m)) {
				out = append(out, counter{path + name, m[name]})
			}
		}
	case v.CanUint():
		out = append(out, counter{strings.TrimSuffix(path, "."), v.Uint()})
	case v.CanInt():
		out = append(out, counter{strings.TrimSuffix(path, "."), uint64(max(v.Int(), 0))})
	}
	return out
}
