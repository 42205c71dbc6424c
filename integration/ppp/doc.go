// Package ppp tries pkg/pppd and internal/aaa on a real kernel: a pppd of ours and a client's pppd meet over an L2TP tunnel
// on loopback, without IPsec. The tests have the build tag kernel, need root, and use the network namespace, /etc/ppp and
// /run that they find, which they leave as they were.
package ppp
