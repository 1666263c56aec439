package packlock

import "context"

// mark is one of the holds that a context runs under.
type mark struct {
	hold  *Hold
	outer *mark
}

// markKey is the context key of the innermost mark.
type markKey struct{}

// heldByLocked reports whether the lock is held by the goroutine, or by one of
// the holds that a context is marked with: such an acquire would wait for itself.
func (e *entry) heldByLocked(goroutine uint64, marks *mark) bool {
	if e.hold == nil && e.turn != turnShared {
		return false
	}
	for m := marks; m != nil; m = m.outer {
		if m.hold.entry == e && e.isLiveLocked(m.hold) {
			return true
		}
	}
	return e.ownedByLocked(goroutine)
}

// ownedByLocked reports whether a hold, live or in the making, belongs to the goroutine.
func (e *entry) ownedByLocked(goroutine uint64) bool {
	if e.turn == turnShared {
		return e.group.owners.of(goroutine) > 0
	}
	return e.hold != nil && e.hold.owner == goroutine
}

// readContext reads from the context what waiting and re-entry need to know, for an
// acquire that is about to wait since time t.
func (a *acquisition) readContext(ctx context.Context, t int64) {
	w := a.needWaiter(t)
	w.marks, _ = ctx.Value(markKey{}).(*mark)
	w.done = ctx.Done()
	w.contextRead = true
}

// marks returns those of the context, as far as it was read. TryAcquire has no
// context.
func (a *acquisition) marks() *mark {
	if a.waiter == nil {
		return nil
	}
	return a.waiter.marks
}

// giveBackAfterPanic gives back what the acquire has when its context has panicked.
// Otherwise the lock would be lost for the life of the process.
func (a *acquisition) giveBackAfterPanic() {
	switch a.state {
	case hasTurn, lost:
		a.entry.pass()
	case locked, granted, handedOver, joined:
		a.entry.mu.Lock()
		a.entry.giveUpLocked(a.hold, granted)
	}
}
