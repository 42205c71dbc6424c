package ikev1test

import (
	"errors"
	"fmt"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Fragments splits a message into IKE fragments with size octets of it each, as strongSwan does: Main Mode, message ID 0.
func Fragments(message []byte, id uint16, size int) [][]byte {
	outer, err := wire.ParseHeader(message)
	if err != nil {
		return nil
	}
	header := wire.Header{InitiatorCookie: outer.InitiatorCookie, ResponderCookie: outer.ResponderCookie, Exchange: wire.ExchangeMain}
	var parts [][]byte
	for n := uint8(1); len(message) > 0; n++ {
		take := min(size, len(message))
		parts = append(parts, wire.Message(header, wire.Fragment{ID: id, Number: n, Last: take == len(message), Data: message[:take]}))
		message = message[take:]
	}
	return parts
}

// Defragment joins the messages of one answer, which must be all fragments of one message in their order, or one message.
func Defragment(parts [][]byte) ([]byte, error) {
	if len(parts) == 1 {
		return parts[0], nil
	}
	var whole []byte
	var first wire.Fragment
	for i, part := range parts {
		h, payloads, err := Parse(part)
		if err != nil {
			return nil, fmt.Errorf("fragment %d: %w", i+1, err)
		}
		if len(payloads) != 1 || payloads[0].Kind != wire.PayloadFragment || h.Exchange != wire.ExchangeMain || h.MessageID != 0 || h.Flags != 0 {
			return nil, fmt.Errorf("fragment %d has the header %+v and %d payloads", i+1, h, len(payloads))
		}
		f, err := wire.ParseFragment(payloads[0].Body)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = f
		}
		if f.ID != first.ID || int(f.Number) != i+1 || f.Last != (i == len(parts)-1) {
			return nil, fmt.Errorf("fragment %d of %d has ID %d, number %d, last %v", i+1, len(parts), f.ID, f.Number, f.Last)
		}
		whole = append(whole, f.Data...)
	}
	h, err := wire.ParseHeader(whole)
	if err != nil {
		return nil, err
	}
	if int(h.Length) != len(whole) {
		return nil, errors.New("the fragments are longer than the message")
	}
	return whole, nil
}
