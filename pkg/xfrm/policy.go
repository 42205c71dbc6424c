package xfrm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetSocketPolicy gives a socket its own policy for one direction: one required ESP transport template with the reqid
// (IP_XFRM_POLICY, IPV6_XFRM_POLICY). In: only what an SA with this reqid decrypted is delivered. Out: what the socket
// sends is encrypted by such an SA, or dropped while there is none. v6 is the family of the socket.
//
// Set it before bind, connect and use: kernels before 6.1.187 and 6.12.107 can free a route twice otherwise.
// CAP_NET_ADMIN is required.
func SetSocketPolicy(fd int, v6 bool, dir Direction, reqid uint32) error {
	b := appendTemplate(appendPolicy(nil, v6, dir), v6, reqid)
	if err := setPolicy(fd, v6, b); err != nil {
		return wrap(fmt.Sprintf("set %s policy with reqid 0x%08x on socket", dir, reqid), err)
	}
	return nil
}

// SetSocketBypass lets a socket send and receive in the clear whatever the policy database says, as IKE needs.
func SetSocketBypass(fd int, v6 bool) error {
	for _, dir := range []Direction{In, Out} {
		if err := setPolicy(fd, v6, appendPolicy(nil, v6, dir)); err != nil {
			return wrap(fmt.Sprintf("set %s bypass policy on socket", dir), err)
		}
	}
	return nil
}

func setPolicy(fd int, v6 bool, b []byte) error {
	if v6 {
		return unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_XFRM_POLICY, string(b))
	}
	return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_XFRM_POLICY, string(b))
}

func socketFamily(v6 bool) uint16 {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// appendPolicy appends struct xfrm_userpolicy_info: allow, any traffic, no limits.
func appendPolicy(b []byte, v6 bool, dir Direction) []byte {
	p := make([]byte, sizeUserPolicyInfo)
	(&Selector{}).put(p, socketFamily(v6))
	putLimits(p[sizeSelector:], Limit{}, Limit{})
	if dir == Out {
		p[160] = 1 // XFRM_POLICY_OUT; IN is 0
	}
	return append(b, p...)
}

// appendTemplate appends struct xfrm_user_tmpl. The addresses stay zero: in transport mode they are the packet's.
func appendTemplate(b []byte, v6 bool, reqid uint32) []byte {
	t := make([]byte, sizeUserTmpl)
	t[20] = unix.IPPROTO_ESP
	native.PutUint16(t[24:], socketFamily(v6))
	native.PutUint32(t[44:], reqid)
	t[48] = uint8(ModeTransport)
	for _, off := range []int{52, 56, 60} { // any algorithms
		native.PutUint32(t[off:], ^uint32(0))
	}
	return append(b, t...)
}
