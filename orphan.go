package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// A sidecar is lost when the file at its path is no longer the one that is open
// here: it was deleted, replaced or renamed. Whoever opens the path then locks
// another file. Who notices moves to that file, together with all who came by the
// same path. These look at the path:
//
//   - who got the kernel's lock, before it is a hold (verify);
//   - who would be refused, or wait, because another process has the lock (look, by
//     whoever has the turn, lookFrom, by whoever arrives);
//   - once in watchTime, one for all who wait for the same file (watch).
//
// A thread that is parked on the lost file stays there, and drains.

const (
	// The look at the path costs a system call as dear as the lock itself. An
	// acquire that had no need to wait trusts the last look for lookAge; one
	// that waited, during which anything may have happened, does not trust it.
	// A hand-over, during which the lock was never let go, costs so little that
	// it needs no more than one look in handOverLookAge. On a network file system,
	// where a lock costs a round trip, whoever got it from the kernel looks.
	lookAge         = 10 * time.Millisecond
	handOverLookAge = time.Millisecond

	// maxReopened bounds how often one acquire reopens a lost sidecar. So many
	// in a row are not somebody's deletions but a file system that does not
	// give a file the same identity twice.
	maxReopened = 1000

	// A lost file that keeps its name (errNameKept) was closed here. Whoever may wait
	// does so for so long for others to do the same: those who waited on other machines
	// for the same lock get it one after the other, some milliseconds apart, and close
	// the file then.
	nameTime = time.Second
)

// lookIsDue reports whether at time t the last look is too old to be trusted.
func (l *lock) lookIsDue(t int64) bool {
	age := time.Duration(t - l.looked.Load())
	return age > lookAge ||
		age < 0 // another clock: a Lock was taken into a testing/synctest bubble
}

// look reports whether the file at the path of l is that of e. Time t is before
// the look.
func (l *lock) look(e *entry, t int64) (bool, error) {
	same, err := e.file.sameAt(l.path)
	if same && l.entry.Load() == e { // or it says nothing of the file that l has moved to
		l.looked.Store(t)
	}
	return same, err
}

// lookFrom looks at the path of l and, if the file of e is lost, moves on to the
// one that is there with all who came by that path. Anybody may call it, with
// nothing locked.
func (l *lock) lookFrom(e *entry) error {
	l.looking.Store(true)
	defer l.looking.Store(false)
	same, err := l.look(e, now())
	if same || err != nil {
		return err
	}
	_, _, err = l.reg.relocate(e, l, nil)
	return err
}

// verify reports whether the locked file is the one at l's path, as far as it
// has to be looked at. The caller has the turn and the kernel's lock.
func (e *entry) verify(l *lock, at progress, waited bool) (bool, error) {
	// Read when the lock changed hands, just now; reading the clock again would
	// cost a tenth of a hand-over.
	t := e.fair.changedAt
	switch {
	case at == handedOver:
		looked := l.looked.Load()
		if e.seen == l.path {
			looked = max(looked, e.seenAt)
		}
		if age := time.Duration(t - looked); 0 <= age && age <= handOverLookAge {
			return true, nil
		}
		if kept, err := e.file.held(); !kept {
			return false, err
		}
	case e.file.remote():
		// Its link count is as of the lock, for which the server was asked; a
		// silly-renamed file keeps it.
		if linked, _, err := e.file.stat(); !linked {
			return false, err
		}
	case !waited && !l.lookIsDue(t):
		linked, changed, err := e.file.stat()
		if err != nil || linked && changed == l.changed.Load() {
			return err == nil, err
		}
		// The look at the path decides: some file systems have no idea of link
		// counts, and a file changes for other reasons, too. What the file said
		// before the look is what the look confirms.
		same, err := l.look(e, t)
		if same {
			l.changed.Store(changed)
		}
		return same, err
	}
	same, err := l.look(e, t)
	if same {
		e.seen, e.seenAt = l.path, t
	}
	return same, err
}

// reopen leaves the entry, whose sidecar is lost, for that of the file that is
// at the path now.
func (a *acquisition) reopen(ctx context.Context) (progress, error) {
	from := a.entry
	if a.manner != trying {
		a.asking(hasTurn, func() { a.consult(ctx, now()) })
	}
	if a.reopened++; a.reopened > maxReopened {
		from.pass()
		return failed, fmt.Errorf("%w %d times in a row", ErrLost, maxReopened)
	}
	to, turn, err := a.lock.reg.relocate(from, a.lock, a)
	if err == errNameKept && a.behind {
		return hasTurn, nil
	}
	if err == errNameKept && a.manner != trying {
		switch {
		case a.lock.isClosed():
			err = errClosed
		case a.ended(ctx, hasTurn):
			from.counts.cancelled.Add(1)
			err = cancelled(ctx)
		case time.Duration(now()-max(from.buriedAt, a.waiter.since)).Abs() < nameTime:
			// Where pause does nothing, no open answers so.
			a.waited = true
			a.lock.reg.kernel.pause(nameTime / 100)
			return lost, nil
		}
	}
	a.behind = false
	if to != from {
		from.pass()
	}
	a.entry = to
	switch {
	case err != nil:
		return failed, err
	case a.fixed && to != from:
		if turn {
			to.pass()
		}
		return failed, errMoved
	case to == nil:
		return a.arrive(ctx)
	case turn:
		return hasTurn, nil
	case a.manner == trying:
		return failed, ErrBusy
	}
	return queued, nil
}

