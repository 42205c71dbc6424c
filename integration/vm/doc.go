// Package vm finds a kernel that can do ESP, L2TP and PPP and runs a command inside it.
//
// The kernels are tried in this order: the machine's own; a user-mode-linux kernel named by the environment variable
// L2TPCTL_TEST_KERNEL; qemu with the distribution's kernel, downloaded and unpacked but never installed. The guests run
// on the machine's own files, so that a command is found at the same path in all three. L2TPCTL_TEST_KERNEL may also be
// "host" or "qemu", which rules out the others.
package vm
