package packlock

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// A sidecar is lost when the file at its path is no longer the one that is open
// here: it was deleted, replaced or renamed. Whoever opens the path then locks
// another file. An acquire that notices lets go, and moves to the new file
// together with all who came by the same path.

const (
	// The look at the path costs a system call as dear as the lock itself. An
	// acquire that had no need to wait trusts the last look for lookAge; one
	// that waited, during which anything may have happened, does not trust it.
	// A hand-over, during which the lock was never let go, costs so little that
	// it needs no more than one look in handOverLookAge.
	lookAge         = 10 * time.Millisecond
	handOverLookAge = time.Millisecond

	// maxReopened bounds how often one acquire reopens a lost sidecar. So many
	// in a row are not somebody's deletions but a file system that does not
	// give a file the same identity twice.
	maxReopened = 1000
)

// verify reports whether the locked file is the one at l's path, as far as it
// has to be looked at. The caller has the turn and the kernel's lock.
func (e *entry) verify(l *lock, at progress, waited bool) (bool, error) {
	// Read when the lock changed hands, just now; reading the clock again would
	// cost a tenth of a hand-over.
	t := e.fair.changedAt
	age := time.Duration(t - l.looked.Load())
	switch {
	case age < 0: // another clock: a Lock was taken into a testing/synctest bubble
	case at == handedOver:
		if age <= handOverLookAge {
			return true, nil
		}
	case !waited && age <= lookAge:
		linked, err := e.file.linked()
		if err != nil || linked {
			return linked, err
		}
		// The look at the path decides: some file systems have no idea of
		// link counts.
	}
	same, err := e.reg.kernel.sameAt(l.path, e.id)
	if same {
		l.looked.Store(t)
	}
	return same, err
}

// reopen leaves the entry, whose sidecar is lost, for that of the file that is
// at the path now.
func (a *acquisition) reopen(ctx context.Context) (progress, error) {
	from := a.entry
	a.marks, _ = ctx.Value(markKey{}).(*mark)
	if a.reopened++; a.reopened > maxReopened {
		from.pass()
		return failed, fmt.Errorf("%w %d times in a row", ErrLost, maxReopened)
	}
	if a.manner != trying {
		a.needWaiter()
	}
	to, turn, err := a.lock.reg.relocate(from, a)
	if to != from {
		from.pass()
	}
	a.entry = to
	switch {
	case err != nil:
		return failed, err
	case turn:
		return hasTurn, nil
	case a.manner == trying:
		return failed, ErrBusy
	}
	return queued, nil
}

// relocate finds the entry of the file that is at the path of a now, the one of
// from having been lost, and moves there whatever came to from by that path: the
// Lock of a, those that share its path, and their waiters in their order. The
// caller, a, has the turn of from, with nothing locked, and keeps it.
//
// If nobody has the turn of the new entry, a gets it. Otherwise its waiter, if it
// has one, is queued there, ahead of those who had waited behind it. Whoever has
// the lock of the new file already gets ErrReentrant.
func (r *registry) relocate(from *entry, a *acquisition) (to *entry, turn bool, err error) {
	l := a.lock
	looked := now()
	f, err := r.kernel.open(l.path)
	if err != nil {
		return nil, false, err
	}

	r.mu.Lock()
	from.mu.Lock()
	if l.closed {
		from.mu.Unlock()
		r.mu.Unlock()
		f.close()
		return nil, false, fs.ErrClosed
	}
	to = r.entryLocked(f)
	if to == from { // renamed away and back again
		from.mu.Unlock()
		r.mu.Unlock()
		f.close()
		return from, true, nil
	}

	to.mu.Lock()
	if !from.dead {
		to.counts.reopened.Add(1)
	}
	for moving := range from.locks {
		if moving.path == l.path {
			delete(from.locks, moving)
			to.locks[moving] = struct{}{}
			moving.entry.Store(to)
			moving.looked.Store(looked)
		}
	}
	if len(from.locks) == 0 {
		to.counts.add(&from.counts)
	}
	if to.turn == turnFree {
		to.takeLocked(a.hold, a.caller)
		turn = true
	} else if to.heldByLocked(a.caller, a.marks) {
		err = ErrReentrant
	} else if a.waiter != nil {
		to.enqueueLocked(a.waiter)
	}
	var refused []*waiter
	for _, behind := range from.queue.removeFunc(func(w *waiter) bool { return w.lock.path == l.path }) {
		if to.heldByLocked(behind.owner, behind.marks) {
			refused = append(refused, behind)
		} else {
			to.enqueueLocked(behind)
		}
	}
	to.mu.Unlock()
	from.mu.Unlock()
	r.mu.Unlock()
	for _, w := range refused {
		w.err = ErrReentrant
		w.deliver(failed)
	}
	if to.file != f {
		f.close()
	}
	return to, turn, err
}
