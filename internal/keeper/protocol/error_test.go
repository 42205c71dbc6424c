package protocol

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// over is what arrives of an error.
func over(t *testing.T, err error) error {
	t.Helper()
	b, marshalErr := Marshal(ErrorOf(err))
	if marshalErr != nil {
		t.Fatal(marshalErr)
	}
	got := &Error{}
	if err := Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   []error
		isnt []error
	}{
		{fmt.Errorf("bind: %w", unix.EADDRINUSE), []error{unix.EADDRINUSE}, []error{os.ErrExist, unix.EEXIST}},
		{&xfrm.Error{Op: "get SA", Err: unix.ESRCH}, []error{os.ErrNotExist, unix.ESRCH}, []error{os.ErrExist}},
		{&xfrm.Error{Op: "add SA", Err: unix.EEXIST}, []error{os.ErrExist, unix.EEXIST}, []error{os.ErrNotExist}},
		{&l2tpnl.Error{Op: "tunnel", Err: unix.ENODEV}, []error{os.ErrNotExist, unix.ENODEV}, nil},
		{&l2tpnl.Error{Op: "tunnel", Err: unix.EEXIST}, []error{os.ErrExist}, nil},
		{fmt.Errorf("connect: %w (%w)", udp.ErrNoSA, unix.EAGAIN), []error{udp.ErrNoSA, unix.EAGAIN}, []error{pppd.ErrClosed}},
		{fmt.Errorf("start: %w", pppd.ErrClosed), []error{pppd.ErrClosed}, []error{udp.ErrNoSA}},
		{fmt.Errorf("setup: %w", ErrOtherSetup), []error{ErrOtherSetup}, []error{ErrNotSetUp}},
		{fmt.Errorf("two: %w", errors.Join(ErrNotOurs, unix.EPERM)), []error{ErrNotOurs, unix.EPERM, os.ErrPermission}, nil},
		{errors.New("something"), nil, []error{os.ErrNotExist, unix.EPERM}},
	} {
		got := over(t, c.err)
		if got.Error() != c.err.Error() {
			t.Errorf("%q became %q", c.err, got)
		}
		for _, target := range c.is {
			if !errors.Is(got, target) {
				t.Errorf("%q is not %v any more", c.err, target)
			}
		}
		for _, target := range c.isnt {
			if errors.Is(got, target) {
				t.Errorf("%q has become %v", c.err, target)
			}
		}
	}
	got := over(t, fmt.Errorf("add: %w", &xfrm.Error{Op: "add SA", Message: "device refuses", Err: unix.EINVAL}))
	if x, ok := errors.AsType[*xfrm.Error](got); !ok || x.Message != "device refuses" || !errors.Is(x, unix.EINVAL) {
		t.Errorf("the kernel's text is lost: %v, %v", x, ok)
	}
	if e := ErrorOf(got); e != got {
		t.Error("an error that has come over the wire is not passed on as it is")
	}
	if ErrorOf(nil) != nil {
		t.Error("no error has become one")
	}
}
