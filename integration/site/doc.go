// Package site is one end of site-to-site IPsec: the engine of pkg/ikev1, which calls other daemons and is called by them, with real
// sockets and with its SAs in the kernel. UDP between the port 1701 of both ends goes through them.
package site
