package packlock

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// A path check costs a system call as expensive as the lock itself. An acquire
	// that did not wait trusts the last check for pathCheckAge. One that waited,
	// during which anything may have happened, does not trust it. A hand-over, during
	// which the lock was never released, costs so little that it needs no more than
	// one check in handOverCheckAge.
	pathCheckAge     = 10 * time.Millisecond
	handOverCheckAge = time.Millisecond

	// ctimeTick is the longest time for which a file system's clock stands still: the
	// timer tick of a kernel with 100 Hz. Two changes within a tick leave the same
	// change time.
	ctimeTick = 10 * time.Millisecond
)

// pathCheck is what is known of a path: when it last led to the locked file, and
// for how long that can be trusted. It is told the clock, so there is no kernel and no
// mutex in it.
type pathCheck struct {
	// checkedAt is when the last check that found the file at the path began. The
	// goroutine that checks writes it.
	checkedAt atomic.Int64

	// ctime is the file's change time when that was last read, and ctimeSince when it
	// was first read with this value. Both are owned by the entry's turn.
	ctime, ctimeSince int64
}

// due reports whether the last check is too old, at time t, for an acquire that did
// not wait.
func (c *pathCheck) due(t int64) bool { return age(t, c.checkedAt.Load()) > pathCheckAge }

// dueAfterHandOver is due for an acquire that the lock was handed over to.
func (c *pathCheck) dueAfterHandOver(t int64) bool {
	return age(t, c.checkedAt.Load()) > handOverCheckAge
}

// passed notes that a check that began at time t found the file at the path.
func (c *pathCheck) passed(t int64) { c.checkedAt.Store(t) }

// vouches reports whether a file with this change time is still at the path, because
// a rename after the last check would have changed it.
func (c *pathCheck) vouches(ctime int64) bool {
	// A rename in the tick of the last change leaves the change time as it was. So it
	// counts only if a later check passed when that tick was over.
	settled := time.Duration(c.checkedAt.Load() - c.ctimeSince)
	return ctime != noCtime && ctime == c.ctime && settled >= ctimeTick
}

// noteCtime notes the change time, read at or after time t.
func (c *pathCheck) noteCtime(ctime, t int64) {
	if ctime != c.ctime || inBubble(t) != inBubble(c.ctimeSince) {
		c.ctime, c.ctimeSince = ctime, t
	}
}

// age returns the time from then to t. A time on a different clock, or from the
// future, is older than anything.
func age(t, then int64) time.Duration {
	if then > t || inBubble(then) != inBubble(t) {
		return math.MaxInt64
	}
	return time.Duration(t - then)
}
