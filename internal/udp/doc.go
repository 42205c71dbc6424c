// Package udp owns the UDP sockets of the concentrator: those of IKE on ports 500 and 4500, and two for each client slot.
//
// The IKE sockets are few and each has a goroutine. The client sockets are thousands and share one goroutine with epoll
// (Poller). User traffic passes none of them: ESP in UDP and L2TP data are taken out of the sockets by the kernel.
//
// All sockets belong to the network namespace of the thread that opens them.
package udp
