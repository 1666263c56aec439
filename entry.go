package packlock

import "sync"

// An entry is one lock file as this process has it open.
//
// The invariant is that at most one kernel call that locks or unlocks is under way on its
// active description. The owner of the turn may make it. The turn is passed from goroutine
// to goroutine and is, at any time, one of these:
//
//	free       No goroutine's. The kernel's lock is not ours and the queue is empty.
//	taken      A goroutine's: one that tries the lock, verifies it, holds it (then
//	           hold is set), releases it, or moves to a different entry.
//	shared     The members' of the group, all together: the kernel's lock is ours and
//	           shared, and no call locks or unlocks (group.go).
//	blocked    That of a goroutine in AcquireBlocking, which waits in the kernel
//	           on its own thread.
//	parked     The parked thread's, in the kernel, on behalf of the waiter that will be
//	           first in the queue when the kernel grants the lock.
//	polled     The poller's: as parked, where the process has no thread to spare.
//	unlocking  The formerly parked thread's: the kernel granted the lock with the
//	           queue empty, and the thread releases it.
//
// The turn is passed on in three ways (and by a move, relocate.go). Each decides about the
// queue under mu, so that no waiter queues unseen behind a turn that has become free:
//
//	giveBackLocked   with the kernel's lock: handed over to the first in the
//	                 queue while the slice lasts, else unlocked and passed
//	pass             without it, to the first in the queue, which tries the lock
//	                 itself; free if the queue is empty
//	kernelWaitEnded  from the parked thread to the first in the queue, or drained
//
// A waiter that one of these takes out of the queue owns the turn from that
// moment. It does so before it wakes, and also if its context has ended. Then it
// passes the turn on.
//
// An entry whose file was abandoned is unusable. Its turn is still passed on, but its
// next owner makes no kernel call and moves to a different entry.
type entry struct {
	reg    *registry
	file   file // opened first, and the one that paths are compared with
	id     fileID
	counts counters
	fair   fairness // owned by the turn
	intent intent

	// abandonedAt is when the file of an unusable entry was abandoned. It is owned by
	// the turn.
	abandonedAt int64

	mu sync.Mutex // guards the following; not held across a kernel call
	// turn changes as described above, by its owner, or by the goroutine that takes it when it is free.
	turn turn
	// hold is that of the turn's owner, live or in the making, and nil unless the
	// turn is taken or blocked.
	hold *Hold
	// shared is the kind of the kernel's lock that the turn's owner has, tries, waits for or
	// releases.
	shared bool
	// group has the members while the turn is shared, and courtesy when it closes.
	group    group
	courtesy courtesy
	// active is the description that the turn's owner locks: file, unless an orphaned wait
	// occupies that. It is set by the turn's owner, or while the turn is parked.
	active file
	// orphan is what an orphaned wait occupies that was left behind, and spare a second
	// description that nothing uses (orphan.go).
	orphan orphan
	spare  file
	// queue has the waiters for the turn. It is empty while the turn is free.
	queue queue
	// doomed are files to be closed when pins is 0.
	doomed []file
	// locations has the paths of the open Locks that use this entry: one, in most
	// programs.
	locations []*location
	// pins counts the calls that need the files to stay open without having the turn.
	pins int
	// unusable is set by the turn's owner, closed by the goroutine that is about to
	// close the files.
	unusable, closed bool
	// drained, if not nil, is closed when the draining ends, is adopted or is left
	// behind.
	drained chan struct{}
	// pollerStop tells the poller that the queue may have become empty.
	pollerStop chan struct{}
	// The alarms of the watch (watch.go).
	pathAlarm, deadlockAlarm alarm
	// findDeadlock is set when a deadlock may have come about (deadlock.go).
	findDeadlock bool
}

type turn uint8

const (
	turnFree turn = iota
	turnTaken
	turnShared
	turnBlocked
	turnParked
	turnPolled
	turnUnlocking
)

func newEntry(r *registry, f file) *entry {
	e := &entry{reg: r, file: f, active: f, id: f.id(), fair: newFairness(now(), !f.remote())}
	e.queue.init()
	return e
}

// entry returns the entry of l, which may change.
func (l *lock) entry() *entry { return l.location.Load().entry }

// isClosed reports whether l is.
func (l *lock) isClosed() bool {
	e := l.lockEntry()
	defer e.mu.Unlock()
	return l.closed
}

