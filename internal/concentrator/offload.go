package concentrator

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const (
	// refusedFor is how long a device is not asked again for what it has refused: a driver changes its mind only with a new firmware or
	// another setting.
	refusedFor = time.Hour
	// fullFor is how long a device is not asked for anything after it had no room. SAs come and go.
	fullFor = time.Minute
	// maxRefusals bounds what is remembered of all devices.
	maxRefusals = 1024
)

// errNotOffloaded is of an SA that the kernel has installed in software though a device was asked for.
var errNotOffloaded = errors.New("the device knows nothing of ESP, and the kernel does it in software")

// placement is where an SA is.
type placement struct {
	device  int          // by which packets of the SA left when it was installed; 0 if nobody asked
	offload xfrm.Offload // none: software
}

// demand is what a device takes or refuses; as a whole, for what it is asked matters as well as how.
type demand struct {
	device            int
	mode              xfrm.OffloadMode
	direction         xfrm.Direction
	v6, encap, esn    bool
	cipher, integrity string
}

func newDemand(device int, mode xfrm.OffloadMode, st *xfrm.State) demand {
	d := demand{device: device, mode: mode, direction: st.Direction, v6: st.Dst.Is6(), encap: st.Encap != nil, esn: st.ESN}
	d.cipher, d.integrity = algorithms(*st)
	return d
}

// full is the demand that stands for all of a device and mode.
func (d demand) full() demand { return demand{device: d.device, mode: d.mode} }

// hopeless reports that the demand would come to nothing good, whatever the device answers.
//
// Inbound, a device in packet mode hands over plain packets without the mark of the SA, and by that the steering table finds the client.
// With UDP encapsulation no driver works in crypto mode; some take the SA nevertheless, and spoil its packets.
func (d demand) hopeless() bool {
	return d.mode == xfrm.OffloadPacket && d.direction == xfrm.In || d.mode == xfrm.OffloadCrypto && d.encap
}

// offloads is what is known of the devices. It belongs to the loop.
type offloads struct {
	refused map[demand]time.Time // until when it is believed
	carried map[demand]bool      // in packet mode, and the kernel found the SA
	count   uint64               // of refusals since the start
	moved   uint64               // SAs that were in a device by which their packets leave no more
	lost    uint64               // SAs that were in a device and are gone
}

func newOffloads() *offloads {
	return &offloads{refused: make(map[demand]time.Time), carried: make(map[demand]bool)}
}

func (o *offloads) refuses(now time.Time, d demand) bool {
	return now.Before(o.refused[d]) || now.Before(o.refused[d.full()])
}

// refuse remembers that a device has refused a demand.
func (o *offloads) refuse(now time.Time, d demand, err error) {
	o.count++
	if len(o.refused) >= maxRefusals {
		for other, until := range o.refused {
			if !now.Before(until) {
				delete(o.refused, other)
			}
		}
		if len(o.refused) >= maxRefusals {
			clear(o.refused) // then they are asked once more
		}
	}
	if noRoom(err) {
		o.refused[d.full()] = now.Add(fullFor)
		return
	}
	o.refused[d] = now.Add(refusedFor)
}

