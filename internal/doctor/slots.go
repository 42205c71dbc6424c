package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// maxNamed bounds the ports that are named in a finding.
const maxNamed = 5

// checkClientPorts looks for other programs at the ports of clients and of plain tunnels: the slot of such a port cannot be used.
func checkClientPorts(_ context.Context, o Options, p probes) (out []Finding) {
	for _, b := range o.blocks() {
		out = append(out, checkBlock(b, o, p))
	}
	return out
}

func checkBlock(b block, o Options, p probes) Finding {
	name, first, last := b.name, b.first, b.last
	inodes := make(map[uint16][]string)
	for _, s := range p.udpSockets() {
		if int(s.port) >= first && int(s.port) <= last {
			inodes[s.port] = append(inodes[s.port], s.inode)
		}
	}
	var taken []uint16
	who := make(map[string]bool)
	if len(inodes) > 0 {
		ours := p.ourSockets()
		for port, sockets := range inodes {
			if !slices.ContainsFunc(sockets, func(inode string) bool { return !ours[inode] }) {
				continue
			}
			taken = append(taken, port)
		}
	}
	if len(taken) == 0 {
		return ok(name, "no other program uses one of %d-%d", first, last)
	}
	slices.Sort(taken)
	var named []string
	for _, port := range taken[:min(len(taken), maxNamed)] {
		holder, ours := p.holder(inodes[port])
		if ours && o.DaemonRunning {
			continue // it cannot be seen from here; most likely it is the daemon
		}
		named = append(named, fmt.Sprint(port))
		who[holder] = true
	}
	if named == nil {
		return ok(name, "%d of %d-%d are in use, by the daemon as far as can be seen", len(taken), first, last)
	}
	if len(taken) > maxNamed {
		named = append(named, fmt.Sprintf("and %d more", len(taken)-maxNamed))
	}
	var holders []string
	for h := range who {
		holders = append(holders, h)
	}
	slices.Sort(holders)
	return warn(name, fmt.Sprintf("move that program to another port, or keep it from the block with net.ipv4.ip_local_reserved_ports=%d-%d", first, last),
		"UDP %s: in use by %s; no client can have them", strings.Join(named, ", "), strings.Join(holders, ", "))
}

// Slots is the use of the block of ports by the running daemon.
type Slots struct {
	Used, Resting, Free int
	Exhausted           uint64 // clients that were refused because there was none
}

// checkSlots warns while there is room still.
func checkSlots(_ context.Context, o Options, _ probes) []Finding {
	if o.Slots == nil {
		return nil
	}
	const name, enlarge = "slots", "enlarge the block of ports (slots.port_base, slots.port_mask), or direct clients to another server"
	s := *o.Slots
	use := fmt.Sprintf("%d in use, %d resting, %d free", s.Used, s.Resting, s.Free)
	switch {
	case s.Free == 0:
		return []Finding{fail(name, enlarge, "%s: clients are refused, %d so far", use, s.Exhausted)}
	case s.Free*10 < s.Used+s.Resting+s.Free:
		return []Finding{warn(name, enlarge, "%s", use)}
	case s.Exhausted > 0:
		return []Finding{warn(name, enlarge, "%s; %d clients were refused since the start", use, s.Exhausted)}
	}
	return []Finding{ok(name, "%s", use)}
}
