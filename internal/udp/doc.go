// Package udp has the UDP sockets of the concentrator: those of IKE on ports 500 and 4500, two for each client slot, and for peers without
// IPsec those of L2TP on port 1701.
//
// It comes in two halves, for two processes. One opens sockets, for which it takes privileges, and reads nothing: OpenIKE,
// OpenPlain and Client. The other reads and sends on the files that it is given, and needs no privilege: IKE, Plain, and Poller with its Slots.
//
// The IKE sockets are few and each has a goroutine. The client sockets are thousands and share one goroutine with epoll
// (Poller). User traffic passes none of them: ESP in UDP and L2TP data are taken out of the sockets by the kernel.
//
// All sockets belong to the network namespace of the thread that opens them. The copies of a socket that the halves have are one
// open file to the kernel, so none of them does what would change it for the others: no shutdown, and no change between blocking
// and non-blocking mode. All sockets stay in blocking mode; who must not wait says so with each call.
package udp
