package packlock

import (
	"context"

	"packlock/internal/goid"
)

// progress is how far an acquire has come.
type progress uint8

const (
	queued     progress = iota // in the queue
	hasTurn                    // has the turn; nothing is locked
	locked                     // has the turn and, by its own call, the kernel's lock
	granted                    // the same, from the parked thread
	handedOver                 // the same, from a release
	lost                       // has the turn of an entry that is not to be used; nothing is locked
	failed                     // has nothing but an error
)

// manner is how an acquire waits.
type manner uint8

const (
	parking  manner = iota // in the queue, a dedicated thread in the kernel
	blocking               // in the kernel, on its own thread, when it is the first
	trying                 // not at all
)

// acquire is the acquire in all its manners.
//
// If fixed is not nil, the acquire fails with errMoved rather than to go on with
// another entry than that.
func (l *lock) acquire(ctx context.Context, manner manner, fixed *entry) (*Hold, error) {
	if ctx.Err() != nil {
		l.entry.Load().counts.cancelled.Add(1)
		return nil, l.fail(cancelled(ctx))
	}
	a := acquisition{lock: l, manner: manner, fixed: fixed != nil, hold: &Hold{lock: l, entry: fixed}, caller: goid.Get()}
	at, err := a.arrive(ctx)
	for err == nil {
		switch at {
		case queued:
			at, err = a.wait(ctx)
		case hasTurn:
			at, err = a.try(ctx)
		case locked, granted, handedOver:
			var same bool
			if same, err = a.verify(at); same {
				return a.finish(ctx, at)
			}
			at = lost
		case lost:
			at, err = a.reopen(ctx)
		default:
			panic("packlock: acquire that has nothing goes on")
		}
	}
	a.dropWaiter()
	return nil, l.fail(err)
}

// acquisition is an acquire under way. Its methods are the steps between one
// progress and the next; one that returns an error has given up what it had.
//
// What is on the stack while an acquire waits, here and in wait, counts for
// every waiting goroutine: there is room for little more before its stack
// doubles from 2 KB.
type acquisition struct {
	lock     *lock
	entry    *entry
	hold     *Hold
	waiter   *waiter // made when there is need to wait
	caller   uint64
	reopened uint16
	manner   manner
	waited   bool // in the queue or on its own thread
	fixed    bool // the entry of hold is the only one that will do

	// behind says that another process has the lock of the file, which is lost. If
	// nobody can have another file as long as that has it (errNameKept), it is waited
	// for as if it was not.
	behind bool
}

// arrive takes the turn if it is free.
func (a *acquisition) arrive(ctx context.Context) (progress, error) {
	l := a.lock
	e := l.lockEntry()
	if e.turn == turnFree && !l.closed && (!a.fixed || a.hold.entry == e) {
		a.entry = e
		e.takeLocked(a.hold, a.caller)
		e.mu.Unlock()
		return hasTurn, nil
	}
	e.mu.Unlock()
	return a.queueUp(ctx)
}

// queueUp takes the turn if it is free and queues up if not. Before it is refused,
// or waits, because of somebody outside of this process, it looks at the path.
func (a *acquisition) queueUp(ctx context.Context) (progress, error) {
	// The context may be anybody's code and is not asked under mu.
	t := now()
	if a.manner != trying {
		a.consult(ctx, t)
	}
	at, look, err := a.queueUpOrLook(t, true)
	if look {
		if err = a.lock.lookFrom(a.entry); err != nil {
			return failed, err
		}
		at, _, err = a.queueUpOrLook(t, false)
	}
	return at, err
}

// queueUpOrLook is queueUp, at time t, unless the caller may look at the path and has
// to: then it has done nothing.
func (a *acquisition) queueUpOrLook(t int64, mayLook bool) (at progress, look bool, err error) {
	l := a.lock
	e := l.lockEntry()
	defer e.mu.Unlock()
	a.entry = e
	held := e.heldByLocked(a.caller, a.marks())
	switch {
	case l.closed:
		return failed, false, errClosed
	case a.fixed && a.hold.entry != e:
		return failed, false, errMoved
	case e.turn == turnFree:
		e.takeLocked(a.hold, a.caller)
		return hasTurn, false, nil
	case mayLook && l.lookIsDue(t) && a.looks(e, held):
		return failed, true, nil
	case held:
		return failed, false, ErrReentrant
	case a.manner == trying:
		return failed, false, ErrBusy
	}
	e.enqueueLocked(a.waiter, t)
	return queued, false, nil
}

