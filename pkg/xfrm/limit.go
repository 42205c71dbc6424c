package xfrm

import "time"

// Limit is where the life of an SA ends, whatever comes first. Zero is no limit.
type Limit struct {
	Bytes uint64        // processed by the SA, as Stats counts them
	Time  time.Duration // since Add, in whole seconds
}

// putLimits writes a xfrm_lifetime_cfg without packet limits and without limits that count from the first use.
func putLimits(b []byte, soft, hard Limit) {
	native.PutUint64(b[0:], limitOctets(soft.Bytes))
	native.PutUint64(b[8:], limitOctets(hard.Bytes))
	native.PutUint64(b[16:], infinite)
	native.PutUint64(b[24:], infinite)
	native.PutUint64(b[32:], seconds(soft.Time))
	native.PutUint64(b[40:], seconds(hard.Time))
}

// parseLimits reads what putLimits writes.
func parseLimits(b []byte) (soft, hard Limit) {
	soft = Limit{Bytes: limitBytes(native.Uint64(b[0:])), Time: duration(native.Uint64(b[32:]))}
	hard = Limit{Bytes: limitBytes(native.Uint64(b[8:])), Time: duration(native.Uint64(b[40:]))}
	return soft, hard
}

// limitOctets is a limit as the kernel has it, for which zero would mean "expired at once".
func limitOctets(n uint64) uint64 {
	if n == 0 {
		return infinite
	}
	return n
}

func limitBytes(n uint64) uint64 {
	if n == infinite {
		return 0
	}
	return n
}
