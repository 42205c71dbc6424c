// Package keeper is the process that outlives the daemon: it holds what sessions need to go on, and does what takes privileges.
//
// It holds the sockets of IKE and of clients, PPPoL2TP sockets, pppd (whose parent it is), the socket of RADIUS, the daemon's records and files
// by name. On request it installs SAs, creates tunnels and sessions, and starts pppd; it guards the steering table by itself. It parses
// nothing that comes from the network: it never reads its sockets. Requests come from one daemon at a time, are checked against the slots
// that the keeper was set up for, and name no path and no command.
//
// What is in memory here is never written to a disk.
package keeper
