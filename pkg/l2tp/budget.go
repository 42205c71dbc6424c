package l2tp

import "time"

// budget bounds how often something happens within a minute: the times at which it did, oldest first.
type budget []time.Time

// take reports whether it may happen once more, and notes that it does.
func (b *budget) take(now time.Time, limit int) bool {
	kept := *b
	for len(kept) > 0 && now.Sub(kept[0]) >= time.Minute {
		kept = kept[1:]
	}
	*b = kept
	if len(kept) >= limit {
		return false
	}
	*b = append(kept, now)
	return true
}
