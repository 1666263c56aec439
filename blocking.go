package packlock

import (
	"cmp"
	"context"
	"io/fs"
	"runtime"
	"sync/atomic"
	"time"
)

// maxParked bounds the threads of this process that are parked in the kernel.
// It is far below the 10,000 threads at which the Go runtime gives up, and
// beyond what a process that waits for its packs one after another comes to.
const maxParked = 512

// threadShare is which part of the threads that this process may have each threadCap uses
// at most: one in so many. If the limit is reached, the Go runtime ends the program.
const threadShare = 4

// threadCap counts threads that may be held up for long.
type threadCap struct {
	n     atomic.Int32
	max   int32
	limit *threadLimit
}

// take reports whether there is room for one more, and counts it.
func (t *threadCap) take() bool {
	if t.n.Add(1) <= t.limit.bound(t.max) {
		return true
	}
	t.n.Add(-1)
	return false
}

func (t *threadCap) give() { t.n.Add(-1) }

// threadLimit is the limit on the threads of this process, which may change while it
// runs.
type threadLimit struct {
	kernel kernel
	n      atomic.Int32 // 0 if there is none, or it was not read yet
	readAt atomic.Int64 // 0 if it was not
}

// refresh reads the limit if that was not done for a second, at time t. It makes system
// calls.
func (l *threadLimit) refresh(t int64) {
	readAt := l.readAt.Load()
	if (readAt == 0 || age(t, readAt) > time.Second) && l.readAt.CompareAndSwap(readAt, t) {
		l.n.Store(int32(l.kernel.threadLimit()))
	}
}

// bound returns max, or less if the limit of this process is lower.
func (l *threadLimit) bound(max int32) int32 {
	n := l.n.Load()
	if n == 0 || n/threadShare >= max {
		return max
	}
	return cmp.Or(n/threadShare, 1)
}

// waitForKernel waits for another process to release the lock, since time t, or yields to
// one that waits for it.
func (a *acquisition) waitForKernel(ctx context.Context, t int64, yields bool) (acquireState, error) {
	e := a.entry
	if a.mode == trying {
		e.pass()
		return nothing, ErrBusy
	}
	if ctx.Err() != nil { // or a thread would park for no waiter
		e.counts.cancelled.Add(1)
		err := cancelled(ctx)
		e.pass()
		return nothing, err
	}
	a.needWaiter(t)
	e.reg.threads.limit.refresh(t)
	if a.mode == blocking && e.reg.threads.take() {
		a.waited = true
		a.moves = 0
		switch err := e.block(); err {
		case nil:
			return locked, nil
		case errFileLost:
			return lost, nil
		default:
			e.pass()
			return nothing, err
		}
	}
	if !a.waiter.contextRead {
		a.readContext(ctx, t)
	}
	if !e.park(a.waiter, t, yields) {
		e.pass()
		return nothing, errClosed
	}
	return queued, nil
}

// block waits in the kernel on the thread of the caller, which has the turn and
// room for a thread.
func (e *entry) block() error {
	e.mu.Lock()
	e.turn = turnBlocked
	e.intent.wanted.Store(!e.hold.lock.options.anyFile)
	e.pathAlarm.setLocked(e, now(), watchInterval, (*entry).checkPaths) // which renews that
	e.mu.Unlock()
	e.updateIntent()
	err := e.active.block(e.shared)
	e.reg.threads.give()
	if err == nil {
		e.fair.startSliceAfterWait(now())
	}
	e.mu.Lock()
	e.turn = turnTaken
	e.intent.wanted.Store(false)
	e.mu.Unlock()
	e.updateIntent()
	return err
}

// park has w wait at the head of the queue, and gives the turn to a thread that waits in
// the kernel for it, at time t. It does nothing and returns false if the Lock of w was
// closed meanwhile: Close has woken the waiters of the queue, and would not wake w.
func (e *entry) park(w *waiter, t int64, yields bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.lock.closed {
		return false
	}
	e.refuseTriesLocked()
	e.queue.pushFront(w)
	e.hold = nil
	e.startKernelWaitLocked(yields)
	e.watchLocked(t)
	return true
}

