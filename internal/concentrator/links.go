package concentrator

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// links hears which network interfaces go away.
type links struct {
	nl     *netlink.Conn
	closed atomic.Bool
}

// errLinksLost says that the kernel dropped events because they were not read in time.
var errLinksLost = errors.New("events of interfaces were lost")

func watchLinks() (*links, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	_ = nl.SetReadBuffer(4 << 20) // best effort; thousands of sessions may end at once
	if err := nl.JoinGroup(unix.RTNLGRP_LINK); err != nil {
		_ = nl.Close()
		return nil, fmt.Errorf("listen to interfaces: %w", err)
	}
	return &links{nl: nl}, nil
}

// receive waits for the names of interfaces that are gone. errLinksLost is not final; any other error is. close makes it return
// os.ErrClosed.
func (l *links) receive() ([]string, error) {
	for {
		msgs, err := l.nl.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			return nil, errLinksLost
		case err != nil && l.closed.Load():
			return nil, os.ErrClosed
		case err != nil:
			return nil, fmt.Errorf("listen to interfaces: %w", err)
		}
		var names []string
		for _, m := range msgs {
			if m.Header.Type == unix.RTM_DELLINK {
				if name := linkName(m.Data); name != "" {
					names = append(names, name)
				}
			}
		}
		if len(names) > 0 {
			return names, nil
		}
	}
}

func (l *links) close() error {
	l.closed.Store(true)
	return l.nl.Close()
}

// linkName reads the name from struct ifinfomsg and its attributes; empty if there is none. Deletions of a bridge's port are of the
// family of bridges, and delete no interface.
func linkName(b []byte) string {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return ""
	}
	for b = b[unix.SizeofIfInfomsg:]; len(b) >= 4; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			return ""
		}
		if binary.NativeEndian.Uint16(b[2:]) == unix.IFLA_IFNAME {
			return string(bytes.TrimRight(b[4:length], "\x00"))
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return ""
}

// Names implements Links.
func (*links) Names() (map[string]bool, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[string]bool, len(list))
	for _, i := range list {
		names[i.Name] = true
	}
	return names, nil
}
