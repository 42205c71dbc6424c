package concentrator

import (
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/pool"
	"github.com/l2tpctl/l2tpctl/internal/revocation"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const (
	// vendorName goes into SCCRP; firmware is the revision of what we say there.
	vendorName = "l2tpctl"
	// slotRest is longer than the kernel takes to delete a tunnel, and than peers remember one.
	slotRest = time.Minute
	// tunnelWait is for clients whose operator starts IPsec and L2TP by hand.
	tunnelWait = 5 * time.Minute
	// terminateWait is one LCP Terminate-Request and its retransmission (RFC 1661 section 4.6).
	terminateWait = 4 * time.Second
)

// settings are a configuration in the terms of the parts.
type settings struct {
	options  Options
	ike      ikev1.Config
	l2tp     l2tp.Config
	users    aaa.Config
	steering steering.Config
	listen   []netip.Addr // none: all
	marker   string       // in the command line of every pppd of ours
	// revocation keeps ike.Trust informed; nil if there is nothing to keep.
	revocation *revocation.Fetcher
}

func newSettings(cfg *config.Config, log *zap.Logger) (settings, error) {
	s := settings{
		options: Options{
			Block:         slot.Block{Tag: cfg.Slots.Tag, Base: cfg.Slots.PortBase, Mask: cfg.Slots.PortMask},
			SlotRest:      slotRest,
			TunnelWait:    tunnelWait,
			TerminateWait: terminateWait,
			Offload:       offloadModes[cfg.IKE.Offload],
			Plain: PlainOptions{
				Peers:      cfg.L2TP.PlainPeers,
				Block:      slot.Block{Tag: cfg.Slots.Tag, Base: cfg.Slots.PlainBase, Mask: cfg.Slots.PlainMask},
				MaxTunnels: cfg.L2TP.PlainMaxTunnels,
			},
			PPP: PPPOptions{
				InterfacePrefix: cfg.InterfacePrefix,
				LocalIP:         cfg.PPP.LocalAddress,
				DNS:             cfg.PPP.DNS,
				MTU:             cfg.PPP.MTU,
				EchoInterval:    cfg.PPP.EchoInterval,
				EchoFailure:     cfg.PPP.EchoFailures,
			},
		},
		l2tp: l2tp.Config{
			HostName:             cfg.L2TP.HostName,
			VendorName:           vendorName,
			HelloInterval:        cfg.L2TP.HelloInterval,
			MaxSessionsPerTunnel: cfg.L2TP.MaxSessions,
		},
		steering: steering.Config{
			Tag:             cfg.Slots.Tag,
			PortBase:        cfg.Slots.PortBase,
			PortMask:        cfg.Slots.PortMask,
			InterfacePrefix: cfg.InterfacePrefix,
			PlainPeers:      cfg.L2TP.PlainPeers,
			PlainBase:       cfg.Slots.PlainBase,
			PlainMask:       cfg.Slots.PlainMask,
		},
		marker: fmt.Sprintf("l2tpctl-%s-", cfg.InterfacePrefix),
	}
	s.ike = ikeSettings(&cfg.IKE)
	s.ike.Records, s.l2tp.Records = true, true
	var err error
	if s.ike.Trust, s.revocation, err = newTrust(&cfg.IKE, log); err != nil {
		return s, err
	}
	everywhere := len(cfg.Listen) == 2 && cfg.Listen[0].IsUnspecified() && cfg.Listen[1].IsUnspecified()
	if !everywhere { // naming none is also right where there is no IPv6
		s.listen = cfg.Listen
	}
	addresses, err := pool.New(cfg.Pool, cfg.PPP.LocalAddress)
	if err != nil {
		return s, fmt.Errorf("pool: %w", err)
	}
	s.users.Pool = addresses
	for _, u := range cfg.Users {
		s.users.Users = append(s.users.Users, aaa.User{Name: u.Name, Password: u.Password.Reveal(), Address: u.Address})
	}
	for _, m := range cfg.PPP.Auth {
		s.users.Methods = append(s.users.Methods, aaa.Method(m))
		s.options.PPP.Auth |= pppMethods[m]
	}
	return s, nil
}

// offloadModes are what is tried, the best first.
var offloadModes = map[config.Offload][]xfrm.OffloadMode{
	config.OffloadAuto:   {xfrm.OffloadPacket, xfrm.OffloadCrypto},
	config.OffloadPacket: {xfrm.OffloadPacket},
	config.OffloadCrypto: {xfrm.OffloadCrypto},
	config.OffloadOff:    nil,
}

var pppMethods = map[config.AuthMethod]pppd.Auth{
	config.MSCHAPv2: pppd.AuthMSCHAPv2,
	config.CHAP:     pppd.AuthCHAP,
	config.PAP:      pppd.AuthPAP,
}

// setup is what the keeper has to know.
func (s settings) setup() protocol.Setup {
	return protocol.Setup{Listen: s.listen, Steering: s.steering, Marker: s.marker}
}
