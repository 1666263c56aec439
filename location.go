package packlock

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A location is one of the paths to an entry's file, as it is opened with certain options.
// It is what all Locks of that path with these options have in common, as far as they use
// this entry: they move to a different file together, and one check of the path counts for
// all of them. While a Lock of the path still uses a lost file and a newer Lock the new
// one, these are two locations.
type location struct {
	path    string
	options options
	entry   *entry

	pathCheck

	// The following are guarded by the entry's mu.

	// locks are the open Locks of the path, each at its index.
	locks []*lock
	// check is the one under way on a goroutine of its own, nil if there is none.
	check *check
}

// A check is one of a path, on a goroutine of its own: a server that does not answer
// holds up that goroutine, and no acquire that can be cancelled.
type check struct {
	done chan struct{} // closed at its end
	lost bool          // set before: the file is not at the path
	err  error
}

// maxChecks bounds the threads of this process that hang in such checks for one network
// file system, each of a different location. Beyond it, no path on that file system is
// checked for waiters: a server that does not answer would get nothing but more threads.
const maxChecks = 64

// checkCap counts the checks under way by network file system.
type checkCap struct {
	mu sync.Mutex // guards the following; locked after an entry's mu
	n  map[uint64]int
}

// take reports whether there is room for one more check of f, and counts it.
func (c *checkCap) take(f file) bool {
	if !f.remote() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	volume := f.id().volume
	if c.n[volume] >= maxChecks {
		return false
	}
	if c.n == nil {
		c.n = make(map[uint64]int)
	}
	c.n[volume]++
	return true
}

func (c *checkCap) give(f file) {
	if !f.remote() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	volume := f.id().volume
	if c.n[volume]--; c.n[volume] == 0 {
		delete(c.n, volume)
	}
}

// locationLocked returns the location of path and options, which led to the file of e at
// time t.
func (e *entry) locationLocked(path string, o options, t int64) *location {
	i := slices.IndexFunc(e.locations, func(loc *location) bool { return loc.path == path && loc.options == o })
	if i < 0 {
		i = len(e.locations)
		e.locations = append(e.locations, &location{path: path, options: o, entry: e})
	}
	e.locations[i].passed(t)
	return e.locations[i]
}

// removeLocked takes loc out of its entry.
func (loc *location) removeLocked() {
	e := loc.entry
	e.locations = slices.DeleteFunc(e.locations, func(other *location) bool { return other == loc })
}

// joinLocked adds l to the Locks of the path.
func (loc *location) joinLocked(l *lock) {
	l.index = len(loc.locks)
	loc.locks = append(loc.locks, l)
	l.location.Store(loc)
}

// leaveLocked takes out l, which is closed and keeps its location.
func (loc *location) leaveLocked(l *lock) {
	if l.index >= len(loc.locks) || loc.locks[l.index] != l {
		panic("packlock: Lock leaves a location where it is not")
	}
	last := len(loc.locks) - 1
	loc.locks[last].index = l.index
	loc.locks[l.index] = loc.locks[last]
	loc.locks[last] = nil
	loc.locks = loc.locks[:last]
	if last == 0 {
		loc.removeLocked()
	}
}

// isUsed reports whether there are open Locks at the location.
func (loc *location) isUsed() bool {
	loc.entry.mu.Lock()
	defer loc.entry.mu.Unlock()
	return len(loc.locks) > 0 && slices.Contains(loc.entry.locations, loc)
}

// checkLocked returns the check of the path that is under way, and begins one if there
// is none. It returns nil if too many others hang.
func (loc *location) checkLocked() *check {
	e := loc.entry
	if loc.check == nil && e.reg.checks.take(e.file) {
		c := &check{done: make(chan struct{})}
		loc.check = c
		go func() {
			c.lost, c.err = loc.checkAndMove()
			e.reg.checks.give(e.file)
			e.mu.Lock()
			loc.check = nil
			e.mu.Unlock()
			close(c.done)
		}()
	}
	return loc.check
}

// awaitCheck has the path of l checked if that is due at time t, and waits for the result:
// whether the file was lost. It returns an error when the check failed, when the context
// ends first, whose channel done is, or when l is closed.
func (l *lock) awaitCheck(ctx context.Context, done <-chan struct{}, t int64) (lost bool, err error) {
	// Two checks at most: one that was under way already may be too old.
	for range 2 {
		e := l.lockEntry()
		if l.closed {
			e.mu.Unlock()
			return false, errClosed
		}
		var c *check
		if loc := l.location.Load(); loc.due(t) {
			c = loc.checkLocked()
		}
		if c != nil && l.closing == nil {
			l.closing = make(chan struct{})
		}
		closing := l.closing
		e.mu.Unlock()
		if c == nil {
			break
		}
		// What the check moved happened before the receive from c.done. If the context
		// ends at the same time, the acquire finds that out in its next step.
		select {
		case <-c.done:
		case <-closing:
			return false, errClosed
		case <-done:
			l.entry().counts.cancelled.Add(1)
			return false, cancelled(ctx)
		}
		if lost, err = c.lost, c.err; lost || err != nil {
			break
		}
		t = now()
	}
	return lost, err
}

// checkAndMove checks the path and, if the file is lost, moves to the one that is at
// the path now, with all Locks of the path and their waiters.
func (loc *location) checkAndMove() (lost bool, err error) {
	same, err := loc.checkPath(now())
	if same || err != nil {
		return false, err
	}
	_, _, err = loc.entry.reg.relocate(loc, nil)
	return true, err
}

// checkPath reports whether the path leads to the entry's file. Time t is before the
// check.
func (loc *location) checkPath(t int64) (bool, error) {
	same, err := loc.entry.file.sameAt(loc.path, loc.options.anyFile)
	if same && err == nil {
		loc.passed(t)
	}
	return same, err
}

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

	// ctime is the file's change time when that was last noted, and ctimeSince when it
	// was first noted with this value. Both are owned by the entry's turn.
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

// noteCtime notes the change time, read at or before time t.
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
