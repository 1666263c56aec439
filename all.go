package packlock

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"

	"packlock/internal/goid"
)

// Holds are the holds of several packs, in the order of the arguments of
// AcquireAll or AcquireSets.
type Holds []*Hold

// AcquireAll acquires all of the locks or none. On error it has released those that it
// had acquired.
//
// It waits for one lock after the other, in the order of the files' identities and not
// of the arguments. That order is the same for every program on a machine, so programs
// that acquire overlapping sets cannot deadlock. If a lock file is replaced meanwhile, and
// so has a different place in the order, AcquireAll releases everything and starts again.
//
// The errors are those of Acquire, with the path of the lock that failed. The same lock
// file twice, by any path, is an ErrReentrant, and so is one whose lock the caller
// already holds. Both are found before anything is acquired, unless a lock file is replaced
// meanwhile.
//
// It panics if ctx is nil.
func AcquireAll(ctx context.Context, locks ...*Lock) (Holds, error) {
	return AcquireSets(ctx, locks, nil)
}

// AcquireSets is AcquireAll, with some of the locks shared. The holds are in the order of the
// arguments, the exclusive ones first.
//
// The same lock file twice, in one set or in both, is an ErrReentrant. A lock that the
// caller holds shared already is granted once more in the shared set, and refused in the
// exclusive one.
func AcquireSets(ctx context.Context, exclusive, shared []*Lock) (Holds, error) {
	locks := slices.Concat(exclusive, shared)
	if ctx.Err() != nil && len(locks) > 0 {
		first := locks[0].opened()
		first.entry().counts.cancelled.Add(1)
		return nil, first.fail(cancelled(ctx))
	}
	for range maxMoves {
		holds, err := acquireSets(ctx, locks, len(exclusive))
		if !errors.Is(err, errMoved) {
			return holds, err
		}
	}
	return nil, locks[0].lock.fail(ErrLost) // and again and again
}

// acquireSets is one attempt, which fails with errMoved if the order changes. The first
// locks, as many as exclusive says, are acquired exclusively.
func acquireSets(ctx context.Context, locks []*Lock, exclusive int) (holds Holds, err error) {
	defer runtime.KeepAlive(locks)
	ordered, err := inOrder(ctx, locks, exclusive)
	if err != nil {
		return nil, err
	}
	var got Holds
	defer func() {
		// Also when the context, which may be any caller's code, panics.
		if len(got) < len(locks) {
			if released := got.Release(); released != nil {
				err = errors.Join(err, released)
			}
		}
	}()
	holds = make(Holds, len(locks))
	for _, o := range ordered {
		h, err := o.lock.acquire(ctx, parking, o.argument >= exclusive, o.entry)
		if err != nil {
			return nil, err
		}
		holds[o.argument] = h
		got = append(got, h)
	}
	return holds, nil
}

// An orderedLock is one of the locks of AcquireSets, with the entry that gives it its
// place in the order.
type orderedLock struct {
	lock     *lock
	entry    *entry
	argument int
}

// inOrder returns the locks in the order in which they are acquired, unless one of the
// acquires would be refused.
func inOrder(ctx context.Context, locks []*Lock, exclusive int) ([]orderedLock, error) {
	caller := goid.Get()
	marks, _ := ctx.Value(markKey{}).(*mark)
	var ordered []orderedLock
	for i, l := range locks {
		inner, shared := l.opened(), i >= exclusive
		e, refused := inner.refuses(caller, marks, shared)
		if refused {
			// Unless the file is lost: then it is a different lock now.
			if _, err := inner.awaitCheck(ctx, ctx.Done(), now()); err != nil {
				return nil, inner.fail(err)
			}
			if e, refused = inner.refuses(caller, marks, shared); refused {
				return nil, inner.fail(ErrReentrant)
			}
		}
		ordered = append(ordered, orderedLock{inner, e, i})
	}
	slices.SortFunc(ordered, func(a, b orderedLock) int { return a.entry.id.compare(b.entry.id) })
	for i := 1; i < len(ordered); i++ {
		if ordered[i].entry == ordered[i-1].entry {
			return nil, ordered[i].lock.fail(ErrReentrant)
		}
	}
	return ordered, nil
}

// refuses returns the entry of l and whether an acquire would be refused, because the
// goroutine, or one of the holds of the marks, holds its lock.
func (l *lock) refuses(goroutine uint64, marks *mark, shared bool) (*entry, bool) {
	e := l.lockEntry()
	defer e.mu.Unlock()
	return e, e.heldByLocked(goroutine, marks) && !(shared && e.turn == turnShared)
}

// compare orders identities.
func (id fileID) compare(other fileID) int {
	return cmp.Or(
		cmp.Compare(id.volume, other.volume),
		slices.Compare(id.file[:], other.file[:]),
	)
}

// Release releases all holds, in the reverse order of acquiring, and returns their errors
// joined. A hold that was released before is an ErrReleased, and does not keep the others
// from being released.
func (h Holds) Release() error {
	last := slices.Clone(h)
	slices.SortFunc(last, func(a, b *Hold) int { return b.opened().id.compare(a.opened().id) })
	var errs []error
	for _, hold := range last {
		errs = append(errs, hold.Release())
	}
	return errors.Join(errs...)
}

// Context returns ctx, marked as running under all of the holds: see Hold.Context.
func (h Holds) Context(ctx context.Context) context.Context {
	for _, hold := range h {
		ctx = hold.Context(ctx)
	}
	return ctx
}
