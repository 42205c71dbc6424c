package aaa

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/vendors/microsoft"
)

// maxTries bounds the logins of one session. pppd itself allows three with PAP and one with CHAP.
const maxTries = 5

// authenticate answers an Access-Request of session o. The caller holds mu.
func (s *Server) authenticate(p *radius.Packet, o *SessionInfo) (*radius.Packet, []Event) {
	name := rfc2865.UserName_GetString(p)
	method := methodOf(p)
	u, success, rejected := s.decide(p, o, name, method)
	var events []Event
	if rejected == nil {
		events, rejected = s.assign(o, u)
	}
	if rejected != nil {
		rejected.NASID, rejected.User, rejected.Method = o.NASID, shown(name), method
		return rejection(p, method), []Event{*rejected}
	}
	answer, err := acceptance(p, o.Address, success)
	if err != nil {
		s.release(o)
		return rejection(p, method), append(events, Rejected{NASID: o.NASID, User: shown(name), Method: method, Reason: ReasonNoCredentials})
	}
	o.User, o.Method, o.Tries = u.Name, method, 0
	return answer, append(events, Authenticated{NASID: o.NASID, User: u.Name, Method: method, Address: o.Address})
}

// decide verifies the credentials.
func (s *Server) decide(p *radius.Packet, o *SessionInfo, name string, method Method) (u User, success []byte, rejected *Rejected) {
	if o.Tries >= maxTries {
		return u, nil, &Rejected{Reason: ReasonTooManyTries}
	}
	o.Tries++
	switch {
	case method == MethodNone || name == "":
		return u, nil, &Rejected{Reason: ReasonNoCredentials}
	case len(s.methods) > 0 && !slices.Contains(s.methods, method):
		return u, nil, &Rejected{Reason: ReasonMethod}
	}
	u, known := s.users.find(name)
	password, hashed := u.Password, name
	if known {
		// What the peer hashed, before pppd made it printable; a DOMAIN\ before it stays.
		hashed = strings.TrimSuffix(name, visible(u.Name)) + u.Name
	} else {
		password = "\x00no such user" // does the same work; no user can have it
	}
	success, err := verify(p, method, hashed, password)
	switch {
	case !known:
		return u, nil, &Rejected{Reason: ReasonUnknownUser}
	case err != nil:
		return u, nil, &Rejected{Reason: ReasonWrongPassword}
	case o.User != "" && o.User != u.Name:
		return u, nil, &Rejected{Reason: ReasonOtherUser}
	case o.Superseded:
		return u, nil, &Rejected{Reason: ReasonSuperseded}
	}
	return u, success, nil
}

// assign gives the session an address if it has none. A user takes his own address over from his older session: a client that
// crashed and dials again must not wait until its old session is found dead.
func (s *Server) assign(o *SessionInfo, u User) ([]Event, *Rejected) {
	if o.Address.IsValid() {
		return nil, nil
	}
	var events []Event
	a := u.Address
	if a.IsValid() {
		if holder, taken := s.holders[a]; taken {
			old := s.sessions[holder]
			if old == nil || old.User != u.Name {
				return nil, &Rejected{Reason: ReasonAddressInUse, Holder: holder}
			}
			old.Superseded = true
			events = append(events, Superseded{NASID: holder, By: o.NASID, User: u.Name, Address: a})
		}
	} else {
		var err error
		if a, err = s.pool.Allocate(); err != nil {
			return nil, &Rejected{Reason: ReasonPoolExhausted}
		}
	}
	o.Address = a
	s.holders[a] = o.NASID
	return events, nil
}

// acceptance builds an Access-Accept. It contains nothing of the peer's making.
func acceptance(p *radius.Packet, a netip.Addr, success []byte) (*radius.Packet, error) {
	answer := p.Response(radius.CodeAccessAccept)
	errs := []error{
		rfc2865.ServiceType_Add(answer, rfc2865.ServiceType_Value_FramedUser),
		rfc2865.FramedProtocol_Add(answer, rfc2865.FramedProtocol_Value_PPP),
		rfc2865.FramedIPAddress_Add(answer, net.IP(a.AsSlice())),
	}
	if success != nil {
		errs = append(errs, microsoft.MSCHAP2Success_Add(answer, success))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("build an Access-Accept: %w", err)
	}
	return answer, nil
}

// rejection builds an Access-Reject. radius.so puts Reply-Message, not MS-CHAP-Error, into the Failure packet that the peer
// gets, and Windows shows a proper error only for a message in the form of RFC 2759.
func rejection(p *radius.Packet, method Method) *radius.Packet {
	answer := p.Response(radius.CodeAccessReject)
	if method != MethodMSCHAPv2 {
		return answer
	}
	failure := mschapFailure()
	ident := byte(0)
	if r := microsoft.MSCHAP2Response_Get(p); len(r) > 0 {
		ident = r[0]
	}
	// Both are short constants in form, and Add fails only for values that are too long.
	_ = microsoft.MSCHAPError_Add(answer, append([]byte{ident}, failure...))
	_ = rfc2865.ReplyMessage_AddString(answer, failure)
	return answer
}

// shown makes a name that a peer sent fit for logs: printable ASCII, at most 64 characters.
func shown(name string) string {
	v := visible(name)
	return v[:min(len(v), maxUserName)]
}
