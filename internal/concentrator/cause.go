package concentrator

import (
	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// A cause is why something above IPsec failed. Those of IKE and of ESP are the IKE engine's.
type cause struct {
	code, text, hint string // for programs, for people, and what would cure it
}

// The causes of what fails between the ESP SAs and the interface of a user, and for all of them.
var (
	causeTunnelSecret = cause{"tunnel_secret", "the client asks for a tunnel secret, which is not supported",
		"clear the L2TP secret in the VPN settings of the client: IPsec protects the tunnel"}
	causePlainSecret = cause{causeTunnelSecret.code, causeTunnelSecret.text, "configure the peer without a tunnel secret (L2TP tunnel password)"}
	causePPPStart    = cause{"ppp_start", "no PPP endpoint could be started",
		"the log of the daemon says why; l2tpctl doctor what the machine lacks"}
	causeNoMethod = cause{"no_auth_method", "no method in common, or no answer in time",
		"allow one of the accepted methods on the client, or add the client's to ppp.auth"}
	causeSteering = cause{"steering_missing", "",
		"the log of the daemon says why; l2tpctl doctor what the machine lacks; it is tried again every second"}
	causeRemoved = cause{"removed", "",
		"find out who removes SAs, tunnels or interfaces that are not theirs (ip xfrm state flush, another VPN daemon, a script)"}
	causeNoSlot = cause{string(ikev1.CauseNoSlot), "",
		"enlarge the block of ports (slots.port_base, slots.port_mask), or direct clients to another server"}
	causePortTaken = cause{"port_taken", "",
		"add the block to net.ipv4.ip_local_reserved_ports, and move programs that listen in it; l2tpctl doctor says who they are"}
	causePlainLimit = cause{"plain_limit", "",
		"raise l2tp.plain_max_tunnels, enlarge the block of slots.plain_base, or find out why the peer does not close its tunnels"}
	causeUnknownRejection = cause{"rejected", "", "the log of the daemon says more"}
)

// rejections are the causes for which AAA rejects a login.
var rejections = map[aaa.Reason]cause{
	aaa.ReasonUnknownUser: {"unknown_user", string(aaa.ReasonUnknownUser),
		"correct the user name on the client, or add the user to users"},
	aaa.ReasonWrongPassword: {"wrong_password", string(aaa.ReasonWrongPassword),
		"correct the password on the client"},
	aaa.ReasonNoCredentials: {"no_credentials", string(aaa.ReasonNoCredentials),
		"allow MS-CHAPv2 in the VPN settings of the client"},
	aaa.ReasonMethod: {"auth_method_not_allowed", string(aaa.ReasonMethod),
		"allow one of the accepted methods on the client, or add the client's to ppp.auth"},
	aaa.ReasonTooManyTries: {"too_many_attempts", string(aaa.ReasonTooManyTries),
		"correct the password on the client, and connect anew"},
	aaa.ReasonOtherUser: {"other_user", string(aaa.ReasonOtherUser),
		"disconnect the client before another user logs in"},
	aaa.ReasonPoolExhausted: {"pool_exhausted", string(aaa.ReasonPoolExhausted),
		"enlarge pool"},
	aaa.ReasonAddressInUse: {"address_in_use", string(aaa.ReasonAddressInUse),
		"end the session that has the address, or give the user another one in users"},
	aaa.ReasonSuperseded: {"superseded", string(aaa.ReasonSuperseded),
		"give each device a user of its own: one with a fixed address has one session at a time"},
}

// rejection returns the cause of a rejected login.
func rejection(reason aaa.Reason) cause {
	if c, ok := rejections[reason]; ok {
		return c
	}
	c := causeUnknownRejection
	c.text = string(reason)
	return c
}

// explain writes the cause into an event.
func (c cause) explain(e *control.Event) {
	e.Cause, e.Text, e.Hint = c.code, c.text, c.hint
}
