package concentrator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/l2tpctl/l2tpctl/internal/config"
)

// configure puts s in the place of before, whole or not at all. It belongs to the loop.
func (c *Concentrator) configure(s, before settings) error {
	if err := c.collides(s); err != nil {
		return err
	}
	if err := c.IKE.Configure(s.ike); err != nil {
		return err
	}
	if err := c.L2TP.Configure(s.l2tp); err != nil {
		return errors.Join(err, c.IKE.Configure(before.ike))
	}
	if s.users.Pool != nil {
		for ours := range c.localAddresses() {
			s.users.Pool.Reserve(ours) // of links that are up, besides the new one
		}
	}
	if err := c.AAA.Configure(s.users); err != nil {
		return errors.Join(err, c.L2TP.Configure(before.l2tp), c.IKE.Configure(before.ike))
	}
	c.opt.PPP, c.opt.Offload = s.options.PPP, s.options.Offload
	c.opt.Plain.MaxTunnels = s.options.Plain.MaxTunnels
	return nil
}

// collides refuses an address of ours that a session has, and an address for a user that is ours on a link that is up: the kernel would
// take the one's packets for the other's.
func (c *Concentrator) collides(s settings) error {
	ours := c.localAddresses()
	for _, cl := range c.clients {
		for _, other := range cl.sessions {
			if other.address == s.options.PPP.LocalIP && other.address.IsValid() {
				return fmt.Errorf("ppp.local_address: %s is the address of session %s (%s): end it first, or set another", other.address, other.name(), other.user)
			}
		}
	}
	for _, u := range s.users.Users {
		if link := ours[u.Address]; link != nil {
			return fmt.Errorf("users[%s].address: %s is our end of session %s: end it first, or set another", u.Name, u.Address, link.name())
		}
	}
	return nil
}

// localAddresses are our ends of the links, each with a session that has it.
func (c *Concentrator) localAddresses() map[netip.Addr]*session {
	ours := make(map[netip.Addr]*session)
	for _, cl := range c.clients {
		for _, s := range cl.sessions {
			if s.local.IsValid() {
				ours[s.local] = s
			}
		}
	}
	return ours
}

// remaining names the sessions whose users could not log in any more as they did, and which go on nevertheless.
func (c *Concentrator) remaining(before, now *config.Config) []string {
	is := make(map[string]config.User, len(now.Users))
	for _, u := range now.Users {
		is[u.Name] = u
	}
	changed := make(map[string]string)
	for _, was := range before.Users {
		switch u, known := is[was.Name]; {
		case !known:
			changed[was.Name] = "removed"
		case u.Password != was.Password:
			changed[was.Name] = "another password"
		case u.Address != was.Address:
			changed[was.Name] = "another address"
		}
	}
	var notes []string
	for _, cl := range c.clients {
		for _, s := range cl.sessions {
			if what := changed[s.user]; what != "" && s.user != "" {
				notes = append(notes, fmt.Sprintf("%s: %s; session %s goes on until it ends: l2tpctl session disconnect %s", s.user, what, s.name(), s.name()))
			}
		}
	}
	slices.Sort(notes)
	return notes
}
