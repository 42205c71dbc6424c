package l2tp

import "time"

// base is the time that the stamps of a record count from, in milliseconds of Unix time.
type base int64

// stamp is a time in a record: milliseconds before the base if it is negative, one more than the milliseconds after it if it is
// positive. Zero is no time at all.
type stamp int64

func (b base) stamp(t time.Time) stamp {
	if t.IsZero() {
		return 0
	}
	after := stamp(t.UnixMilli() - int64(b))
	if after >= 0 {
		after++
	}
	return after
}

// time returns the time that s stands for, but none before 1970, and none after limit: if the clock was set back since it was recorded, a timer must not
// wait for as long as that. It counts from now, so that it follows the steady clock from here on if now does.
func (b base) time(s stamp, now, limit time.Time) time.Time {
	if s == 0 {
		return time.Time{}
	}
	if s > 0 {
		s--
	}
	at := max(int64(b)+int64(s), 0) // farther back than a Duration reaches, it would be another time at each restoration
	t := now.Add(time.UnixMilli(at).Sub(now))
	if t.After(limit) {
		return limit
	}
	return t
}

// past is time for what has happened.
func (b base) past(s stamp, now time.Time) time.Time { return b.time(s, now, now) }

func (b base) budget(times budget) []stamp {
	stamps := make([]stamp, len(times))
	for i, t := range times {
		stamps[i] = b.stamp(t)
	}
	return stamps
}

// milliseconds returns a wait in milliseconds, of which one that is set has at least one; negative ones are -1.
func milliseconds(d time.Duration) int64 {
	if d > 0 {
		return max(d.Milliseconds(), 1)
	}
	return max(int64(d), -1)
}

// duration is the inverse of milliseconds.
func duration(milliseconds int64) time.Duration {
	if milliseconds > 0 {
		return time.Duration(milliseconds) * time.Millisecond
	}
	return max(time.Duration(milliseconds), -1)
}
