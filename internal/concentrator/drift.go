package concentrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// wanted is what the kernel should have, by what the loop knows. Objects that are being made or removed are left out.
type wanted struct {
	objects map[control.Drift]xfrm.ID // Problem is missing; the ID of an SA
	ports   map[slot.Port]bool        // that have a client
	sas     map[xfrm.ID]bool
}

// wanted must be called on the loop.
func (c *Concentrator) wanted() wanted {
	w := wanted{objects: make(map[control.Drift]xfrm.ID), ports: make(map[slot.Port]bool), sas: make(map[xfrm.ID]bool)}
	for port := range c.ports {
		w.ports[port] = true
	}
	for _, cl := range c.clients {
		missing := func(object, name string) control.Drift {
			return control.Drift{Object: object, Name: name, TunnelID: uint16(cl.port), Problem: control.DriftMissing}
		}
		for _, ch := range cl.children {
			for _, id := range []xfrm.ID{ch.in, ch.out} {
				if id.SPI != 0 {
					w.sas[id] = true
					w.objects[missing(control.DriftSA, saName(id))] = id
				}
			}
		}
		if cl.ops.busy || !cl.made {
			continue
		}
		w.objects[missing(control.DriftTunnel, fmt.Sprint(cl.port))] = xfrm.ID{}
		for _, s := range cl.sessions {
			if !s.open || s.dropped {
				continue
			}
			w.objects[missing(control.DriftSession, sessionName(uint32(cl.port), uint32(s.id)))] = xfrm.ID{}
			if s.state == sessionEstablished && s.process != nil {
				w.objects[missing(control.DriftInterface, s.iface)] = xfrm.ID{}
			}
		}
	}
	return w
}

func saName(id xfrm.ID) string { return fmt.Sprintf("%s to %v", spi(id.SPI), id.Dst) }

func sessionName(tunnel, id uint32) string { return fmt.Sprintf("%d/%d", tunnel, id) }

// Drift implements control.Backend. The kernel is asked between two looks at the loop's state, and only what both agree on counts.
func (a api) Drift(ctx context.Context) ([]control.Drift, error) {
	c := a.c
	var before, after wanted
	if err := c.call(ctx, func() { before = c.wanted() }); err != nil {
		return nil, err
	}
	there, ours, err := c.actual()
	if err != nil {
		return nil, err
	}
	if err := c.call(ctx, func() { after = c.wanted() }); err != nil {
		return nil, err
	}
	rows := []control.Drift{}
	for d, id := range before.objects {
		if _, still := after.objects[d]; !still || there[d.Object+d.Name] {
			continue
		}
		if d.Object == control.DriftSA {
			// It may have been on its way from one device to another.
			if _, err := c.SAs.Get(id); !errors.Is(err, os.ErrNotExist) {
				continue
			}
		}
		rows = append(rows, d)
	}
	for d, id := range ours {
		known := before.ports[slot.Port(d.TunnelID)] || after.ports[slot.Port(d.TunnelID)]
		if d.Object == control.DriftSA {
			known = before.sas[id] || after.sas[id]
		}
		if !known {
			rows = append(rows, d)
		}
	}
	switch intact, err := c.Steering.Intact(); {
	case err != nil:
		return nil, err
	case !intact:
		rows = append(rows, control.Drift{Object: control.DriftSteering, Name: "nftables table", Problem: control.DriftChanged})
	}
	slices.SortFunc(rows, func(a, b control.Drift) int {
		return cmp.Or(cmp.Compare(a.TunnelID, b.TunnelID), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Name, b.Name))
	})
	return rows, nil
}

// actual asks the kernel what is there, by object and name, and which SAs and tunnels have our tag and our block of ports.
func (c *Concentrator) actual() (there map[string]bool, ours map[control.Drift]xfrm.ID, err error) {
	there, ours = make(map[string]bool), make(map[control.Drift]xfrm.ID)
	sas, err := c.SAs.List()
	if err != nil {
		return nil, nil, fmt.Errorf("compare SAs: %w", err)
	}
	for _, st := range sas {
		there[control.DriftSA+saName(st.ID)] = true
		if c.opt.Block.Owns(st.ReqID) {
			ours[control.Drift{Object: control.DriftSA, Name: saName(st.ID), TunnelID: uint16(st.ReqID), Problem: control.DriftUnexpected}] = st.ID
		}
	}
	tunnels, err := c.Tunnels.Tunnels()
	if err != nil {
		return nil, nil, fmt.Errorf("compare tunnels: %w", err)
	}
	for _, t := range tunnels {
		there[control.DriftTunnel+fmt.Sprint(t.ID)] = true
		if t.ID <= 0xffff && c.opt.owns(slot.Port(t.ID)) && t.Local.Port() == uint16(t.ID) {
			ours[control.Drift{Object: control.DriftTunnel, Name: fmt.Sprint(t.ID), TunnelID: uint16(t.ID), Problem: control.DriftUnexpected}] = xfrm.ID{}
		}
	}
	sessions, err := c.Tunnels.Sessions()
	if err != nil {
		return nil, nil, fmt.Errorf("compare sessions: %w", err)
	}
	for _, s := range sessions {
		there[control.DriftSession+sessionName(s.TunnelID, s.ID)] = true
	}
	names, err := c.Links.Names()
	if err != nil {
		return nil, nil, fmt.Errorf("compare interfaces: %w", err)
	}
	for name, is := range names {
		there[control.DriftInterface+name] = is
	}
	return there, ours, nil
}
