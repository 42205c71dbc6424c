// Package integration holds the tests on a real kernel: the l2tpctl binary against strongSwan, xl2tpd and pppd, in network namespaces.
//
// Its tests carry the build tag "integration". Where the machine's kernel has no ESP or L2TP, the test binary runs itself in one that has,
// see package vm. A machine that has none at all skips them and says why; with CI=true or L2TPCTL_REQUIRE_INTEGRATION=1 that is a failure.
package integration
