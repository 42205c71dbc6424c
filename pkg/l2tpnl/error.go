package l2tpnl

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Error is a request that failed. errors.Is finds [os.ErrNotExist] for a tunnel or session that is not there (ENODEV, ENOENT) and for a
// kernel without L2TP, [os.ErrExist] for one that is there already (EEXIST), [os.ErrPermission] without CAP_NET_ADMIN, and the errno
// itself.
type Error struct {
	Op      string // what was attempted
	Message string // the kernel's explanation (extended acknowledgement), often empty
	Err     error
}

// Error is the attempt, the cause, the kernel's text and, where there is something to do, what to do.
func (e *Error) Error() string {
	out := fmt.Sprintf("%s: %v", e.Op, e.Err)
	if e.Message != "" {
		out += " (kernel: " + e.Message + ")"
	}
	if hint := e.hint(); hint != "" {
		out += "; " + hint
	}
	return out
}

func (e *Error) hint() string {
	switch {
	case errors.Is(e.Err, unix.EPERM):
		return "CAP_NET_ADMIN in the network namespace is required"
	case errors.Is(e.Err, unix.EPROTONOSUPPORT), errors.Is(e.Err, unix.EAFNOSUPPORT):
		return "the kernel lacks PPP over L2TP: modprobe l2tp_ppp"
	case errors.Is(e.Err, unix.EBUSY):
		return "the socket is a tunnel's already"
	}
	return ""
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes ENODEV, which the family answers for unknown tunnels and sessions, match os.ErrNotExist.
func (e *Error) Is(target error) bool {
	return target == os.ErrNotExist && errors.Is(e.Err, unix.ENODEV)
}

// wrap is the one door for the kernel's errors; nil stays nil.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	out := &Error{Op: op, Err: err}
	if oe, ok := errors.AsType[*netlink.OpError](err); ok {
		out.Err, out.Message = oe.Err, oe.Message
	}
	return out
}

// halfDone reports whether err may come from a command that took effect: kernels up to 6.12 return an error for a tunnel or session
// that they have created when the notification to a slow listener fails.
func halfDone(err error) bool { return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) }
