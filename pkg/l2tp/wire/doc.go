// Package wire encodes and decodes L2TPv2 control messages (RFC 2661 sections 3 and 4): the header, attribute-value pairs and
// the values that a network server has to know.
//
// Parse accepts what real clients send, also where it bends the rules; it never accepts a length that leaves the datagram. What
// it accepts, Message.Append writes such that it parses to the same Message again.
package wire
