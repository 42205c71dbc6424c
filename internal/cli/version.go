package cli

import (
	"reflect"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

func newVersion(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Show the version of this program", Args: args(cobra.NoArgs)}
	o := outputFlags(g, cmd, false)
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := o.check(reflect.TypeFor[control.Version]()); err != nil {
			return err
		}
		if g.env.Version.Revision == "" && len(o.columns) == 0 && o.format != "json" && o.format != "csv" {
			o.columns = []string{"version", "go", "platform"} // nothing is known about a repository
		}
		return printOne(o, g.env.Version)
	}
	return cmd
}

// BuildVersion returns the version of this binary. What the linker was told (-X main.version=…) goes before what the Go
// command recorded.
func BuildVersion(linked string) control.Version {
	v := control.Version{Version: linked, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
		if v.Version == "" {
			v.Version = info.Main.Version
		}
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	return v
}
