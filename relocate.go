package packlock

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// A lock file is lost when the file at its path is no longer the one that is open
// here: it was deleted, replaced or renamed. Any program that opens the path then locks a
// different file. The goroutine that notices moves to that file, together with all Locks
// of the path and their waiters. These check the path:
//
//   - an acquire that got the kernel's lock, before it returns the hold (verify);
//   - a check on a goroutine of its own (location.go), for an acquire that finds the lock
//     held by another process, queues behind one or would be refused, and once in
//     watchInterval for all waiters (watch.go).
//
// A thread that is parked on the lost file stays there, and drains.

const (
	// maxMoves bounds how often one acquire moves without waiting in between. So many
	// in a row are not deletions by another program but a file system that does not
	// give a file the same identity twice.
	maxMoves = 1000

	// A lost file whose name cannot be used yet (errDeletePending) was closed here. An
	// acquire that may wait gives other processes this long to do the same: waiters on
	// other machines get the old lock one after the other, some milliseconds apart, and
	// then close the file.
	deletePendingTimeout = time.Second
)

// verify reports whether the locked file is the one at the path of the Lock, as far as
// that must be checked. If not, the kernel's lock is released.
func (a *acquisition) verify() (bool, error) {
	e := a.entry
	same, err := e.verify(a.lock.location.Load(), a.state == handedOver, a.waited)
	if same && err == nil {
		return true, nil
	}
	e.unlock() // that a lost file does not unlock matters to no one
	if err != nil {
		e.pass()
	}
	return false, err
}

// verify reports whether the locked file is the one at the path of loc, as far as that
// must be checked. The caller has the turn and the kernel's lock, which was handed over or
// is fresh from the kernel.
func (e *entry) verify(loc *location, handedOver, waited bool) (bool, error) {
	if loc.entry != e {
		return false, nil // the Lock has moved
	}
	// Read when the lock changed hands, just now; reading the clock again would
	// cost a tenth of a hand-over.
	t := e.fair.changedAt
	if handedOver {
		return e.verifyHandedOver(loc, t)
	}
	linked, ctime, err := e.active.stat()
	switch {
	case err == errFileLost:
		return false, nil
	case err != nil:
		return false, err
	case linked && !waited && !loc.due(t) && loc.vouches(ctime):
		return true, nil
	}
	// The path check decides: some file systems have no idea of link counts, and a file
	// changes for other reasons, too. The check confirms what the file said before it.
	same, err := loc.checkPath(t)
	if same && err == nil {
		loc.noteCtime(ctime, now())
	}
	return same, err
}

// verifyHandedOver is verify at time t for a lock that was not released since an acquire
// of this process verified it.
func (e *entry) verifyHandedOver(loc *location, t int64) (bool, error) {
	if !loc.dueAfterHandOver(t) {
		return true, nil
	}
	if grants, err := e.active.serverStillGrants(); !grants {
		return false, err
	}
	return loc.checkPath(t)
}

// moveOn leaves the entry, whose file is lost, for that of the file that is at the path
// now.
func (a *acquisition) moveOn(ctx context.Context) (acquireState, error) {
	from := a.entry
	if a.mode != trying {
		a.readContext(ctx, now())
	}
	if a.moves++; a.moves > maxMoves {
		from.pass()
		return nothing, errLostAgain
	}
	to, got, err := a.lock.reg.relocate(a.lock.location.Load(), a)
	if err == errDeletePending && (a.heldElsewhere || a.mode != trying) {
		return a.awaitDeletion(ctx)
	}
	a.heldElsewhere = false
	if to != from {
		from.pass()
	}
	a.entry = to
	switch {
	case err != nil:
		return nothing, err
	case a.ordered && to != from:
		return nothing, errMoved
	case to == nil:
		a.state = nothing
		return a.arrive(ctx)
	case got == nothing:
		return nothing, ErrBusy
	}
	return got, nil
}

// awaitDeletion waits for the other processes that have the lost file open to close it,
// as no other file can take its place before.
func (a *acquisition) awaitDeletion(ctx context.Context) (acquireState, error) {
	e := a.entry
	if a.heldElsewhere {
		return hasTurn, nil // nothing is lost: the lock is waited for
	}
	err := error(errDeletePending)
	switch {
	case a.lock.isClosed():
		err = errClosed
	case ctx.Err() != nil:
		e.counts.cancelled.Add(1)
		err = cancelled(ctx)
	case min(age(now(), e.abandonedAt), age(now(), a.waiter.since)) < deletePendingTimeout:
		// Where pause does nothing, no open fails like this.
		a.waited = true
		e.reg.kernel.pause(deletePendingTimeout / 100)
		return lost, nil
	}
	e.pass()
	return nothing, err
}

