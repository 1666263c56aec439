package packlock

import (
	"context"
	"io/fs"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// The poller's delay doubles from the first to the second: 1 ms is no more
	// than the slice another process may be using up, and at 50 ms a process
	// that polls hundreds of packs still leaves the processor to others.
	pollMin = time.Millisecond
	pollMax = 50 * time.Millisecond
)

// maxParked bounds the threads of this process that are parked in the kernel.
// It is far below the 10,000 threads at which the Go runtime gives up, and
// beyond what a process that waits for its packs one after another comes to.
const maxParked = 512

// threadCap counts the parked threads.
type threadCap struct{ n atomic.Int32 }

// take reports whether there is room for one more, and counts it.
func (t *threadCap) take() bool {
	if t.n.Add(1) <= maxParked {
		return true
	}
	t.n.Add(-1)
	return false
}

func (t *threadCap) give() { t.n.Add(-1) }

// block waits in the kernel on the thread of the caller, which has the turn and
// room for a thread.
func (e *entry) block() error {
	e.mu.Lock()
	h, owner := e.hold, e.owner
	e.turn = turnBlocked
	e.hold = nil
	e.mu.Unlock()
	err := e.file.block()
	e.reg.threads.give()
	if err == nil {
		e.fair.beginAfterWait(now())
	}
	e.mu.Lock()
	e.takeLocked(h, owner)
	e.mu.Unlock()
	return err
}

// park gives the turn to a parked thread, or to a poller if there is no thread
// to spare, with w at the head of the queue that it waits for, at time t. It does nothing
// and returns false if the Lock of w was closed meanwhile: Close has told those
// who were in the queue, and nobody would tell w.
func (e *entry) park(w *waiter, t int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.lock.closed {
		return false
	}
	e.queue.pushFront(w)
	e.hold = nil
	if e.reg.threads.take() {
		e.startThreadLocked()
	} else {
		e.turn = turnPolled
		e.abandoned = make(chan struct{}, 1)
		go e.poll()
	}
	e.watchLocked(t)
	return true
}

// startThreadLocked gives the turn, and the room for a thread that the caller
// took, to a parked thread.
func (e *entry) startThreadLocked() {
	e.turn = turnParked
	e.counts.kernelWaits.Add(1)
	go func() {
		runtime.LockOSThread()
		err := e.file.block()
		// Unlocked before anybody is woken, so that this thread can go on with
		// whom it wakes. One that ended locked would first have to find
		// another thread for that.
		runtime.UnlockOSThread()
		e.reg.threads.give()
		e.granted(err)
	}()
}

// granted ends a wait in the kernel: the parked thread, or the poller, has got
// the lock or an error.
func (e *entry) granted(err error) {
	e.mu.Lock()
	if err == nil {
		e.fair.beginAfterWait(now()) // after the last of those who wait has begun to
	}
	switch {
	case err == nil && e.queue.n > 0:
		e.grantLocked(granted)
	case err == errStale && e.queue.n > 0:
		e.grantLocked(lost)
	case err == nil:
		drains := e.turn == turnParked // a poller only came too late to stop
		e.turn = turnTaken
		if drains {
			e.turn = turnDraining
		}
		e.mu.Unlock()
		e.unlock()
		if drains {
			e.counts.drained.Add(1)
		}
		e.pass()
	default:
		// The error is for the one on whose behalf the kernel was called last.
		// The next one tries for itself.
		w := e.queue.popFront()
		e.turn = turnTaken
		e.mu.Unlock()
		if w != nil {
			w.err = err
			w.deliver(failed)
		}
		e.pass()
	}
}

// poll waits for the lock by asking for it again and again, and turns into a
// parked thread as soon as there is room for one. Unlike a parked thread it
// stops when nobody is left in the queue.
func (e *entry) poll() {
	for delay := pollMin; ; delay = min(2*delay, pollMax) {
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-e.abandoned:
			timer.Stop()
		}
		e.mu.Lock()
		if e.queue.n == 0 {
			e.turn = turnTaken
			e.mu.Unlock()
			e.pass()
			return
		}
		if e.reg.threads.take() {
			e.startThreadLocked()
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		ok, err := e.file.try()
		if ok || err != nil {
			e.granted(err)
			return
		}
	}
}

// abandonLocked stops the poller if the queue has become empty.
func (e *entry) abandonLocked() {
	if e.turn == turnPolled && e.queue.n == 0 {
		select {
		case e.abandoned <- struct{}{}:
		default: // told already
		}
	}
}

// drainingLocked reports whether the parked thread waits with nobody left in
// the queue, or releases what it was granted so. Who queues up in the latter
// case comes too late to adopt it.
func (e *entry) drainingLocked() bool {
	return e.turn == turnParked && e.queue.n == 0 || e.turn == turnDraining
}

// endDrainLocked tells those in WaitDrained that the draining has ended.
func (e *entry) endDrainLocked() {
	if e.drained != nil {
		close(e.drained)
		e.drained = nil
	}
}

// waitDrained is Lock.WaitDrained.
func (l *lock) waitDrained(ctx context.Context) error {
	done := ctx.Done() // anybody's code: not asked under mu
	e := l.lockEntry()
	if l.closed {
		e.mu.Unlock()
		return &fs.PathError{Op: "drain", Path: l.path, Err: errClosed}
	}
	if !e.drainingLocked() {
		e.mu.Unlock()
		return nil
	}
	if e.drained == nil {
		e.drained = make(chan struct{})
	}
	drained := e.drained
	e.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-done:
		return &fs.PathError{Op: "drain", Path: l.path, Err: cancelled(ctx)}
	}
}
