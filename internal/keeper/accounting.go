package keeper

import (
	"crypto/md5"
	"encoding/binary"
	"net"
	"time"

	"go.uber.org/zap"
)

// Codes and lengths of RADIUS (RFC 2865 section 3, RFC 2866).
const (
	accountingRequest  = 4
	accountingResponse = 5
	radiusHeader       = 20
)

// answerAccounting acknowledges what pppd have to say of the ends of their sessions, if there is no daemon that does: each waits for an answer before
// it says goodbye to its peer. The caller calls end when no pppd runs any more.
func (k *Keeper) answerAccounting() (end func()) {
	if k.connected() != nil {
		return func() {}
	}
	conn, err := net.FilePacketConn(k.radius)
	if err != nil {
		k.log.Warn("pppd will not be answered, and end late", zap.Error(err))
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 4096); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := acknowledgement(b[:n], k.secret); answer != nil {
				_, _ = conn.WriteTo(answer, from) // pppd asks again
			}
		}
	}()
	return func() {
		_ = conn.SetDeadline(time.Unix(1, 0))
		<-done
		_ = conn.Close()
	}
}

// acknowledgement is the answer to an Accounting-Request, nil for anything else. It has no attributes.
func acknowledgement(request []byte, secret string) []byte {
	if len(request) < radiusHeader || request[0] != accountingRequest {
		return nil
	}
	answer := append([]byte(nil), request[:radiusHeader]...) // with its authenticator, from which ours is made
	answer[0] = accountingResponse
	binary.BigEndian.PutUint16(answer[2:], radiusHeader)
	sum := md5.Sum(append(answer[:radiusHeader:radiusHeader], secret...))
	copy(answer[4:], sum[:])
	return answer
}
