package l2tpnl

import (
	"errors"
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&netlink.OpError{Op: "receive", Err: unix.EINVAL, Message: "Attribute failed policy validation"},
			"doing it: invalid argument (kernel: Attribute failed policy validation)"},
		{&netlink.OpError{Op: "receive", Err: unix.EPERM}, "doing it: operation not permitted; CAP_NET_ADMIN in the network namespace is required"},
		{unix.EPROTONOSUPPORT, "doing it: protocol not supported; the kernel lacks PPP over L2TP: modprobe l2tp_ppp"},
		{unix.EBUSY, "doing it: device or resource busy; the socket is a tunnel's already"},
	} {
		if got := wrap("doing it", c.err).Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if err := wrap("doing it", nil); err != nil {
		t.Errorf("%v of nothing", err)
	}
	err := wrap("doing it", &netlink.OpError{Op: "receive", Err: unix.ENODEV, Message: "why"})
	if e, ok := errors.AsType[*Error](err); !ok || e.Message != "why" || e.Op != "doing it" || !errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist) {
		t.Errorf("%#v", err)
	}
}