// lockEntry returns the entry of l with its mu locked.
func (l *lock) lockEntry() *entry {
	for {
		loc := l.location.Load()
		loc.entry.mu.Lock()
		if loc == l.location.Load() {
			return loc.entry
		}
		loc.entry.mu.Unlock()
	}
}

// takeLocked gives the turn to the acquire whose hold is h, by the goroutine
// owner.
func (e *entry) takeLocked(h *Hold, owner uint64) {
	e.turn = turnTaken
	e.orphan.passing = false
	e.hold = h
	e.shared = h.shared
	h.entry = e
	h.owner = owner
}

// enqueueLocked puts w at the end of the queue, at about time t. The turn is not free.
func (e *entry) enqueueLocked(w *waiter, t int64) {
	if e.turn == turnParked && e.queue.n == 0 && (e.shared || !w.hold.shared) { // or w goes past it
		e.counts.adopted.Add(1)
		e.endDrainLocked()
	}
	e.queue.pushBack(w)
	e.findDeadlock = e.findDeadlock || w.long // it has moved here
	e.watchLocked(t)
	if e.queue.n == 1 {
		e.headChangedLocked()
	}
}

// headChangedLocked serves the waiter that is at the head of the queue after it has arrived
// there or the one in front of it has left, because that gave up, moved or was refused. A
// waiter to which the turn is passed leaves otherwise.
func (e *entry) headChangedLocked() {
	e.stopPollerLocked()
	e.admitLocked()
	e.passOrphanLocked()
	e.refreshIntentLocked()
	e.adoptPassedLocked()
}

// giveBackLocked gives up the turn and the kernel's lock, both of which the
// caller has, and e.mu, which it has locked. The next waiter gets them as handedOver
// or, if they must be verified, as granted. The error is that of unlocking.
func (e *entry) giveBackLocked(as acquireState) error {
	e.hold = nil
	if e.queue.n > 0 && e.fair.tryHandOver(now()) && e.fitsHeadLocked() {
		e.grantLocked(as)
		return nil
	}
	e.mu.Unlock()
	return e.unlockAndPass()
}

// unlockAndPass gives up the kernel's lock and the turn, both of which the caller has.
func (e *entry) unlockAndPass() error {
	err := e.unlock()
	if e.fair.trackRelease {
		e.fair.released(now())
	}
	e.pass()
	return err
}

// fitsHeadLocked reports whether the kernel's lock, which the caller has with the turn, is
// of the kind that the first waiter wants. An exclusive lock is converted for a shared
// waiter where the kernel can do that without releasing it; e.mu is unlocked meanwhile.
func (e *entry) fitsHeadLocked() bool {
	if !e.shared && e.queue.first().hold.shared {
		e.mu.Unlock()
		// After an error the lock may be gone. The caller unlocks it, and no harm is done.
		converted, err := e.active.toShared()
		e.mu.Lock()
		e.shared = converted
		if err != nil {
			return false
		}
	}
	w := e.queue.first() // which may have changed
	return w != nil && w.hold.shared == e.shared
}

// grantLocked gives the turn, and the kernel's lock unless got is hasTurn or lost, to
// the first in the queue, and unlocks e.mu.
func (e *entry) grantLocked(got acquireState) {
	w := e.queue.popFront()
	e.takeLocked(w.hold, w.owner)
	e.mu.Unlock()
	w.deliver(got)
}

// unlock releases the kernel's lock. The caller has the turn and keeps it.
func (e *entry) unlock() error {
	err := e.active.unlock()
	if err != nil {
		e.reg.abandonFile(e)
	}
	return err
}

// pass gives up the turn, with nothing locked.
func (e *entry) pass() {
	e.mu.Lock()
	e.endDrainLocked()
	if e.queue.n > 0 {
		e.grantLocked(hasTurn)
		return
	}
	e.turn = turnFree
	e.hold = nil
	e.refreshIntentLocked()
	unused := e.unusedLocked()
	e.mu.Unlock()
	if unused {
		e.reg.retire(e)
	}
}

// unusedLocked reports whether the files should be closed.
func (e *entry) unusedLocked() bool {
	return !e.closed && e.pins == 0 &&
		(e.unusable || e.turn == turnFree && len(e.locations) == 0 && e.orphan.file == nil)
}

// unpin takes back a pin.
func (e *entry) unpin() {
	e.mu.Lock()
	e.pins--
	var doomed []file
	if e.pins == 0 {
		doomed, e.doomed = e.doomed, nil
	}
	unused := e.unusedLocked()
	e.mu.Unlock()
	closeFiles(doomed)
	if unused {
		e.reg.retire(e)
	}
}
