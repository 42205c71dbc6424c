package protocol

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// Errors of the keeper that a daemon may want to know.
var (
	// ErrOtherSetup says that a keeper has been set up in another way.
	ErrOtherSetup = errors.New("the keeper was set up with other settings")
	// ErrNotSetUp answers requests before the first Setup.
	ErrNotSetUp = errors.New("the keeper was not set up yet")
	// ErrNotOurs answers requests for what is not the concentrator's.
	ErrNotOurs = errors.New("not of this concentrator")
	// ErrUnknown answers requests that a keeper does not know.
	ErrUnknown = errors.New("the keeper does not know this request")
	// ErrStopping answers what would begin anew in a keeper that ends.
	ErrStopping = errors.New("the keeper is ending")
)

// sentinels are what errors.Is finds on the other side, by name.
var sentinels = map[string]error{
	"exist": os.ErrExist, "not exist": os.ErrNotExist, "permission": os.ErrPermission, "invalid": os.ErrInvalid, "closed": net.ErrClosed,
	"deadline": context.DeadlineExceeded, "no sa": udp.ErrNoSA, "pppd closed": pppd.ErrClosed, "malformed": ErrMalformed,
	"other setup": ErrOtherSetup, "not set up": ErrNotSetUp, "not ours": ErrNotOurs, "unknown": ErrUnknown, "stopping": ErrStopping,
}

// Error is an error on its way: its text, and what errors.Is and errors.As find in it: the errno, sentinels that both sides know, and
// [*xfrm.Error].
type Error struct {
	Text    string       `cbor:"1,keyasint"`
	Errno   uint32       `cbor:"2,keyasint,omitempty"`
	Names   []string     `cbor:"3,keyasint,omitempty"`
	XFRM    *KernelError `cbor:"4,keyasint,omitempty"`
	Refusal *Refusal     `cbor:"5,keyasint,omitempty"` // of a Hello
}

// KernelError is what an xfrm.Error says beyond its cause.
type KernelError struct {
	Op      string `cbor:"1,keyasint"`
	Message string `cbor:"2,keyasint,omitempty"`
}

// ErrorOf puts an error into a message; nil stays nil.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok && e == err {
		return e
	}
	e := &Error{Text: err.Error()}
	errno, _ := errors.AsType[unix.Errno](err)
	e.Errno = uint32(errno)
	for name, known := range sentinels {
		if errors.Is(err, known) {
			e.Names = append(e.Names, name)
		}
	}
	if x, ok := errors.AsType[*xfrm.Error](err); ok {
		e.XFRM = &KernelError{Op: x.Op, Message: x.Message}
	}
	return e
}

// Error is the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns what is known of the causes.
func (e *Error) Unwrap() []error {
	var causes []error
	if e.XFRM != nil {
		x := &xfrm.Error{Op: e.XFRM.Op, Message: e.XFRM.Message, Err: errors.New(e.Text)}
		if e.Errno != 0 {
			x.Err = unix.Errno(e.Errno)
		}
		causes = append(causes, x)
	}
	if e.Errno != 0 {
		causes = append(causes, unix.Errno(e.Errno))
	}
	for _, name := range e.Names {
		if known := sentinels[name]; known != nil {
			causes = append(causes, known)
		}
	}
	return causes
}
