// Package doctor tells whether a machine can run the concentrator and, where it cannot, what to do about it.
//
// Facilities of the kernel are tried, not guessed from the names of modules: an SA is added, a table is installed and a namespace is thrown
// away with both. Trying also loads the modules where the kernel may do that by itself. Nothing of the machine's own state is changed.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// Status is how a finding turned out.
type Status string

const (
	OK   Status = "ok"
	Warn Status = "warning" // works, but not well or not surely
	Fail Status = "failure" // the concentrator cannot run, or must not
)

// Finding is one thing that was checked. The command line prints it by these tags.
type Finding struct {
	Status Status `json:"status" table:"col"`
	Name   string `json:"name" table:"col"`   // the module, program, sysctl or resource
	Detail string `json:"detail" table:"col"` // what was found
	Fix    string `json:"fix" table:"col"`    // what to do, empty with OK
}

// Options say what to check for. The zero value checks for the defaults.
type Options struct {
	// Steering is the nftables table that serve will install.
	Steering steering.Config
	// PPPD is the path of pppd; empty means to search for it.
	PPPD string
	// Keeper is the one of this network namespace; nil if there is none.
	Keeper *Keeper
	// DaemonRunning says that our own daemon, or its keeper, holds the IKE ports, so that they are not looked at.
	DaemonRunning bool
	// Serving says that the daemon is up, so that its steering table must be there.
	Serving bool
	// Slots are those of the running daemon; nil if it is not known.
	Slots *Slots
	// Drift has what the kernel lacks, or has too much, for the running daemon; nil if it is not known.
	Drift []Drift
}

// Check looks at everything and returns the findings in a fixed order. It works without privileges too, but then can check less. A cancelled ctx ends it
// early, with the findings so far.
func Check(ctx context.Context, o Options) []Finding {
	return check(ctx, o, realProbes())
}

func check(ctx context.Context, o Options, p probes) []Finding {
	var findings []Finding
	for _, c := range []func(context.Context, Options, probes) []Finding{
		checkKernel, checkPrivileges, checkIPsec, checkOffload, checkL2TP, checkNftables,
		checkPPPD, checkSysctls, checkLoopback, checkPorts, checkClientPorts, checkSlots, checkKeeper, checkDrift, checkBlacklists, checkGRO,
	} {
		if ctx.Err() != nil {
			break
		}
		findings = append(findings, c(ctx, o, p)...)
	}
	return findings
}

// Required returns an error that names each failure and its remedy, or nil if there is none. serve refuses to start with it.
func Required(findings []Finding) error {
	var lines []string
	for _, f := range findings {
		if f.Status == Fail {
			lines = append(lines, fmt.Sprintf("%s: %s; %s", f.Name, f.Detail, f.Fix))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return errors.New("this machine cannot run the concentrator:\n  " + strings.Join(lines, "\n  "))
}

func ok(name, detail string, args ...any) Finding {
	return Finding{Name: name, Status: OK, Detail: fmt.Sprintf(detail, args...)}
}

func warn(name, fix, detail string, args ...any) Finding {
	return Finding{Name: name, Status: Warn, Fix: fix, Detail: fmt.Sprintf(detail, args...)}
}

func fail(name, fix, detail string, args ...any) Finding {
	return Finding{Name: name, Status: Fail, Fix: fix, Detail: fmt.Sprintf(detail, args...)}
}
