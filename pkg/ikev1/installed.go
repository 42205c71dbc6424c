package ikev1

import (
	"maps"
	"slices"
)

// InstalledChild is a child as far as it should be in the kernel. Keys are left out.
type InstalledChild struct {
	In, Out ChildSA // Out has the SPI 0 unless its installation was asked for
}

// Installed returns every child of which the owner has been asked to install something and not to remove it, ordered by client and child:
// those of [ClientInfo], and those that are not established yet. After [Engine.Restore] what is in the kernel beside them is left over.
func (e *Engine) Installed() []InstalledChild {
	var list []InstalledChild
	for _, id := range slices.Sorted(maps.Keys(e.clients)) {
		for _, ch := range e.clients[id].children {
			if !ch.in.asked {
				continue
			}
			in, out := ch.sa(ch.spiIn, espKeys{}), ch.sa(ch.spiOut, espKeys{})
			if !ch.out.asked {
				out.SPI = 0
			}
			list = append(list, InstalledChild{in, out})
		}
	}
	return list
}
