package packlock

import "time"

// A thread that is parked for an exclusive lock may be left without an exclusive waiter at
// the head of the queue: it is an orphaned wait. Other processes may hold the lock shared
// meanwhile. Then shared waiters of this process need not wait until the thread drains. They
// go past it: the entry leaves the description that the thread waits on behind, and continues
// with a second one. The next exclusive waiter that must wait in the kernel adopts the thread
// again. So there are at most two threads and two descriptions of a file.
//
// An orphaned shared wait holds up no waiter. The kernel grants it no later than it would
// grant an exclusive one.

// orphanTime bounds the wait for an orphaned wait that was granted the lock: it releases it at
// once, but a thread may wake late.
const orphanTime = 10 * time.Millisecond

// An orphan is what was left behind.
type orphan struct {
	file file // nil if there is none
	// unlocking is set when the thread was granted the lock, and releases it.
	unlocking bool
	// opening is set while a second description is being opened, for one to be left behind.
	opening bool
	// passing is set while the shared waiter at the head of the queue is about to go past an
	// orphaned wait.
	passing bool
}

// passableLocked reports whether a thread is parked for an exclusive lock with a shared waiter
// at the head of the queue, which goes past it as soon as that can be done.
func (e *entry) passableLocked() bool {
	w := e.queue.first()
	return e.turn == turnParked && !e.shared && w != nil && w.hold.shared
}

// passOrphanLocked lets shared waiters at the head of the queue go past a thread that is
// parked for an exclusive lock. If there is no second description, it has one opened, and is
// called again then.
func (e *entry) passOrphanLocked() {
	if !e.passableLocked() || e.orphan.file != nil {
		return
	}
	w := e.queue.first()
	if e.spare == nil {
		if !e.orphan.opening {
			e.orphan.opening = true
			go e.openSpare(w.lock.location.Load())
		}
		return
	}
	e.orphan.file = e.active
	e.active, e.spare = e.spare, nil
	e.queue.remove(w)
	e.takeLocked(w.hold, w.owner)
	w.deliver(hasTurn)
}

// adoptPassedLocked notes whether the head of the queue, which may have changed, is about to go
// past an orphaned wait. If one was, and left, an exclusive waiter behind it adopts the wait.
func (e *entry) adoptPassedLocked() {
	passing := e.passableLocked()
	if e.orphan.passing && !passing && e.turn == turnParked && e.queue.n > 0 {
		e.counts.adopted.Add(1)
	}
	e.orphan.passing = passing
	if !e.drainingLocked() {
		e.endDrainLocked()
	}
}

// openSpare opens a second description of the file of e, which is at loc unless it is lost. If
// that fails, the next path check tries again.
func (e *entry) openSpare(loc *location) {
	o := loc.options
	o.mustExist = true
	f, err := e.reg.kernel.open(loc.path, o)
	e.mu.Lock()
	e.orphan.opening = false
	usable := err == nil && f.id() == e.id && !e.closed
	if usable {
		e.spare = f
		e.passOrphanLocked()
	} else {
		e.refuseTriesLocked()
		// An exclusive waiter may have been behind them. (headChangedLocked would try again.)
		e.refreshIntentLocked()
		e.adoptPassedLocked()
	}
	e.mu.Unlock()
	if err == nil && !usable {
		f.close()
	}
}

// adoptOrphanLocked gives the turn to the thread that was left behind, if there is one and
// the kernel's lock that the caller is about to wait for is exclusive.
func (e *entry) adoptOrphanLocked() bool {
	if e.shared || e.orphan.file == nil || e.orphan.unlocking {
		return false
	}
	e.active, e.spare = e.orphan.file, e.active
	e.orphan.file = nil
	e.turn = turnParked
	e.counts.adopted.Add(1)
	e.endDrainLocked()
	e.refreshIntentLocked()
	return true
}

// awaitOrphan waits until the thread that was left behind, which may just have been granted the
// lock, has released it. If a different process was granted the lock, it returns after a while.
func (e *entry) awaitOrphan() {
	e.mu.Lock()
	if e.orphan.file == nil {
		e.mu.Unlock()
		return
	}
	drained := e.drainedLocked()
	e.mu.Unlock()
	timer := time.NewTimer(orphanTime)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
}

// orphanEndedLocked ends the wait of the thread that was left behind, with the lock or with
// an error. It unlocks e.mu.
func (e *entry) orphanEndedLocked(err error) {
	f := e.orphan.file
	if err == nil {
		e.orphan.unlocking = true
		e.mu.Unlock()
		if err = f.unlock(); err == nil {
			e.counts.drained.Add(1)
		}
		e.mu.Lock()
	}
	e.orphan.file, e.orphan.unlocking = nil, false
	e.endDrainLocked()
	var files []file
	if err == nil && !e.closed {
		e.spare = f
		e.passOrphanLocked()
	} else if files = append(files, f); e.pins > 0 {
		e.doomed, files = append(e.doomed, f), nil
	}
	unused := e.unusedLocked()
	e.mu.Unlock()
	closeFiles(files)
	if unused {
		e.reg.retire(e)
	}
}
