package ikev1

import (
	"fmt"
	"reflect"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Leftovers names the tables of an engine that are not empty, for tests that look at it from outside.
func Leftovers(e *Engine) []string { return leftovers("", reflect.ValueOf(e).Elem()) }

func leftovers(path string, v reflect.Value) []string {
	var list []string
	for i := range v.NumField() {
		f, name := v.Field(i), path+v.Type().Field(i).Name
		switch {
		case name == "cfg" || name == "out" || name == "phase1" || name == "phase2":
		case f.Kind() == reflect.Map || f.Kind() == reflect.Slice:
			if f.Len() > 0 {
				list = append(list, fmt.Sprintf("%s (%d)", name, f.Len()))
			}
		case name == "strangers" || name == "known":
			if size := f.FieldByName("size").Int(); size != 0 {
				list = append(list, fmt.Sprintf("%s (%d octets)", name, size))
			}
		case name == "halfOpen":
			list = append(list, leftovers(name+".", f)...)
		case name == "halfOpen.total":
			if f.Int() != 0 {
				list = append(list, fmt.Sprintf("%s (%d)", name, f.Int()))
			}
		}
	}
	return list
}

// Reassembling returns the octets that messages under reassembly take, of strangers and of clients.
func Reassembling(e *Engine) (strangers, known int) { return e.strangers.size, e.known.size }

// Inform sends a payload to a client in an Informational exchange.
func Inform(e *Engine, now time.Time, id ClientID, p wire.Payload) Output {
	e.now = now
	e.inform(e.clients[id].newest(), p)
	return e.take()
}

// Connections returns the connections of an engine with the clients that they have, zero for none.
func Connections(e *Engine) map[ConnectionID]ClientID {
	m := make(map[ConnectionID]ClientID)
	for id, conn := range e.connections {
		m[id] = 0
		if conn.client != nil {
			m[id] = conn.client.id
		}
	}
	return m
}

// SAs returns the number of ISAKMP SAs of an engine, with those under way.
func SAs(e *Engine) int { return len(e.sas) }
