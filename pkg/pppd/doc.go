// Package pppd starts and watches one pppd for each L2TP session.
//
// A [Launcher] owns one operating system thread that lives in a mount namespace of its own: there /etc/ppp and /run are
// private and hold only what the launcher wrote, so that nothing on the host's PPP configuration is read or changed, and
// no other program sees the RADIUS secret. Every pppd is a child of that thread and inherits the namespace.
//
// pppd gets a connected PPPoL2TP socket as descriptor 3 (plugin pppol2tp.so) and asks a RADIUS server on loopback
// (plugin radius.so) who the peer is and which address it gets. The argument vector is fixed but for numbers, addresses
// and names that were checked; it contains no secret.
//
// A pppd keeps CAP_NET_ADMIN and no other capability, and can write to no file system but the private ones.
//
// The package needs Linux, CAP_SYS_ADMIN (mount and UTS namespaces) and what pppd needs (CAP_NET_ADMIN, /dev/ppp, root).
package pppd
