package concentrator

import "time"

// alarm is the loop's one timer. It is touched only when the earliest deadline of the engines and of the clients has changed.
type alarm struct {
	timer *time.Timer
	at    time.Time // zero: off
}

func newAlarm() *alarm {
	a := &alarm{timer: time.NewTimer(time.Hour)}
	a.timer.Stop()
	return a
}

// set makes the alarm go off at a time, zero for never.
func (a *alarm) set(at time.Time) {
	if at.Equal(a.at) {
		return
	}
	if a.at = at; at.IsZero() {
		a.timer.Stop()
		return
	}
	a.timer.Reset(max(0, time.Until(at)))
}
