package xfrm

import (
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func TestEventFilter(t *testing.T) {
	message := func(kind uint16, body []byte) []byte {
		b := native.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
		b = native.AppendUint16(b, kind)
		return append(append(b, make([]byte, unix.NLMSG_HDRLEN-len(b))...), body...)
	}
	deleted := appendAttribute(appendAttribute(inbound().ID.marshal(), attrSA, inbound().info()), attrAlgAEAD, []byte("a key"))
	ours, all := Mark{Value: 0x17014000, Mask: 0xffffc000}, Mark{}
	for _, foreign := range []Mark{{Value: 0x17024000, Mask: 0xffffc000}, {Value: 0x17018000, Mask: 0xffffc000}, {Value: 0x17014004, Mask: 0xffffffff}} {
		for _, c := range []struct {
			name       string
			message    []byte
			ours, rest bool // is kept by a filter for it, and by one for others
		}{
			{"expire", message(msgExpire, expireBytes(1)), true, false},
			{"mapping", message(msgMapping, mappingBytes(t)), true, false},
			{"deleted", message(msgDelSA, deleted), true, false},
			{"flushed", message(msgFlushSA, []byte{50, 0, 0, 0}), true, true},
			{"new", message(msgNewSA, inbound().appendTo(nil)), false, false},
			{"updated", message(msgUpdSA, inbound().appendTo(nil)), false, false},
			{"deleted, and nothing of what", message(msgDelSA, inbound().ID.marshal()), false, false},
			{"nothing", nil, false, false},
		} {
			for _, f := range []struct {
				of   Mark
				want bool
			}{{ours, c.ours}, {all, c.ours}, {foreign, c.rest}} {
				if got := filtered(t, f.of, c.message); got != f.want {
					t.Errorf("%s: a filter for %+v keeps it: %t", c.name, f.of, got)
				}
			}
		}
	}
}

// filtered reports whether a message is kept, and fails if it is cut.
func filtered(t *testing.T, reqids Mark, message []byte) bool {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, f := range eventFilter(reqids) {
		raw = append(raw, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K})
	}
	program, whole := bpf.Disassemble(raw)
	if !whole {
		t.Fatal("it is no program")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(message)
	if err != nil {
		t.Fatal(err)
	}
	if n != 0 && n < len(message) {
		t.Errorf("of %d octets %d are kept", len(message), n)
	}
	return n != 0
}
