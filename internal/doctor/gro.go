package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// checkGRO warns of two features that merge UDP packets for which there is no socket, which is what a client's decrypted L2TP packets to port
// 1701 are. Our rules see of merged packets only the first tunnel id, and the kernel takes them apart again behind the rules.
func checkGRO(_ context.Context, _ Options, p probes) []Finding {
	const name = "UDP GRO forwarding"
	on, err := p.groForwarding()
	switch {
	case err != nil:
		return []Finding{warn(name, "look with ethtool -k whether rx-udp-gro-forwarding and rx-gro-list are off", "not checked: %v", err)}
	case len(on) > 0:
		return []Finding{warn(name, "ethtool -K INTERFACE rx-udp-gro-forwarding off rx-gro-list off", "on at %s: a client could hide tunnel ids of others in merged packets", strings.Join(on, ", "))}
	}
	return []Finding{ok(name, "off on all interfaces")}
}

// Commands of SIOCETHTOOL and sizes of their structures (include/uapi/linux/ethtool.h).
const (
	ethtoolGStrings   = 0x1b
	ethtoolGSSetInfo  = 0x37
	ethtoolGFeatures  = 0x3a
	ethSSFeatures     = 4
	ethGStringLen     = 32
	featureBlockLen   = 16 // struct ethtool_get_features_block: available, requested, active, never_changed
	featureActive     = 8  // offset of active
	featuresHeaderLen = 8
)

// ifreqData is struct ifreq with a pointer.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// groForwarding returns "interface (feature)" for each that is on, in the network namespace of the caller.
func groForwarding() ([]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	var on []string
	for _, l := range links {
		active, err := activeFeatures(fd, l.Name)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV) {
			continue // no features, or gone by now
		}
		if err != nil {
			return nil, fmt.Errorf("ask %s for its features: %w", l.Name, err)
		}
		for _, feature := range []string{"rx-udp-gro-forwarding", "rx-gro-list"} {
			if active[feature] {
				on = append(on, l.Name+" ("+feature+")")
			}
		}
	}
	return on, nil
}

func activeFeatures(fd int, link string) (map[string]bool, error) {
	// struct ethtool_sset_info: cmd, reserved, mask of sets (64 bit), then one count.
	info := words(ethtoolGSSetInfo, 0, 0, 0, 0)
	put64(info[8:], 1<<ethSSFeatures)
	if err := ethtool(fd, link, info); err != nil {
		return nil, err
	}
	n := int(word(info[16:]))
	if n <= 0 || n > 4096 {
		return nil, fmt.Errorf("%d features", n)
	}
	// struct ethtool_gstrings: cmd, set, length, names of 32 octets.
	names := append(words(ethtoolGStrings, ethSSFeatures, uint32(n)), make([]byte, n*ethGStringLen)...)
	if err := ethtool(fd, link, names); err != nil {
		return nil, err
	}
	// struct ethtool_gfeatures: cmd, number of blocks, blocks of 32 features.
	blocks := (n + 31) / 32
	features := append(words(ethtoolGFeatures, uint32(blocks)), make([]byte, blocks*featureBlockLen)...)
	if err := ethtool(fd, link, features); err != nil {
		return nil, err
	}
	active := map[string]bool{}
	for i := range n {
		name, _, _ := bytes.Cut(names[12+i*ethGStringLen:][:ethGStringLen], []byte{0})
		block := features[featuresHeaderLen+i/32*featureBlockLen:]
		if word(block[featureActive:])&(1<<(i%32)) != 0 {
			active[string(name)] = true
		}
	}
	return active, nil
}

func ethtool(fd int, link string, buffer []byte) error {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&buffer[0])
	req := ifreqData{data: unsafe.Pointer(&buffer[0])}
	copy(req.name[:len(req.name)-1], link)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}
