package aaa

import (
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
)

// account answers an Accounting-Request of session o. The caller holds mu. A session that has not authenticated has nothing
// to account for; it is answered all the same, or pppd would wait.
func (s *Server) account(p *radius.Packet, o *SessionInfo) (*radius.Packet, []Event) {
	answer := p.Response(radius.CodeAccountingResponse)
	if o.User == "" {
		return answer, nil
	}
	var events []Event
	switch rfc2866.AcctStatusType_Get(p) {
	case rfc2866.AcctStatusType_Value_Start:
		o.Up = true
		events = append(events, Started{NASID: o.NASID, User: o.User, Address: o.Address})
	case rfc2866.AcctStatusType_Value_InterimUpdate:
		events = append(events, Updated{NASID: o.NASID, User: o.User, Counters: countersOf(p)})
	case rfc2866.AcctStatusType_Value_Stop:
		o.Up = false
		events = append(events, Stopped{NASID: o.NASID, User: o.User, Address: o.Address, Counters: countersOf(p)})
	}
	return answer, events
}

// countersOf reads the counters. "Input" is what came from the peer (RFC 2866 section 5.3).
func countersOf(p *radius.Packet) Counters {
	cause := rfc2866.AcctTerminateCause_Get(p)
	c := Counters{
		Duration:       time.Duration(rfc2866.AcctSessionTime_Get(p)) * time.Second,
		RxBytes:        uint64(rfc2866.AcctInputOctets_Get(p)) | uint64(rfc2869.AcctInputGigawords_Get(p))<<32,
		TxBytes:        uint64(rfc2866.AcctOutputOctets_Get(p)) | uint64(rfc2869.AcctOutputGigawords_Get(p))<<32,
		RxPackets:      uint64(rfc2866.AcctInputPackets_Get(p)),
		TxPackets:      uint64(rfc2866.AcctOutputPackets_Get(p)),
		TerminateCause: uint32(cause),
	}
	if cause != 0 {
		c.TerminateCauseInWords = cause.String()
	}
	return c
}
