package l2tp

import (
	"fmt"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// Result is a Result Code AVP of StopCCN or CDN (RFC 2661 4.4.2): what we tell a peer, or what it told us.
// The codes of the two messages differ; the error code has a meaning only with code 2 (general error).
type Result struct {
	Code    uint16
	Error   uint16
	Message string // optional, UTF-8, at most 255 octets are sent
}

// Result codes of StopCCN.
const (
	StopGeneral       uint16 = 1 // general request to clear the control connection
	StopError         uint16 = 2 // general error, see the error code
	StopNotAuthorized uint16 = 4
	StopVersion       uint16 = 5 // protocol version not supported, error code: the highest one that is
	StopShutdown      uint16 = 6 // requester is being shut down
	StopFSM           uint16 = 7 // finite state machine error
)

// Result codes of CDN.
const (
	CDNLostCarrier    uint16 = 1
	CDNError          uint16 = 2 // general error, see the error code
	CDNAdministrative uint16 = 3
	CDNTemporary      uint16 = 4 // lack of facilities, for the time being
	CDNPermanent      uint16 = 5 // lack of facilities, for ever
	CDNTimeout        uint16 = 10
)

// General error codes (RFC 2661 4.4.2).
const (
	ErrorNone       uint16 = 0
	ErrorLength     uint16 = 2 // length is wrong
	ErrorRange      uint16 = 3 // a field's value was out of range
	ErrorResources  uint16 = 4 // insufficient resources
	ErrorSession    uint16 = 5 // the Session ID is invalid in this context
	ErrorUnknownAVP uint16 = 8 // unknown AVP with the M bit set
)

// String returns the codes and the message, "2/8 unknown AVP".
func (r Result) String() string {
	s := fmt.Sprintf("%d/%d", r.Code, r.Error)
	if r.Message != "" {
		s += " " + printable([]byte(r.Message))
	}
	return s
}

func (r Result) suffix() string {
	if r == (Result{}) {
		return ""
	}
	return " (result " + r.String() + ")"
}

// wire returns the result as it is sent.
func (r Result) wire() wire.ResultCode {
	return wire.ResultCode{Code: r.Code, Error: r.Error, Message: []byte(r.Message[:min(len(r.Message), 255)])}
}

// resultOf returns a received result with printable text.
func resultOf(r wire.ResultCode) Result {
	return Result{Code: r.Code, Error: r.Error, Message: printable(r.Message)}
}
