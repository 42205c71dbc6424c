// Package caller calls an IKE responder in the name of many clients: the engine of pkg/ikev1 as initiator, over the sockets of one
// namespace, to which all the clients' addresses are local. It installs nothing in the kernel, so that the clients carry no
// traffic, and cost little beside the responder that is measured.
//
// The other end may be any daemon, or Answer: the engine as responder without a kernel, for machines whose kernel has no ESP.
package caller
