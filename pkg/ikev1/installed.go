package ikev1

import (
	"maps"
	"slices"
)

// InstalledChild is a child as far as it should be in the kernel. Keys are left out.
type InstalledChild struct {
	In, Out ChildSA

	// Sends says that the installation of Out was asked for. If it is false, and there is such an SA in the kernel all the same, then the
	// program before has ended after that action and before its record. It should stay as it is: it will be asked for.
	Sends bool
}

// Installed returns every child of which the owner has been asked to install something and not to remove it, ordered by client and child:
// those of [ClientInfo], and those that are not established yet. After [Engine.Restore], what the kernel has beside them is left over,
// and what it has not is to be told by [Engine.Lost].
func (e *Engine) Installed() []InstalledChild {
	var list []InstalledChild
	for _, id := range slices.Sorted(maps.Keys(e.clients)) {
		for _, ch := range e.clients[id].children {
			if ch.in.asked {
				sends := ch.state == childEstablished || ch.state == childOutbound && ch.switchAt.IsZero()
				list = append(list, InstalledChild{In: ch.sa(ch.spiIn, espKeys{}), Out: ch.sa(ch.spiOut, espKeys{}), Sends: sends})
			}
		}
	}
	return list
}
