package ikev1_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// archive is where records outlive an engine.
type archive map[ikev1.ClientID][]byte

// merged is what several calls ask for.
func merged(outs []ikev1.Output) (all ikev1.Output) {
	for _, out := range outs {
		all.Actions = append(all.Actions, out.Actions...)
		all.Records = append(all.Records, out.Records...)
		all.Send = append(all.Send, out.Send...)
		all.Events = append(all.Events, out.Events...)
	}
	slices.SortFunc(all.Records, func(a, b ikev1.Record) int { return cmp.Compare(a.Client, b.Client) })
	return all
}

// take puts away the records of an output. It says what is wrong if they are not those of the engine's whole state afterwards.
func (a archive) take(e *ikev1.Engine, out ikev1.Output) string {
	if !ikev1.Records(e) {
		if len(out.Records) > 0 {
			return "records that nobody wants"
		}
		return ""
	}
	last := ikev1.ClientID(0)
	for _, r := range out.Records {
		if r.Client <= last {
			return fmt.Sprintf("the record of client %d comes after that of %d", r.Client, last)
		}
		last = r.Client
		old, known := a[r.Client]
		switch {
		case r.State == nil && !known:
			return fmt.Sprintf("nothing is left of client %d, of which nothing was said", r.Client)
		case r.State == nil:
			delete(a, r.Client)
		case known && bytes.Equal(old, r.State):
			return fmt.Sprintf("the record of client %d has not changed", r.Client)
		default:
			a[r.Client] = bytes.Clone(r.State)
		}
	}
	if ikev1.SAs(e) > 100 {
		return "" // a flood: it would have to be looked at after each message
	}
	states := ikev1.States(e)
	for id, state := range states {
		if !bytes.Equal(a[id], state) {
			return fmt.Sprintf("client %d has changed without a word, from %+v to %+v", id, ikev1.Written(a[id]), ikev1.Written(state))
		}
	}
	if len(states) != len(a) {
		return fmt.Sprintf("%d clients, %d records", len(states), len(a))
	}
	return ""
}
