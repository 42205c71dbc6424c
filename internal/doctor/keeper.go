package doctor

import "context"

// Keeper is the process that holds the sessions.
type Keeper struct {
	Build   string // its version
	Program string // that of the program which looks
}

// checkKeeper looks whether keeper and daemon are both there, and of one version.
func checkKeeper(_ context.Context, o Options, _ probes) []Finding {
	const name = "keeper"
	switch k := o.Keeper; {
	case k == nil:
		return nil // none runs, as before the first serve
	case !o.Serving:
		return []Finding{warn(name, "start l2tpctl serve", "%s", "holds the sessions, but no daemon answers: nobody can connect, and what is not answered for minutes ends")}
	case k.Build != k.Program:
		return []Finding{warn(name, "systemctl reload l2tpctl-keeper (or send the keeper SIGHUP) replaces it, and no session ends", "runs version %s, this program is %s", k.Build, k.Program)}
	default:
		return []Finding{ok(name, "runs version %s", k.Build)}
	}
}