// startKernelWaitLocked gives the turn to a parked thread, which may be one that was left
// behind, or to the poller if there is no thread to spare. Each waits for the kernel's lock
// of the kind that the first in the queue wants, on behalf of the queue, and ends with
// kernelWaitEnded. If the first yields, a poller waits for a writer first.
func (e *entry) startKernelWaitLocked(yields bool) {
	switch {
	case yields:
		e.startYieldLocked()
	case e.adoptOrphanLocked():
	case e.reg.threads.take():
		e.startThreadLocked()
	default:
		e.startPollerLocked()
	}
}

// startThreadLocked gives the turn, and the room for a thread that the caller
// took, to a parked thread.
func (e *entry) startThreadLocked() {
	e.turn = turnParked
	e.counts.kernelWaits.Add(1)
	f, shared := e.active, e.shared
	e.setWantedLocked()
	go func() {
		e.updateIntent()
		runtime.LockOSThread()
		err := f.block(shared)
		// Unlocked before a waiter is woken, so that this thread can go on with the
		// goroutine that it wakes. One that ended locked would first need
		// another thread for that.
		runtime.UnlockOSThread()
		e.reg.threads.give()
		e.kernelWaitEnded(f, err)
		e.updateIntent()
	}()
}

// kernelWaitEnded ends a wait in the kernel: the parked thread, or the poller, has got
// the lock of f or an error.
func (e *entry) kernelWaitEnded(f file, err error) {
	e.mu.Lock()
	if f == e.orphan.file {
		e.orphanEndedLocked(err)
		return
	}
	e.intent.wanted.Store(false)
	if err == nil {
		e.fair.startSliceAfterWait(now()) // after the last of the waiters has begun to wait
	}
	switch w := e.queue.first(); {
	case err == nil && w != nil && w.hold.shared == e.shared:
		e.grantLocked(granted)
	case err == nil && w != nil:
		if e.passableLocked() { // it was not gone past, and is adopted now
			e.counts.adopted.Add(1)
			e.endDrainLocked()
		}
		e.turn = turnTaken
		e.giveBackLocked(granted)
	case err == errFileLost && w != nil:
		e.grantLocked(lost)
	case err == nil:
		drains := e.turn == turnParked // a poller only came too late to stop
		e.turn = turnTaken
		if drains {
			e.turn = turnUnlocking
		}
		e.mu.Unlock()
		e.unlock()
		if drains {
			e.counts.drained.Add(1)
		}
		e.pass()
	default:
		// The error is for the waiter on whose behalf the kernel was called last.
		// The next one tries for itself.
		e.queue.popFront()
		e.turn = turnTaken
		e.mu.Unlock()
		if w != nil {
			w.err = err
			w.deliver(nothing)
		}
		e.pass()
	}
}

// drainingLocked reports whether the parked thread waits with the queue empty, or
// releases the lock that it was granted like this, or is or was left behind. A waiter that
// queues up while it releases the lock comes too late to adopt it.
func (e *entry) drainingLocked() bool {
	return e.turn == turnParked && e.queue.n == 0 || e.passableLocked() || e.turn == turnUnlocking || e.orphan.file != nil
}

// drainedLocked returns the channel that is closed when the draining has ended.
func (e *entry) drainedLocked() chan struct{} {
	if e.drained == nil {
		e.drained = make(chan struct{})
	}
	return e.drained
}

// endDrainLocked wakes the callers of WaitDrained and awaitOrphan, to check again.
func (e *entry) endDrainLocked() {
	if e.drained != nil {
		close(e.drained)
		e.drained = nil
	}
}

// waitDrained is Lock.WaitDrained.
func (l *lock) waitDrained(ctx context.Context) error {
	done := ctx.Done() // it may be any caller's code, and is not called under mu
	for first := true; ; first = false {
		e := l.lockEntry()
		closed, draining := l.closed, e.drainingLocked()
		var drained chan struct{}
		if draining {
			drained = e.drainedLocked()
		}
		e.mu.Unlock()
		switch {
		case closed && first:
			return &fs.PathError{Op: "drain", Path: l.path, Err: errClosed}
		case !draining:
			return nil
		}
		// The drain ended, or the Lock moved, before the receive from drained.
		select {
		case <-drained:
		case <-done:
			return &fs.PathError{Op: "drain", Path: l.path, Err: cancelled(ctx)}
		}
	}
}
