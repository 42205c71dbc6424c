// Package l2tpctl is the root of the l2tpctl module: an L2TP/IPsec concentrator for Linux.
//
// The program is cmd/l2tpctl; docs/architecture.md says how its packages fit together.
package l2tpctl
