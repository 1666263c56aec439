package packlock

import (
	"context"

	"packlock/internal/goid"
)

// acquireState is what an acquire has.
type acquireState uint8

const (
	nothing    acquireState = iota // or nothing but an error
	queued                         // a place in the queue
	hasTurn                        // the turn; the kernel's lock is not ours
	locked                         // the turn and, by its own call, the kernel's lock
	granted                        // the same, from the parked thread
	handedOver                     // the same, from a release
	joined                         // membership in the group that has the lock shared
	lost                           // the turn of an entry that must not be used; the kernel's lock is not ours
)

// waitMode is how an acquire waits.
type waitMode uint8

const (
	parking  waitMode = iota // in the queue, a dedicated thread in the kernel
	blocking                 // in the kernel, on its own thread, if it is the first
	trying                   // not at all
)

// acquire is the acquire in all its modes, shared or exclusive.
//
// If ordered is not nil, the acquire fails with errMoved rather than to go on with a
// different entry.
func (l *lock) acquire(ctx context.Context, mode waitMode, shared bool, ordered *entry) (_ *Hold, err error) {
	if ctx.Err() != nil {
		l.entry().counts.cancelled.Add(1)
		return nil, l.fail(cancelled(ctx))
	}
	a := acquisition{lock: l, mode: mode, ordered: ordered != nil, hold: &Hold{lock: l, entry: ordered, shared: shared}, caller: goid.Get()}
	defer a.giveBackAfterPanic()
	a.state, err = a.arrive(ctx)
	for err == nil {
		switch a.state {
		case queued:
			a.state, err = a.waitInQueue(ctx)
		case hasTurn:
			a.state, err = a.try(ctx)
		case locked, granted, handedOver:
			var same bool
			if same, err = a.verify(); same {
				return a.finish(ctx)
			}
			a.state = lost
		case joined:
			var stays bool
			if stays, err = a.stay(ctx); stays {
				return a.finish(ctx)
			}
		case lost:
			a.state, err = a.moveOn(ctx)
		default:
			panic("packlock: acquire that has nothing goes on")
		}
	}
	a.state = nothing
	a.dropWaiter()
	return nil, l.fail(err)
}

// acquisition is an acquire under way. Its methods are the steps between one state and
// the next. One that returns an error has given up what the acquire had.
//
// The context may be any caller's code, and panic. It is only asked while state is what
// the acquire has. So a step that gives something up asks the context before, and not
// after.
//
// What is on the stack while an acquire waits, here and in waiter.wait, counts for
// every waiting goroutine: there is room for little more before its stack doubles from
// 2 KB.
type acquisition struct {
	lock   *lock
	entry  *entry
	hold   *Hold
	waiter *waiter // made when the acquire must wait
	caller uint64
	moves  uint16 // in a row, to the file that took a lost one's place
	state  acquireState
	mode   waitMode
	waited bool // in the queue or on its own thread

	// ordered is set for acquires of AcquireAll: the entry of hold is the only one
	// that will do.
	ordered bool

	// heldElsewhere is set when another process holds the lock of the file, which is
	// lost.
	heldElsewhere bool
}

// arrive takes the turn if it is free, or joins the group if that is open.
func (a *acquisition) arrive(ctx context.Context) (acquireState, error) {
	l := a.lock
	e := l.lockEntry()
	if !l.closed && (!a.ordered || a.hold.entry == e) {
		switch {
		case e.turn == turnFree:
			a.entry = e
			e.takeLocked(a.hold, a.caller)
			e.mu.Unlock()
			return hasTurn, nil
		case a.hold.shared && e.joinableLocked():
			a.entry = e
			e.joinLocked(a.hold, a.caller)
			e.mu.Unlock()
			return joined, nil
		}
	}
	e.mu.Unlock()
	return a.queueUp(ctx)
}

