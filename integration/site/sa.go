package site

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/concentrator"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// child is a pair of SAs in the kernel.
type child struct {
	client       ikev1.ClientID
	in, out      xfrm.ID // the SPI is zero before it is installed
	encapsulated bool
}

// ends are the two addresses of a connection.
type ends struct{ local, remote netip.Addr }

// reqid returns what ties the SAs of a connection to the sockets for it.
func (s *Site) reqid(e ends) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reqids[e] == 0 {
		s.reqids[e] = uint32(len(s.reqids) + 1)
	}
	return s.reqids[e]
}

// install puts one direction of a child into the kernel.
func (s *Site) install(sa ikev1.ChildSA, direction xfrm.Direction) error {
	local, remote := sa.Local, sa.Remote
	st := &xfrm.State{
		ID: xfrm.ID{Dst: remote.Addr(), SPI: sa.SPI}, Src: local.Addr(), ReqID: s.reqid(ends{local.Addr(), remote.Addr()}), Direction: direction, ESN: sa.ESN,
		Soft: xfrm.Limit{Bytes: sa.LifetimeBytes},
	}
	if direction == xfrm.In {
		local, remote = remote, local
		st.ID.Dst, st.Src, st.ReplayWindow = remote.Addr(), local.Addr(), 1024
		st.Selector = xfrm.Selector{
			Src: netip.PrefixFrom(st.Src, st.Src.BitLen()), Dst: netip.PrefixFrom(st.Dst, st.Dst.BitLen()),
			Proto: unix.IPPROTO_UDP, DstPort: Port, DstPortMask: 0xffff,
		}
	}
	if sa.Encapsulated {
		st.Encap = &xfrm.Encap{SrcPort: local.Port(), DstPort: remote.Port()}
	}
	if sa.Encapsulated && direction == xfrm.In {
		st.MappingThreshold = time.Second
	}
	if err := concentrator.SetAlgorithms(st, sa); err != nil {
		return err
	}
	if err := s.sas.Add(st); err != nil {
		return err
	}
	ch := s.children[sa.Child]
	if ch == nil {
		ch = &child{client: sa.Client, encapsulated: sa.Encapsulated}
		s.children[sa.Child] = ch
	}
	if direction == xfrm.In {
		ch.in = st.ID
	} else {
		ch.out = st.ID
	}
	return nil
}

// remove takes a child out of the kernel.
func (s *Site) remove(id ikev1.ChildID) error {
	ch := s.children[id]
	if ch == nil {
		return nil
	}
	delete(s.children, id)
	var errs []error
	for _, sa := range []xfrm.ID{ch.in, ch.out} {
		if sa.SPI == 0 {
			continue
		}
		if err := s.sas.Delete(sa); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// follow gives the SAs of a client the ports that it has now.
func (s *Site) follow(m ikev1.ClientMoved) error {
	var errs []error
	for _, ch := range s.children {
		if ch.client != m.Client || !ch.encapsulated || !m.Encapsulated {
			continue
		}
		errs = append(errs, s.sas.UpdateEncap(ch.in, xfrm.Encap{SrcPort: m.Remote.Port(), DstPort: m.Local.Port()}))
		if ch.out.SPI != 0 {
			errs = append(errs, s.sas.UpdateEncap(ch.out, xfrm.Encap{SrcPort: m.Local.Port(), DstPort: m.Remote.Port()}))
		}
	}
	return errors.Join(errs...)
}

// kernelSays tells the engine what the kernel says about an SA.
func (s *Site) kernelSays(now time.Time, event xfrm.Event) ikev1.Output {
	for id, ch := range s.children {
		switch e := event.(type) {
		case xfrm.Mapping:
			if ch.in == e.ID {
				return s.engine.Moved(now, ch.client, e.New)
			}
		case xfrm.Expire:
			if ch.in == e.ID || ch.out == e.ID {
				return s.engine.Expired(now, ch.client, id, e.Hard)
			}
		}
	}
	return ikev1.Output{}
}

// SAs returns what there is in the kernel.
func (s *Site) SAs() ([]xfrm.State, error) { return s.sas.List() }
