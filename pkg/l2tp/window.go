package l2tp

// window decides how many messages may be unacknowledged: the peer's Receive Window Size, approached by "slow start"
// (RFC 2661 Appendix A), so that a burst does not hit a small device at once.
type window struct {
	peer      int // the peer's Receive Window Size, at least 1
	size      int // congestion window, 1 to peer
	threshold int // size from which growth is linear
	credit    int // acknowledgements towards the next linear step
}

// defaultPeerWindow is assumed of a peer that says nothing: "the sending peer can send 4 messages" (RFC 2661 4.4.3).
const defaultPeerWindow = 4

// maxWindow is the largest Receive Window Size that fits its AVP.
const maxWindow = 65535

// newWindow starts with one message. A size of 0 is invalid (RFC 2661 4.4.3) and would stall the tunnel for ever; it counts as 1.
func newWindow(peer int) window {
	peer = max(peer, 1)
	return window{peer: peer, size: 1, threshold: peer}
}

// acknowledged opens the window after n messages got through.
func (w *window) acknowledged(n int) {
	for range n {
		if w.size < w.threshold {
			w.size++
		} else if w.credit++; w.credit >= w.size {
			w.credit = 0
			w.size++
		}
		w.size = min(w.size, w.peer)
	}
}

// lost closes the window after a retransmission timeout.
func (w *window) lost() {
	w.threshold = max(w.size/2, 1)
	w.size = 1
	w.credit = 0
}
