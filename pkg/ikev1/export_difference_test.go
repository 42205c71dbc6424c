package ikev1

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// unrecorded are the fields that a restored client need not have as they were, and why. A field that is in none of these lists has to be the
// same after a restart: who adds one records it, or says here why not.
var unrecorded = map[reflect.Type][]string{
	reflect.TypeFor[client](): {
		"failures", "refusals", "revivals", // bound what is said and done, and may begin anew
		"keepalive", "touched", "recorded",
	},
	reflect.TypeFor[childWait](): {"begin"},
	reflect.TypeFor[timer]():     {"at", "index", "owner"}, // what is overdue is put off
	reflect.TypeFor[isakmpSA](): {
		"cfg", "halfOpen", "offer", "shortened", "handshake", // of phase 1
		"fragments", "quick", "connection",
	},
	reflect.TypeFor[proved]():            {"cbc", "theirIDs", "ourIDs"}, // made from the keys; compared in their order
	reflect.TypeFor[keymat.Keys]():       {"SKEYID"},                    // overwritten with zeros when it is not needed any more
	reflect.TypeFor[deadPeerDetection](): {"asked", "again"},            // put off
	reflect.TypeFor[child]():             {"in", "out"},
	reflect.TypeFor[connection]():        {"calling", "restored"},
	reflect.TypeFor[quickMode](): {
		"deadline",                                                                                // put off
		"request", "replaces", "answer", "ids", "natOA", "shortened", "private", "public", "peer", // of the messages before
	},
}

// Differences says what a restored engine has otherwise than the one before, of all that is recorded.
func Differences(before, after *Engine) []string {
	d := differ{seen: map[[2]unsafe.Pointer]bool{}}
	for id, a := range before.clients {
		b := after.clients[id]
		if b == nil {
			d.say(fmt.Sprintf("client %d", id), "there", "gone")
			continue
		}
		d.compare(fmt.Sprintf("client %d", id), reflect.ValueOf(a), reflect.ValueOf(b))
		for i, sa := range a.sas {
			if x, y := sa.theirIDs.octets(sa.willRepeat), b.sas[i].theirIDs.octets(nil); !bytes.Equal(x, y) {
				d.say("their message IDs", x, y)
			}
			if x, y := sa.ourIDs.octets(nil), b.sas[i].ourIDs.octets(nil); !bytes.Equal(x, y) {
				d.say("our message IDs", x, y)
			}
			var ids []uint32
			for _, q := range sa.quickModes() {
				if other := b.sas[i].quick[q.id]; q.recordable() {
					ids = append(ids, q.id)
					d.compareQuickMode(fmt.Sprintf("Quick Mode %d", q.id), q, other)
				}
			}
			if len(ids) != len(b.sas[i].quick) {
				d.say("Quick Modes", ids, len(b.sas[i].quick))
			}
		}
	}
	return d.list
}

type differ struct {
	list []string
	seen map[[2]unsafe.Pointer]bool
}

func (d *differ) say(path string, a, b any) {
	d.list = append(d.list, fmt.Sprintf("%s: %+v before, %+v after", path, a, b))
}

func (d *differ) compareQuickMode(path string, a, b *quickMode) {
	if b == nil {
		d.say(path, "there", "gone")
		return
	}
	was := *a
	if was.state == quickDone { // it has said all that it has to say
		was.pause, was.ni, was.nr, was.iv = 0, nil, nil, nil
	}
	d.compare(path, reflect.ValueOf(&was), reflect.ValueOf(b))
}

// compare compares two values that can be addressed, or pointers to such.
func (d *differ) compare(path string, a, b reflect.Value) {
	switch x, y := exposed(a), exposed(b); x := x.(type) {
	case time.Time:
		if !x.Equal(y.(time.Time)) {
			d.say(path, x, y)
		}
		return
	case []byte:
		if !bytes.Equal(x, y.([]byte)) {
			d.say(path, x, y)
		}
		return
	case []wire.Payload:
		if !slices.EqualFunc(x, y.([]wire.Payload), func(x, y wire.Payload) bool { return bytes.Equal(x.AppendBody(nil), y.AppendBody(nil)) }) {
			d.say(path, x, y)
		}
		return
	case []*child:
		recorded := slices.DeleteFunc(slices.Clone(x), func(ch *child) bool { return !ch.recordable() })
		d.compareLists(path, reflect.ValueOf(recorded), b)
		return
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				d.say(path, !a.IsNil(), !b.IsNil())
			}
			return
		}
		if pair := [2]unsafe.Pointer{a.UnsafePointer(), b.UnsafePointer()}; !d.seen[pair] {
			d.seen[pair] = true
			d.compareStructs(path, a.Elem(), b.Elem())
		}
	case reflect.Struct:
		d.compareStructs(path, a, b)
	case reflect.Slice:
		d.compareLists(path, a, b)
	default:
		if x, y := exposed(a), exposed(b); x != y {
			d.say(path, x, y)
		}
	}
}

func (d *differ) compareStructs(path string, a, b reflect.Value) {
	if a.Type().PkgPath() != reflect.TypeFor[client]().PkgPath() && a.Type().Comparable() {
		if x, y := exposed(a), exposed(b); x != y {
			d.say(path, x, y)
		}
		return
	}
	for i := range a.NumField() {
		if name := a.Type().Field(i).Name; !slices.Contains(unrecorded[a.Type()], name) {
			d.compare(path+"."+name, a.Field(i), b.Field(i))
		}
	}
}

func (d *differ) compareLists(path string, a, b reflect.Value) {
	if a.Len() != b.Len() {
		d.say(path, a.Len(), b.Len())
		return
	}
	for i := range a.Len() {
		d.compare(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))
	}
}

// exposed returns what is in a value, of an unexported field too.
func exposed(v reflect.Value) any {
	if v.CanAddr() {
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	return v.Interface()
}

// Unsteady names the times in what an engine knows of its clients that the next setting of the clock would shift.
func Unsteady(e *Engine) []string {
	var list []string
	seen := map[unsafe.Pointer]bool{}
	var look func(path string, v reflect.Value)
	look = func(path string, v reflect.Value) {
		if t, is := exposed(v).(time.Time); is {
			if !t.IsZero() && !strings.Contains(t.String(), " m=") {
				list = append(list, path)
			}
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() && !seen[v.UnsafePointer()] && v.Elem().Kind() == reflect.Struct {
				seen[v.UnsafePointer()] = true
				look(path, v.Elem())
			}
		case reflect.Struct:
			if v.CanAddr() && v.Type().PkgPath() == reflect.TypeFor[client]().PkgPath() {
				for i := range v.NumField() {
					look(path+"."+v.Type().Field(i).Name, v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				look(path, v.Index(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				if of := v.MapIndex(key); of.Kind() == reflect.Pointer && !of.IsNil() {
					look(path, reflect.NewAt(of.Type().Elem(), of.UnsafePointer()))
				}
			}
		}
	}
	for id, c := range e.clients {
		look(fmt.Sprintf("client %d", id), reflect.ValueOf(c))
	}
	return list
}
