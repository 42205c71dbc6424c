// Package ikev1 is the responder side of IKEv1 (RFC 2407, 2408, 2409, NAT traversal by RFC 3947, dead peer detection by
// RFC 3706) as far as L2TP/IPsec (RFC 3193) needs it: Main Mode with a pre-shared key, Quick Mode for ESP in transport
// mode, and Informational exchanges.
//
// The [Engine] is a state machine without sockets, clock, goroutines or randomness of its own. Each entry point returns an
// [Output]: actions that the owner performs in order and reports by [Engine.Complete], datagrams to send, and events for
// the log. A message that promises an effect is in an Output only after the effect was reported.
package ikev1
