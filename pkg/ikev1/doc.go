// Package ikev1 is IKEv1 (RFC 2407, 2408, 2409, NAT traversal by RFC 3947 and its drafts, dead peer detection by RFC 3706) as far as
// L2TP/IPsec (RFC 3193) needs it, for both roles: Main Mode with pre-shared keys, RSA or ECDSA signatures, Quick Mode for ESP in
// transport mode, Informational exchanges, and fragmentation; Aggressive Mode with the pre-shared key of a group for who must have it,
// as responder only. Encryption with public keys, XAUTH, Mode Config and New Group Mode are not.
//
// The [Engine] is a state machine without sockets, clock, goroutines or randomness of its own. Each entry point returns an
// [Output]: actions that the owner performs in order and reports by [Engine.Complete], datagrams to send, and events for
// the log. A message that promises an effect is in an Output only after the effect was reported.
//
// What a stranger can make the engine do and keep is bounded in limits.go; what there is to say about a failure stands in cause.go.
package ikev1