// relocate finds the entry of the file that is at the path of l now, the one of
// from having been lost, and moves there whatever came to from by that path: the
// Locks, and their waiters in their order.
//
// Either a is an acquire of l that has the turn of from, with nothing locked, and
// keeps it. If nobody has the turn of the new entry, a gets it. Otherwise its
// waiter, if it has one, is queued there, ahead of those who had waited behind
// it. Whoever has the lock of the new file already gets ErrReentrant.
//
// Or a is nil, and the turn of from may be anybody's. Then nothing is moved from
// under an acquire that is under way: it looks for itself, and goes first.
//
// If to is nil without an error, nothing was moved.
func (r *registry) relocate(from *entry, l *lock, a *acquisition) (to *entry, turn bool, err error) {
	t := now()
	f, err := r.kernel.open(l.path)
	if err == errNameKept && a != nil && !a.behind && !from.dead {
		// The old file may be open by us alone.
		from.counts.reopened.Add(1)
		r.bury(from)
		f, err = r.kernel.open(l.path)
	}
	switch {
	case err == errNameKept && a == nil:
		return nil, false, nil // nobody can have another one
	case err != nil:
		if a == nil && errors.Is(err, fs.ErrNotExist) {
			from.turnAway(l.path, fs.ErrNotExist)
		}
		return nil, false, err
	}

	r.mu.Lock()
	from.mu.Lock()
	switch {
	case l.entry.Load() != from: // somebody else has moved it
	case l.closed:
		err = errClosed
	case r.entries[f.id()] == from: // renamed away and back again
		to, turn = from, a != nil
		l.looked.Store(t)
	case a == nil && from.acquiringLocked():
	default:
		return r.moveLocked(from, f, l.path, t, a)
	}
	from.mu.Unlock()
	r.mu.Unlock()
	f.close()
	return to, turn, err
}

// moveLocked is the moving of relocate, to the entry of f, which was opened at
// time t. It unlocks the registry's mu and that of from.
func (r *registry) moveLocked(from *entry, f file, path string, t int64, a *acquisition) (to *entry, turn bool, err error) {
	to = r.entryLocked(f)
	to.mu.Lock()
	if !from.dead {
		to.counts.reopened.Add(1)
	}
	for moving := range from.locks {
		if moving.path == path {
			delete(from.locks, moving)
			to.locks[moving] = struct{}{}
			moving.entry.Store(to)
			moving.looked.Store(t)
			moving.changed.Store(0)
		}
	}
	if len(from.locks) == 0 {
		to.counts.take(&from.counts)
	}
	switch {
	case a == nil:
	case to.turn == turnFree:
		to.takeLocked(a.hold, a.caller)
		turn = true
	case to.heldByLocked(a.caller, a.marks()):
		err = ErrReentrant
	case a.waiter != nil && !a.fixed:
		to.enqueueLocked(a.waiter, t)
	}
	var first *waiter // has the turn of to
	var refused, moved []*waiter
	for _, w := range from.queue.removeFunc(func(w *waiter) bool { return w.lock.path == path }) {
		switch {
		case w.fixed:
			moved = append(moved, w)
		case to.turn == turnFree:
			to.takeLocked(w.hold, w.owner)
			first = w
		case to.heldByLocked(w.owner, w.marks):
			refused = append(refused, w)
		default:
			to.enqueueLocked(w, t)
		}
	}
	from.abandonLocked()
	retired := r.retireLocked(from)
	to.mu.Unlock()
	from.mu.Unlock()
	r.mu.Unlock()
	if first != nil {
		first.deliver(hasTurn)
	}
	deliverError(refused, ErrReentrant)
	deliverError(moved, errMoved)
	if retired {
		from.file.close()
	}
	if to.file != f {
		f.close()
	}
	return to, turn, err
}

// acquiringLocked reports whether the turn is that of an acquire, or of a release,
// under way.
func (e *entry) acquiringLocked() bool {
	return e.turn == turnTaken && (e.hold == nil || !e.hold.returned.Load())
}

// turnAway tells those who wait by the given path that they wait in vain.
func (e *entry) turnAway(path string, err error) {
	e.mu.Lock()
	line := e.queue.removeFunc(func(w *waiter) bool { return w.lock.path == path })
	e.abandonLocked()
	e.mu.Unlock()
	deliverError(line, err)
}
