package l2tpnl

import (
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
)

// MaxReorderTimeout is 24 days: the kernel counts milliseconds in 31 bits, after rounding them up to its clock ticks.
const MaxReorderTimeout = 24 * 24 * time.Hour

// DebugFlags choose what kernels before 5.10 write to their log about a session. Later kernels take and ignore them.
type DebugFlags uint32

// The categories, L2TP_MSG_* of linux/l2tp.h.
const (
	DebugVerbose DebugFlags = 1 << iota
	DebugControl
	DebugSequence
	DebugData
)

// Options are changes of a session's options; nil leaves one as it is. See [Session] for their meaning.
type Options struct {
	LNSMode, SendSeq, RecvSeq *bool
	ReorderTimeout            *time.Duration // 0 to MaxReorderTimeout, rounded up to milliseconds
	Debug                     *DebugFlags
}

func (o Options) check() error {
	if o.ReorderTimeout == nil {
		return nil
	}
	return checkReorderTimeout(*o.ReorderTimeout)
}

func (o Options) encode(e *netlink.AttributeEncoder) {
	flag := func(kind uint16, value *bool) {
		if value != nil {
			e.Uint8(kind, octet(*value))
		}
	}
	flag(attrRecvSeq, o.RecvSeq)
	flag(attrSendSeq, o.SendSeq)
	flag(attrLNSMode, o.LNSMode)
	if o.ReorderTimeout != nil {
		e.Uint64(attrRecvTimeout, uint64(milliseconds(*o.ReorderTimeout)))
	}
	if o.Debug != nil {
		e.Uint32(attrDebug, uint32(*o.Debug))
	}
}

func octet(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}

func checkReorderTimeout(d time.Duration) error {
	if d < 0 || d > MaxReorderTimeout {
		return fmt.Errorf("reorder timeout %v is outside 0 to %v", d, MaxReorderTimeout)
	}
	return nil
}

// milliseconds rounds up: zero means something else than a little. The kernel rounds up once more, to its clock ticks.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