// looks reports whether an arrival for which a look at the path is due makes it.
func (a *acquisition) looks(e *entry, held bool) bool {
	// Who queues behind a goroutine of this process leaves it to the watch: from one
	// to the next, a lock is verified often enough. Who queues while another one is at
	// the look is moved by that one. Who is about to be refused cannot be told later.
	return held || a.manner == trying ||
		e.turn != turnTaken && a.lock.looking.CompareAndSwap(false, true)
}

// wait waits in the queue.
func (a *acquisition) wait(ctx context.Context) (progress, error) {
	w := a.waiter
	a.waited = true
	if err := w.wait(ctx); err != nil {
		return failed, err
	}
	a.entry = a.hold.entry // which its Lock may have left already
	return w.got, nil
}

// try uses the turn to ask the kernel for the lock, and goes to wait if it is
// another process's.
func (a *acquisition) try(ctx context.Context) (progress, error) {
	e := a.entry
	if e.dead {
		return lost, nil
	}
	aside := e.fair.timed && e.fair.stepsAside(now(), a.manner != trying)
	if aside {
		e.reg.kernel.pause(asideTime)
	}
	behind := a.behind
	a.behind = false
	ok, err := e.file.try()
	t := now()
	if aside && ok {
		ok, t, err = e.offerAgain(t, func() bool { return a.ended(ctx, locked) })
	}
	if !ok && err == nil {
		e.fair.busy(t)
		for n, first := 0, t; !ok && err == nil && a.manner != trying && e.fair.asksAgain(n, t-first); n++ {
			ok, err = e.file.try()
			t = now()
		}
	}
	switch {
	case err == errStale:
		return lost, nil
	case err != nil:
		e.pass()
		return failed, err
	case ok:
		e.fair.begin(t)
		return locked, nil
	}
	e.fair.shared(t)
	if !behind && a.lock.lookIsDue(t) {
		switch same, err := a.lock.look(e, t); {
		case err != nil:
			e.pass()
			return failed, err
		case !same:
			a.behind = true
			return lost, nil
		}
	}
	switch {
	case a.manner == trying:
		e.pass()
		return failed, ErrBusy
	case a.ended(ctx, hasTurn): // or a thread would park for nobody
		e.counts.cancelled.Add(1)
		e.pass()
		return failed, cancelled(ctx)
	}
	a.needWaiter(t)
	if a.manner == blocking && a.lock.reg.threads.take() {
		a.waited = true
		switch err := e.block(); err {
		case nil:
			return locked, nil
		case errStale:
			return lost, nil
		default:
			e.pass()
			return failed, err
		}
	}
	if !a.waiter.consulted {
		a.asking(hasTurn, func() { a.consult(ctx, t) })
	}
	if !e.park(a.waiter, t) {
		e.pass()
		return failed, errClosed
	}
	return queued, nil
}

// verify reports whether the locked file is the one at the path of the Lock, as
// far as it has to be looked at. If not, the lock is let go.
func (a *acquisition) verify(at progress) (bool, error) {
	e := a.entry
	same, err := e.verify(a.lock, at, a.waited)
	if same && err == nil {
		return true, nil
	}
	e.unlock() // whether a file unlocks that is nobody's sidecar is nobody's concern
	if err != nil {
		e.pass()
	}
	return false, err
}

// finish returns the hold, which is ours and verified.
func (a *acquisition) finish(ctx context.Context, at progress) (*Hold, error) {
	l, e := a.lock, a.entry
	if a.ended(ctx, at) {
		// It ended while we were about to have the lock, and wins.
		e.counts.cancelled.Add(1)
		e.mu.Lock()
		e.giveBackLocked(handedOver)
		return nil, l.fail(cancelled(ctx))
	}
	if a.waited && at == locked && l.isClosed() {
		// It was in no queue where Close could have turned it away.
		e.mu.Lock()
		e.giveBackLocked(handedOver)
		return nil, l.fail(errClosed)
	}
	e.counts.acquired.Add(1)
	if a.waited {
		e.counts.contended.Add(1)
		e.counts.waited(e.fair.changedAt - a.waiter.since)
	}
	if at == handedOver {
		e.counts.handedOver.Add(1)
	}
	a.dropWaiter()
	a.hold.returned.Store(true)
	return a.hold, nil
}
