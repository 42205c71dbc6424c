// Package fleet is many clients in one process: IKE by the engine as initiator, ESP in the kernel, and L2TP, PPP and ping in user space.
// A client costs two SAs, a socket and some KiB, so that hundreds find room beside the server that is tested.
package fleet