// queueUp takes the turn if it is free, joins the group if it may, and queues up if not.
// An acquire that would be refused waits for a check of the path first, if one is due.
func (a *acquisition) queueUp(ctx context.Context) (acquireState, error) {
	// The context may be any caller's code and is not asked under mu.
	t := now()
	var done <-chan struct{}
	if a.mode != trying {
		a.readContext(ctx, t)
		done = a.waiter.done
	}
	state, check, err := a.queueUpOrCheck(t, true)
	if check {
		if _, err = a.lock.awaitCheck(ctx, done, t); err != nil {
			return nothing, err
		}
		state, _, err = a.queueUpOrCheck(now(), false)
	}
	return state, err
}

// queueUpOrCheck is queueUp at time t, unless the acquire would be refused and a check
// of the path is due: then it reports that, and has done nothing.
func (a *acquisition) queueUpOrCheck(t int64, mayCheck bool) (state acquireState, check bool, err error) {
	l := a.lock
	e := l.lockEntry()
	defer e.mu.Unlock()
	a.entry = e
	loc := l.location.Load()
	held := e.heldByLocked(a.caller, a.marks())
	waits := a.mode != trying || a.hold.shared && e.tryMayWaitLocked()
	// A try that waits for an orphaned wait to be passed may be refused later.
	mayBeRefused := held || !waits || a.mode == trying && e.turn == turnParked
	switch {
	case l.closed:
		return nothing, false, errClosed
	case a.ordered && a.hold.entry != e:
		return nothing, false, errMoved
	case e.turn == turnFree:
		e.takeLocked(a.hold, a.caller)
		return hasTurn, false, nil
	case a.hold.shared && (e.mayJoinLocked(l, a.caller, a.marks()) || a.mode == trying && e.tryMayJoinLocked()):
		e.joinLocked(a.hold, a.caller)
		return joined, false, nil
	case mayCheck && mayBeRefused && loc.due(t):
		return nothing, true, nil
	case held:
		return nothing, false, ErrReentrant
	case !waits:
		return nothing, false, ErrBusy
	}
	e.enqueueLocked(a.needWaiter(t), t)
	// Behind a goroutine of this process the watch is enough: each time that the lock
	// changes hands it is verified.
	if e.turn != turnTaken && e.turn != turnShared && loc.due(t) {
		loc.checkLocked()
	}
	return queued, false, nil
}

// waitInQueue waits in the queue.
func (a *acquisition) waitInQueue(ctx context.Context) (acquireState, error) {
	w := a.waiter
	a.waited = true
	a.moves = 0
	if err := w.wait(ctx); err != nil {
		return nothing, err
	}
	a.entry = a.hold.entry // which its Lock may have left already
	return w.got, nil
}

// finish returns the hold, which is ours and verified.
func (a *acquisition) finish(ctx context.Context) (*Hold, error) {
	l, e, state := a.lock, a.entry, a.state
	var err error
	switch {
	case ctx.Err() != nil:
		// It ended while the lock was being granted, and wins.
		e.counts.cancelled.Add(1)
		err = cancelled(ctx)
	case a.waited && state == locked && l.isClosed():
		// It was in no queue where Close could have found it.
		err = errClosed
	}
	a.state = nothing
	switch {
	case err != nil:
		e.mu.Lock()
		e.giveUpLocked(a.hold, handedOver)
		return nil, l.fail(err)
	case !a.hold.shared:
		e.withdrawIntent()
	case state != joined:
		e.openGroup(a.hold)
	}
	e.counts.acquired.Add(1)
	if a.waited {
		e.counts.contended.Add(1)
		grantedAt := e.fair.changedAt
		if state == joined {
			grantedAt = now()
		}
		e.counts.waited(grantedAt - a.waiter.since)
	}
	if state == handedOver {
		e.counts.handedOver.Add(1)
	}
	a.dropWaiter()
	a.hold.returned.Store(true)
	return a.hold, nil
}
