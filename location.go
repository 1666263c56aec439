package packlock

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// A location is one of the paths to an entry's file, as it is opened with certain options.
// It is what all Locks of that path with these options have in common: they move to a
// different file together, and one check of the path counts for all of them.
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
	err  error         // set before
}

// maxChecks bounds the threads of this process that hang in path checks, each of a
// different path. Beyond it, no path is checked for waiters: a server that
// does not answer would get nothing but more threads.
const maxChecks = 128

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

// checkLocked returns the check of the path that is under way, and begins one if there
// is none. It returns nil if too many others hang.
func (loc *location) checkLocked() *check {
	checks := &loc.entry.reg.checks
	if loc.check == nil && checks.take() {
		c := &check{done: make(chan struct{})}
		loc.check = c
		go func() {
			c.err = loc.checkAndMove()
			checks.give()
			loc.entry.mu.Lock()
			loc.check = nil
			loc.entry.mu.Unlock()
			close(c.done)
		}()
	}
	return loc.check
}

// await waits for the end of the check of a path of l, and returns its error. It returns
// ErrCancelled if the context ends first, whose channel done is.
func (c *check) await(ctx context.Context, done <-chan struct{}, l *lock) error {
	// What the check moved happened before the receive from c.done. A context that
	// ends at the same time is left to the caller, which goes on only to be refused.
	select {
	case <-c.done:
		return c.err
	case <-done:
		l.entry().counts.cancelled.Add(1)
		return cancelled(ctx)
	}
}

// checkNow waits for a check of the path of l, unless too many others hang.
func (l *lock) checkNow(ctx context.Context) error {
	done := ctx.Done()
	e := l.lockEntry()
	var c *check
	if !l.closed {
		c = l.location.Load().checkLocked()
	}
	e.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.await(ctx, done, l)
}

// checkAndMove checks the path and, if the file is lost, moves to the one that is at
// the path now, with all Locks of the path and their waiters.
func (loc *location) checkAndMove() error {
	same, err := loc.checkPath(now())
	if !same && err == nil {
		_, _, err = loc.entry.reg.relocate(loc, nil)
	}
	return err
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
