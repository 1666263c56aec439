package packlock

import "context"

// try uses the turn to try the kernel's lock, and waits for it if another process holds
// it.
func (a *acquisition) try(ctx context.Context) (acquireState, error) {
	e := a.entry
	heldElsewhere := a.heldElsewhere
	a.heldElsewhere = false // unless that is seen again
	if e.unusable {
		return lost, nil
	}
	var ok bool
	var t int64
	var err error
	yields := a.hold.shared && a.yieldsToWriter()
	if yields {
		t = now()
	} else {
		ok, t, err = a.tryKernel(ctx)
	}
	switch {
	case err == errFileLost:
		return lost, nil
	case err != nil:
		e.pass()
		return nothing, err
	case ok:
		e.fair.startSlice(t)
		return locked, nil
	}
	e.fair.yielded(t)
	if heldElsewhere {
		return a.waitForKernel(ctx, t, yields) // it was checked, and no other file can be there yet
	}
	var done <-chan struct{}
	if a.mode == parking {
		if a.waiter == nil || !a.waiter.contextRead {
			a.readContext(ctx, t)
		}
		done = a.waiter.done
	}
	gone, err := a.lock.awaitCheck(ctx, done, t)
	switch {
	case err != nil:
		e.pass()
		return nothing, err
	case gone:
		// The check moved nothing from under this acquire, which has the turn.
		a.heldElsewhere = true
		return lost, nil
	}
	return a.waitForKernel(ctx, t, yields)
}

// tryKernel tries the kernel's lock, as often as fairness allows, and returns whether
// and when it got it. It may yield to other processes before.
func (a *acquisition) tryKernel(ctx context.Context) (ok bool, t int64, err error) {
	e := a.entry
	// To writers that announce themselves, readers yield otherwise (courtesy.go).
	announced := a.hold.shared && !e.intent.notHere.Load() && !a.lock.options.anyFile
	yields := e.fair.trackRelease && e.fair.shouldYield(now(), a.mode != trying, announced)
	if yields {
		e.reg.kernel.pause(yieldPause)
	}
	ok, err = e.active.try(e.shared)
	t = now()
	switch {
	case err != nil:
	case ok && yields && announced:
		e.fair.yielded(t)
	case ok && yields:
		return a.reoffer(ctx, t)
	case !ok:
		e.fair.sawRival(t)
		for n, first := 0, t; !ok && err == nil && a.mode != trying && e.fair.shouldSpin(n, t-first); n++ {
			ok, err = e.active.try(e.shared)
			t = now()
		}
	}
	return ok, t, err
}

// reoffer offers the lock, which was acquired at time t in spite of a yield, to waiters
// of other processes that may be late, until the context ends. It returns whether the
// lock is still ours, and since when.
func (a *acquisition) reoffer(ctx context.Context, t int64) (ok bool, since int64, err error) {
	e := a.entry
	ok = true
	n := 0
	for first := t; ok && e.fair.shouldReoffer(n, t-first, t); n++ {
		a.state = locked
		if ctx.Err() != nil {
			break
		}
		a.state = hasTurn
		if e.unlock() != nil {
			return false, t, errFileLost // it is closed
		}
		e.reg.kernel.pause(yieldPause)
		if ok, err = e.active.try(e.shared); err != nil {
			return false, t, err
		}
		t = now()
	}
	if ok {
		e.fair.reofferFailed(n, t)
	}
	return ok, t, nil
}
