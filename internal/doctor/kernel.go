package doctor

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// floors are the first releases of the series that get fixes which have both the fix of the use-after-free between PPPoL2TP reception and channel
// release (CVE-2026-68398) and the one of the double free of socket policies (CVE-2026-64581). unsure marks a series of which only the first was read.
var floors = []struct {
	major, minor, patch int
	unsure              bool
}{
	{6, 1, 192, false},
	{6, 6, 148, true},
	{6, 12, 107, false},
	{6, 18, 42, false},
	{7, 1, 6, false},
}

// newest is the first series whose every release is new enough.
var newest = [2]int{7, 2}

// uname -r of Debian 12 has no patch level ("6.1.0-40-amd64"), but uname -v has ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (...)").
var (
	releasePattern = regexp.MustCompile(`^(\d+)\.(\d+)(?:\.(\d+))?`)
	debianPattern  = regexp.MustCompile(`Debian (\d+)\.(\d+)\.(\d+)`)
	vendorPattern  = regexp.MustCompile(`\.(el|amzn|ocs)\d|-generic|-lowlatency|-azure|-aws|-gcp|-default`)
)

func checkKernel(_ context.Context, _ Options, p probes) []Finding {
	release, version := p.uname()
	return []Finding{kernelVersion(release, version)}
}

func kernelVersion(release, version string) Finding {
	const name = "kernel"
	m := debianPattern.FindStringSubmatch(version)
	if m == nil {
		m = releasePattern.FindStringSubmatch(release)
	}
	if m == nil {
		return warn(name, "run Linux 6.1.192, 6.12.107 or newer", "version %q is not understood", release)
	}
	var v [3]int
	for i := range v {
		v[i], _ = strconv.Atoi(m[i+1]) // digits by the patterns; a missing patch level is zero
	}
	text := fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2])
	if !strings.HasPrefix(release, text) {
		text += " (" + release + ")"
	}
	if v[0] > newest[0] || v[0] == newest[0] && v[1] >= newest[1] {
		return ok(name, "%s", text)
	}
	const bugs = "has use-after-free bugs in PPPoL2TP or socket policies that peers can reach (CVE-2026-68398, CVE-2026-64581)"
	for _, f := range floors {
		if v[0] != f.major || v[1] != f.minor {
			continue
		}
		floor := fmt.Sprintf("%d.%d.%d", f.major, f.minor, f.patch)
		switch {
		case v[2] < f.patch && vendorPattern.MatchString(release): // judged below
		case v[2] < f.patch:
			return fail(name, "upgrade to "+floor+" or newer and reboot", "%s %s", text, bugs)
		case f.unsure:
			return warn(name, "prefer 6.12.107 or newer", "%s: of this series it is not known whether CVE-2026-64581 is fixed", text)
		default:
			return ok(name, "%s", text)
		}
	}
	if vendorPattern.MatchString(release) {
		return warn(name, "look for CVE-2026-68398 and CVE-2026-64581 in the vendor's advisories", "%s: whether the vendor has ported the fixes cannot be seen from the version", text)
	}
	return fail(name, "run Linux 6.1.192, 6.12.107, 6.18.42, 7.1.6 or newer of these series", "%s %s", text, bugs)
}
