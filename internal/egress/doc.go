// Package egress tells by which network device packets to a peer leave, whether they are encrypted by the SA that is meant for them, and when the
// routes that decide on it may have changed.
package egress
