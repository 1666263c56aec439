package packlock

import (
	"context"
	"slices"
)

// A location is one of the paths to an entry's file. It is what all Locks of that
// path have in common: they move to a different file together, and one check of the
// path counts for all of them.
type location struct {
	path  string
	entry *entry

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

// locationLocked returns the location of path, which led to the file of e at time t.
func (e *entry) locationLocked(path string, t int64) *location {
	i := slices.IndexFunc(e.locations, func(loc *location) bool { return loc.path == path })
	if i < 0 {
		i = len(e.locations)
		e.locations = append(e.locations, &location{path: path, entry: e})
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
	same, err := loc.entry.file.sameAt(loc.path)
	if same && err == nil {
		loc.passed(t)
	}
	return same, err
}
