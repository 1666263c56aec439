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
// AcquireAll.
type Holds []*Hold

// AcquireAll acquires all of the locks, or none: then it has let go of what it got.
// Whatever the order of the arguments, it waits for one after the other in the
// order of the files' identities, which is the same for every program on a
// machine, so that programs which acquire overlapping sets do not wait for each
// other in a circle. If a sidecar is replaced meanwhile, and so has another place
// in that order, it lets go of everything and begins again.
//
// The errors are those of Acquire; the path is that of the lock that failed. The
// same sidecar twice, by whatever path, is an ErrReentrant, and so is one that the
// caller has already: both are found before anything is acquired.
//
// It panics if ctx is nil.
func AcquireAll(ctx context.Context, locks ...*Lock) (Holds, error) {
	if ctx.Err() != nil && len(locks) > 0 {
		_, err := locks[0].Acquire(ctx) // which says so
		return nil, err
	}
	for range maxReopened {
		holds, err := acquireAll(ctx, locks)
		if !errors.Is(err, errMoved) {
			return holds, err
		}
	}
	return nil, locks[0].lock.fail(ErrLost) // and again and again
}

// acquireAll is one attempt, which fails with errMoved if the order changes.
func acquireAll(ctx context.Context, locks []*Lock) (holds Holds, err error) {
	defer runtime.KeepAlive(locks)
	places, err := inOrder(ctx, locks)
	if err != nil {
		return nil, err
	}
	var got Holds
	defer func() {
		// Also when the context, which may be anybody's code, panics.
		if len(got) < len(locks) {
			if released := got.Release(); released != nil {
				err = errors.Join(err, released)
			}
		}
	}()
	holds = make(Holds, len(locks))
	for _, p := range places {
		h, err := p.lock.acquire(ctx, parking, p.entry)
		if err != nil {
			return nil, err
		}
		holds[p.argument] = h
		got = append(got, h)
	}
	return holds, nil
}

// A place is that of one of the acquires of AcquireAll in their order.
type place struct {
	lock     *lock
	entry    *entry
	argument int
}

// inOrder returns the acquires in their order, unless one of them is in vain.
func inOrder(ctx context.Context, locks []*Lock) ([]place, error) {
	caller := goid.Get()
	marks, _ := ctx.Value(markKey{}).(*mark)
	var places []place
	for i, l := range locks {
		inner := l.opened()
		e, held := inner.heldBy(caller, marks)
		if held {
			// Unless it is the lock of a file that is lost.
			if err := inner.lookFrom(e); err != nil {
				return nil, inner.fail(err)
			}
			if e, held = inner.heldBy(caller, marks); held {
				return nil, inner.fail(ErrReentrant)
			}
		}
		places = append(places, place{inner, e, i})
	}
	slices.SortFunc(places, func(a, b place) int { return a.entry.id.compare(b.entry.id) })
	for i := 1; i < len(places); i++ {
		if places[i].entry == places[i-1].entry {
			return nil, places[i].lock.fail(ErrReentrant)
		}
	}
	return places, nil
}

// heldBy returns the entry of l and whether the goroutine, or one of the holds of
// the marks, has its lock.
func (l *lock) heldBy(goroutine uint64, marks *mark) (*entry, bool) {
	e := l.lockEntry()
	defer e.mu.Unlock()
	return e, e.heldByLocked(goroutine, marks)
}

// compare orders identities.
func (id fileID) compare(other fileID) int {
	return cmp.Or(
		cmp.Compare(id.volume, other.volume),
		slices.Compare(id.file[:], other.file[:]),
	)
}

// Release releases all, in the reverse order of acquiring, and returns their errors
// joined. One that was released before is an ErrReleased, and is no hindrance to
// the others.
func (h Holds) Release() error {
	last := slices.Clone(h)
	slices.SortFunc(last, func(a, b *Hold) int { return b.granted().id.compare(a.granted().id) })
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
