// Package xfrm installs ESP security associations in the Linux kernel and gives sockets their own IPsec policies.
//
// It is a small codec for NETLINK_XFRM over github.com/mdlayher/netlink, with the parts that general libraries lack:
// replay windows above 32 packets without extended sequence numbers, the mark that an inbound SA puts on what it has
// decrypted, port masks in selectors, the MAPPING message that tells of a changed NAT port, the kernel's own error
// texts, and per-socket policies (IP_XFRM_POLICY), which need no entry in the policy database.
//
// Only ESP is handled. Limits of packets are always infinite, for IKEv1 has limits of time and bytes only. SPIs are chosen by
// the caller (XFRM_MSG_ALLOCSPI walks all states), and the ACQUIRE group is never joined, so that the kernel creates no
// larval states for packets without an SA.
//
// The layouts are those of 64-bit kernels.
package xfrm
