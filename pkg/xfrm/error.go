package xfrm

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Error is a request that failed. errors.Is finds os.ErrNotExist for an SA that is not there (ESRCH), os.ErrExist for
// one that is there already (EEXIST) and os.ErrPermission without CAP_NET_ADMIN.
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
	case errors.Is(e.Err, unix.EPROTONOSUPPORT):
		return "the kernel lacks ESP or XFRM: load the modules esp4, esp6 and xfrm_user"
	case errors.Is(e.Err, unix.ENOSYS):
		return "the kernel lacks an algorithm: load its crypto module"
	}
	return ""
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes ESRCH, which XFRM answers for unknown SAs, match os.ErrNotExist.
func (e *Error) Is(target error) bool {
	return target == os.ErrNotExist && errors.Is(e.Err, unix.ESRCH)
}

// wrap makes an *Error of what netlink returned; nil stays nil.
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
