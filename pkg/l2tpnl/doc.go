// Package l2tpnl drives the kernel's L2TPv2 data path: the "l2tp" generic netlink family, which owns tunnels and sessions and tells of
// their changes, and PPPoL2TP sockets, which join a session to PPP.
//
// Three habits of the kernel shape its users (found on 6.1, 6.12 and 7.3):
//
//   - Deletion is asynchronous. After [Conn.DeleteTunnel] the id may still be taken for a moment, and creating it again gives
//     [os.ErrExist]: retry for a bounded time, or take another id. The socket of a deleted tunnel is not to be used for another one.
//   - A tunnel lives as long as its UDP socket: when the last descriptor is closed, tunnel and sessions go away without notice. A
//     copy of the descriptor held elsewhere keeps it all running. A tunnel whose socket the kernel has made lives until it is deleted.
//   - A session that goes away does not hang up the pppd that uses it.
//
// Everything but dumps, a [Monitor] and the options and counters of a PPPoL2TP socket needs CAP_NET_ADMIN in the network namespace of
// the calling thread. Requests that fail are *[Error]; those refused before the kernel is asked, for values out of range, are not.
//
// # Limitations
//
//   - L2TPv2 over UDP and PPP only. Tunnels of L2TPv3 or over bare IP and pseudowires other than PPP, hence cookies, Layer-2-specific
//     sublayers and interface names of sessions, can be neither made nor seen; [Stats] has the counter of cookies all the same.
//   - The kernel has no way to change a tunnel, and [Conn.ModifyTunnel] only makes it tell of one.
//   - Debug flags are for kernels before 5.10. Later ones take and ignore them; there the tracepoints of the group l2tp tell more.
//   - PPPoL2TP management sockets (those of a tunnel, with a session of zero) are not offered: netlink tells all that they do, and more.
package l2tpnl
