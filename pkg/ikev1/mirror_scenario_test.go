package ikev1_test

import (
	"math/rand/v2"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestMirror: nobody passes for the peer that we call by sending back what we send.
func TestMirror(t *testing.T) {
	for _, mirrored := range []string{"cookie", "key exchange", "nonce", "nothing"} {
		t.Run(mirrored, func(t *testing.T) {
			w := newWorld(t)
			peer := newPeer(1)
			proposal := ikev1.Modern.Phase1()[0]
			_, out, err := w.engine.Connect(w.now, ikev1.Connection{Local: peer.Server, Remote: peer.Addr, Phase1: []ikev1.Phase1Proposal{proposal}})
			w.ok(err)
			w.absorb(out)
			h, offer, err := ikev1test.Parse(w.take()[0].Payload)
			w.ok(err)
			h.ResponderCookie = wire.Cookie{1}
			if mirrored == "cookie" {
				h.ResponderCookie = h.InitiatorCookie
			}
			answer := func(payloads ...wire.Payload) []ikev1.Datagram { return w.say(peer, wire.Message(h, payloads...)) }
			sent := answer(offer[0])
			if mirrored == "cookie" {
				want(t, len(sent), 0, "messages 3")
				return
			}
			private, err := dh.GenerateKey(proposal.Group, rand.NewChaCha8([32]byte{9}))
			w.ok(err)
			ke, err := private.Public()
			w.ok(err)
			nonce := make([]byte, 32)
			_, ours, err := ikev1test.Parse(sent[0].Payload)
			w.ok(err)
			for _, p := range ours {
				switch {
				case mirrored == "key exchange" && p.Kind == wire.PayloadKE:
					ke = p.Body
				case mirrored == "nonce" && p.Kind == wire.PayloadNonce:
					nonce = p.Body
				}
			}
			want(t, len(answer(wire.KE(ke), wire.Nonce(nonce))) == 0, mirrored != "nothing", "there is no message 5")
		})
	}
}