// relocate finds the entry of the file that is at the path of loc now, the file of
// loc.entry having been lost, and moves there everything that came by that path: the
// Locks, and their waiters in their order.
//
// Either a is an acquire by that path that has the turn of loc.entry, with nothing
// locked, and keeps it. If the turn of the new entry is free, a gets it, or it joins the
// group there. Otherwise its waiter, if it has one, is queued there, ahead of those that had
// waited behind it. An acquire whose caller holds the lock of the new file already gets
// ErrReentrant. One of AcquireSets gets nothing there.
//
// Or a is nil, and any goroutine may have the turn of loc.entry. Then nothing is moved
// from under an acquire that is under way: it checks for itself, and goes first. (One that
// waits in the kernel on its own thread follows when the kernel answers.)
//
// If to is nil without an error, nothing was moved.
func (r *registry) relocate(loc *location, a *acquisition) (to *entry, got acquireState, err error) {
	from := loc.entry
	switch {
	case a == nil && !loc.isUsed(), a != nil && a.entry != from:
		return nil, nothing, nil // the Locks are closed, or have moved already
	}
	t := now()
	f, err := r.kernel.open(loc.path, loc.options)
	if err == errDeletePending && a != nil && !a.heldElsewhere && !from.unusable {
		// This process may be the only one that has the old file open.
		from.counts.reopened.Add(1)
		r.abandonFile(from)
		f, err = r.kernel.open(loc.path, loc.options)
	}
	switch {
	case err == errDeletePending && a == nil:
		return nil, nothing, nil // no process can have a different one
	case err != nil:
		if errors.Is(err, fs.ErrNotExist) {
			from.turnAway(loc, t, fs.ErrNotExist)
		}
		return nil, nothing, err
	}

	r.mu.Lock()
	from.mu.Lock()
	switch {
	case a != nil && a.lock.closed:
		err = errClosed
	case !slices.Contains(from.locations, loc): // it has been moved, or its Locks are closed
	case r.entries[f.id()] == from: // renamed away and back again
		to = from
		if a != nil {
			got = hasTurn
		}
		loc.passed(t)
	case a == nil && from.acquiringLocked():
	default:
		return r.moveLocked(loc, f, t, a)
	}
	from.mu.Unlock()
	r.mu.Unlock()
	f.close()
	return to, got, err
}

// moveLocked is the moving of relocate, to the entry of f, which was opened at
// time t. It unlocks the registry's mu and that of loc.entry.
func (r *registry) moveLocked(loc *location, f file, t int64, a *acquisition) (to *entry, got acquireState, err error) {
	from := loc.entry
	to = r.entryLocked(f)
	to.mu.Lock()
	if !from.unusable {
		to.counts.reopened.Add(1)
	}
	there := to.locationLocked(loc.path, loc.options, t)
	loc.removeLocked()
	for _, l := range loc.locks {
		there.joinLocked(l)
	}
	if len(from.locations) == 0 {
		to.counts.take(&from.counts)
	}
	t = now() // opening may have taken long, and what follows waits from now on
	switch {
	case a == nil, a.ordered:
	case to.turn == turnFree:
		to.takeLocked(a.hold, a.caller)
		got = hasTurn
	case a.hold.shared && to.mayJoinLocked(a.lock, a.caller, a.marks()):
		to.joinLocked(a.hold, a.caller)
		got = joined
	case to.heldByLocked(a.caller, a.marks()):
		err = ErrReentrant
	case a.mode != trying:
		to.enqueueLocked(a.waiter, t)
		got = queued
	}
	var first *waiter // has the turn of to
	var refused, moved, busy []*waiter
	for _, w := range from.queue.removeFunc(func(w *waiter) bool { return w.lock.location.Load() == there }) {
		switch {
		case w.ordered:
			moved = append(moved, w)
		case w.trying && to.turn != turnFree && !to.joinableLocked():
			busy = append(busy, w)
		case to.turn == turnFree:
			to.takeLocked(w.hold, w.owner)
			first = w
		case w.hold.shared && to.mayJoinLocked(w.lock, w.owner, w.marks):
			to.joinLocked(w.hold, w.owner)
			w.deliver(joined)
		case to.heldByLocked(w.owner, w.marks):
			refused = append(refused, w)
		default:
			to.enqueueLocked(w, t)
		}
	}
	from.headChangedLocked()
	from.endDrainLocked() // which no longer concerns the Locks that moved
	retired := r.retireLocked(from)
	to.mu.Unlock()
	from.mu.Unlock()
	r.mu.Unlock()
	if first != nil {
		first.deliver(hasTurn)
	}
	deliverError(refused, ErrReentrant)
	deliverError(moved, errMoved)
	deliverError(busy, ErrBusy)
	from.closeAll(retired)
	if to.file != f {
		f.close()
	}
	return to, got, err
}

// acquiringLocked reports whether the turn is that of an acquire, or of a release,
// under way.
func (e *entry) acquiringLocked() bool {
	return e.turn == turnTaken && (e.hold == nil || !e.hold.returned.Load())
}

// turnAway ends the waits by the given location that had begun at time t with err.
func (e *entry) turnAway(loc *location, t int64, err error) {
	e.mu.Lock()
	line := e.queue.removeFunc(func(w *waiter) bool { return w.since <= t && w.lock.location.Load() == loc })
	e.headChangedLocked()
	e.mu.Unlock()
	deliverError(line, err)
}
