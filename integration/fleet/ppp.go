package fleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// The protocols of PPP that a client speaks.
const (
	protocolIP   = 0x0021
	protocolIPCP = 0x8021
	protocolLCP  = 0xc021
	protocolPAP  = 0xc023
)

// The codes of LCP (RFC 1661 section 5), of which IPCP and PAP have the first ones.
const (
	configureRequest = iota + 1
	configureAck
	configureNak
	configureReject
	terminateRequest
	terminateAck
	_
	protocolReject
	echoRequest
	echoReply
)

// ppp is the client's end of a PPP link: LCP, PAP and IPCP as far as an address takes them. It agrees to all that the server wants.
type ppp struct {
	user, password string

	phase   uint16 // the protocol that is being negotiated; 0 before start, IP when there is an address
	wish    netip.Addr
	address netip.Addr
	acked   map[uint16]bool // the server has had our agreement
	resend  time.Time
	ended   error
	out     [][]byte
}

func (p *ppp) start(now time.Time) {
	p.acked, p.phase, p.wish = make(map[uint16]bool), protocolLCP, netip.IPv4Unspecified()
	p.request(now)
}

func (p *ppp) take() [][]byte {
	out := p.out
	p.out = nil
	return out
}

func (p *ppp) tick(now time.Time) {
	if p.phase != 0 && p.phase != protocolIP && now.After(p.resend) {
		p.request(now)
	}
}

// request sends what the phase begins with.
func (p *ppp) request(now time.Time) {
	p.resend = now.Add(time.Second)
	switch p.phase {
	case protocolLCP:
		p.send(protocolLCP, configureRequest, 1, nil)
	case protocolPAP:
		login := append([]byte{byte(len(p.user))}, p.user...)
		p.send(protocolPAP, configureRequest, 1, append(append(login, byte(len(p.password))), p.password...))
	case protocolIPCP:
		a := p.wish.As4()
		p.send(protocolIPCP, configureRequest, 1, append([]byte{3, 6}, a[:]...))
	}
}

func (p *ppp) send(protocol uint16, code, id byte, data []byte) {
	b := binary.BigEndian.AppendUint16(nil, protocol)
	b = binary.BigEndian.AppendUint16(append(b, code, id), uint16(4+len(data)))
	p.out = append(p.out, append(b, data...))
}

// enter goes on to the next phase when both ends have agreed to the present one.
func (p *ppp) enter(now time.Time, phase uint16) {
	p.phase = phase
	p.request(now)
}

// receive takes a frame, and returns an IP packet if it is one.
func (p *ppp) receive(now time.Time, frame []byte) []byte {
	if len(frame) < 6 || p.phase == 0 {
		return nil
	}
	protocol, code, id := binary.BigEndian.Uint16(frame), frame[2], frame[3]
	if protocol == protocolIP {
		return frame[2:]
	}
	length := int(binary.BigEndian.Uint16(frame[4:]))
	if length < 4 || 2+length > len(frame) {
		return nil
	}
	data := bytes.Clone(frame[6 : 2+length])
	switch protocol {
	case protocolLCP:
		p.lcp(now, code, id, data)
	case protocolPAP:
		switch {
		case code == configureAck && p.phase == protocolPAP:
			p.enter(now, protocolIPCP)
		case code == configureNak:
			p.ended = errors.New("the server refuses the password")
		}
	case protocolIPCP:
		p.ipcp(now, code, id, data)
	default:
		p.send(protocolLCP, protocolReject, id, frame[:2+length])
	}
	return nil
}

func (p *ppp) lcp(now time.Time, code, id byte, data []byte) {
	switch code {
	case configureRequest:
		p.send(protocolLCP, configureAck, id, data)
		p.acked[protocolLCP] = true
	case configureAck:
		p.acked[configureAck] = true
	case terminateRequest:
		p.send(protocolLCP, terminateAck, id, nil)
		p.ended = errors.New("the server has ended PPP")
	case echoRequest:
		if len(data) >= 4 {
			p.send(protocolLCP, echoReply, id, make([]byte, 4)) // no magic number was negotiated
		}
	}
	if p.phase == protocolLCP && p.acked[protocolLCP] && p.acked[configureAck] {
		p.enter(now, protocolPAP)
	}
}

func (p *ppp) ipcp(now time.Time, code, id byte, data []byte) {
	switch {
	case code == configureRequest:
		p.send(protocolIPCP, configureAck, id, data)
	case code == configureNak && len(data) >= 6 && data[0] == 3 && p.phase == protocolIPCP:
		p.wish = netip.AddrFrom4([4]byte(data[2:6]))
		p.request(now)
	case code == configureAck && p.phase == protocolIPCP:
		p.phase, p.address = protocolIP, p.wish
	}
}