// noRoom reports an error that says nothing of what was asked for: the next SA of the kind may fit.
func noRoom(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.ENOMEM, unix.ENOBUFS, unix.EBUSY, unix.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// forget forgets a device, which may come back as another.
func (o *offloads) forget(device int) {
	for d := range o.refused {
		if d.device == device {
			delete(o.refused, d)
		}
	}
	for d := range o.carried {
		if d.device == device {
			delete(o.carried, d)
		}
	}
}

// noteLosses counts the SAs of a child that have gone, if they were in a device.
func (o *offloads) noteLosses(k expiring, in, out bool) {
	if in && k.inPlace.offload.Mode != xfrm.OffloadNone {
		o.lost++
	}
	if out && k.outPlace.offload.Mode != xfrm.OffloadNone {
		o.lost++
	}
}

// addSA installs an SA of a client: in the device by which its packets leave, in the first mode that the device takes, or else in software.
// That the device refuses it is no error. device is what is known of the way already, or 0.
func (c *Concentrator) addSA(now time.Time, cl *client, st *xfrm.State, device int) (placement, error) {
	if len(c.opt.Offload) == 0 {
		return placement{}, c.SAs.Add(st)
	}
	if device == 0 {
		local, remote := ends(st)
		var err error
		if device, err = c.Egress.Device(local, remote, st.ReqID); err != nil {
			c.Log.Debug("an SA is installed in software, for there is no route to its peer", zap.Stringer("peer", remote), zap.Error(err))
			return placement{}, c.SAs.Add(st)
		}
	}
	refusals := make(map[demand]error)
	for _, mode := range c.opt.Offload {
		d := newDemand(device, mode, st)
		if d.hopeless() || c.offloads.refuses(now, d) || !c.provable(cl, d) {
			continue
		}
		st.Offload = xfrm.Offload{Device: device, Mode: mode}
		err := c.offload(cl, d, st)
		switch {
		case errors.Is(err, errNotOffloaded):
			st.Offload = xfrm.Offload{}
			refusals[d] = err
			c.noteRefusals(now, refusals)
			return placement{device: device}, nil
		case err == nil:
			c.noteRefusals(now, refusals)
			return placement{device, st.Offload}, nil
		case errors.Is(err, os.ErrExist):
			return placement{}, err
		}
		refusals[d] = err
	}
	st.Offload = xfrm.Offload{}
	if err := c.SAs.Add(st); err != nil {
		return placement{}, err // it is not for the device's sake that the others failed
	}
	c.noteRefusals(now, refusals)
	return placement{device: device}, nil
}

// provable reports whether it can be told of an SA in packet mode that the kernel finds it, or need not be any more. While the
// client has another SA, that would be found.
func (c *Concentrator) provable(cl *client, d demand) bool {
	return d.mode != xfrm.OffloadPacket || c.offloads.carried[d] || !cl.answerable()
}

// offload asks a device to take an SA. After an error other than errNotOffloaded there is no SA.
func (c *Concentrator) offload(cl *client, d demand, st *xfrm.State) error {
	if err := c.SAs.Add(st); err != nil {
		return err
	}
	got, err := c.SAs.Get(st.ID)
	if err == nil && d.mode == xfrm.OffloadPacket && !cl.answerable() {
		// Linux finds an SA in packet mode only by a policy that is in the same device, and those of sockets are in none. It would take
		// no packet at all, so better ask than believe.
		local, remote := ends(st)
		if err = c.Egress.Encrypts(local, remote, st.ReqID); err == nil {
			c.offloads.carried[d] = true
		}
	}
	switch {
	case err != nil:
		_, deletion := c.SAs.Delete(st.ID)
		return errors.Join(err, deletion)
	case got.Offload.Mode == xfrm.OffloadNone:
		return errNotOffloaded
	}
	st.Offload = got.Offload // in crypto mode the kernel takes the device of the route if the one that was named is gone
	return nil
}

// noteRefusals remembers what a device refused, once it is clear that nothing else was wrong.
func (c *Concentrator) noteRefusals(now time.Time, refusals map[demand]error) {
	for d, err := range refusals {
		c.offloads.refuse(now, d, err)
		log := c.Log.Debug
		if e, ok := errors.AsType[*xfrm.Error](err); ok && e.Message != "" {
			log = c.Log.Info // the words of a driver, which an operator may want to read
		}
		log("a device does not take SAs of a kind", zap.String("device", c.Egress.Name(d.device)), zap.Stringer("mode", d.mode),
			zap.Stringer("direction", d.direction), zap.String("encryption", d.cipher), zap.String("integrity", d.integrity),
			zap.Bool("udp", d.encap), zap.Bool("ipv6", d.v6), zap.Error(err))
	}
}

// ends are our outer address and the peer's.
func ends(st *xfrm.State) (local, remote netip.Addr) {
	if st.Direction == xfrm.In {
		return st.Dst, st.Src
	}
	return st.Src, st.Dst
}
