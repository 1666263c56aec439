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
// the holds that a context is marked with: whoever waits for it then waits for
// itself.
func (e *entry) heldByLocked(goroutine uint64, marks *mark) bool {
	if e.hold == nil {
		return false
	}
	for m := marks; m != nil; m = m.outer {
		if m.hold == e.hold {
			return true
		}
	}
	return e.owner == goroutine
}

// consult asks the context, for who is going to wait since time t, what waiting and
// re-entry need to know.
func (a *acquisition) consult(ctx context.Context, t int64) {
	w := a.needWaiter(t)
	w.marks, _ = ctx.Value(markKey{}).(*mark)
	w.done = ctx.Done()
	w.consulted = true
}

// marks returns those of the context, as far as it was consulted. TryAcquire has no
// context.
func (a *acquisition) marks() *mark {
	if a.waiter == nil {
		return nil
	}
	return a.waiter.marks
}

// ended asks whether the context has ended, while a has what at says.
func (a *acquisition) ended(ctx context.Context, at progress) (ended bool) {
	a.asking(at, func() { ended = ctx.Err() != nil })
	return ended
}

// asking calls ask, which asks the context. That may be anybody's code, and panic:
// then a gives back what it has by at, or the lock would be lost for the life of
// the process.
func (a *acquisition) asking(at progress, ask func()) {
	answered := false
	defer func() {
		switch {
		case answered:
		case at == hasTurn:
			a.entry.pass()
		default:
			a.entry.mu.Lock()
			a.entry.giveBackLocked(granted)
		}
	}()
	ask()
	answered = true
}
