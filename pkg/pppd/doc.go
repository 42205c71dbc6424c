// Package pppd starts and watches one pppd for each L2TP session.
//
// A [Launcher] owns a mount namespace: there /etc/ppp and /run are private and hold only what the launcher wrote, so that
// nothing on the host's PPP configuration is read or changed, and no other program sees the RADIUS secret. Every pppd is a
// child of one thread, which forks it there, and is told to hang up when that thread ends. The thread is the launcher's own,
// or the process's first ([Thread]): then the process may go on as another program, with the same children ([Launcher.Exec],
// [Adopt]).
//
// pppd gets a connected PPPoL2TP socket as descriptor 3 (plugin pppol2tp.so) and asks a RADIUS server on loopback
// (plugin radius.so) who the peer is and which address it gets. The argument vector is fixed but for numbers, addresses
// and names that were checked; it contains no secret.
//
// A pppd keeps CAP_NET_ADMIN and no other capability, and can write to no file system but the private ones. It confines
// itself: it is this program, run again under another name, until it has given up the rest. An init function of the package
// sees to that, in every program that uses it.
//
// The package needs Linux, /proc, CAP_SYS_ADMIN (mount and UTS namespaces), with a Thread also CAP_SYS_CHROOT (to return from
// the mount namespace), and what pppd needs (CAP_NET_ADMIN, /dev/ppp, root).
package pppd
