// Package lab builds networks of foreign L2TP/IPsec clients around the l2tpctl binary, in network namespaces of the running kernel.
//
// A Lab has namespaces, each with commands, sockets and captures of its own. Networks join them; NAT boxes hide some of them. A
// Client is strongSwan, xl2tpd and pppd from the distribution, with its own files below /run and /etc. A Server is the program
// under test. Nothing here waits for a fixed time: every wait is for a condition, with a limit that only a failure reaches.
package lab
