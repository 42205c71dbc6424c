// Package aaa decides who may have a PPP session and with which address, and hears when sessions begin and end.
//
// A [Server] is a small RADIUS server (RFC 2865, RFC 2866) on loopback whose only clients are the radius.so plugins of our
// own pppd processes. Each session gets an identifier from the owner, long and random, which its plugin sends as
// NAS-Identifier; a request without a known one is dropped unanswered. It verifies PAP, CHAP (RFC 1994) and MS-CHAPv2
// (RFC 2759, in the attributes of RFC 2548) against local users and gives each session an address from a pool or the
// user's own.
//
// A server can go on where another one has ended: it takes the socket and the secret over, adopts the sessions that the other one had
// written down (Config.Keep), and answers what waits in the socket. Only the memory of replies is new, so that a repeated request is
// answered afresh: with the same address, and to a wrong password with one more try counted.
//
// radius.so neither sends nor checks Message-Authenticator (RFC 3579), so it cannot be required here; the requests never
// leave the machine.
package aaa
