package packlock

import "sync"

// An entry is one sidecar as this process has it open.
//
// The invariant is that at most one kernel call is under way on its file. Who
// may make it is said by the turn, which is passed from goroutine to goroutine
// and is, at any time, one of these:
//
//	free      Nobody's. The kernel's lock is not ours and nobody is queued.
//	taken     A goroutine's: one that tries for the lock, verifies it, holds it
//	          (then hold is set), releases it, or moves to another entry.
//	blocked   That of a goroutine in AcquireBlocking, which waits in the kernel
//	          on its own thread.
//	parked    The parked thread's, in the kernel, on behalf of whoever will be
//	          first in the queue when it is granted the lock.
//	polled    The poller's: as parked, where the process has no thread to spare.
//	draining  The formerly parked thread's: it was granted the lock with the
//	          queue empty and is releasing it.
//
// The turn is passed on in three ways. Each decides about the queue under mu, so
// that nobody queues unseen behind a turn that has become free:
//
//	giveBackLocked  with the kernel's lock: handed over to the first in the
//	                queue while the slice lasts, else unlocked and passed
//	pass            without it, to the first in the queue, which tries for the
//	                lock itself, or to nobody: free
//	granted         from the parked thread to the first in the queue, or drained
//
// A waiter that one of these takes out of the queue owns the turn from that
// moment. It does so before it wakes, and also if its context has ended. Then it
// passes the turn on.
//
// An entry whose file would not unlock is dead. Its turn is still passed on, but
// whoever gets it makes no kernel call and moves to another entry.
type entry struct {
	reg    *registry
	file   file
	id     fileID
	counts counters
	fair   fairness // owned by the turn

	// seen is at which path whoever had the turn last saw the file, and seenAt when:
	// that counts for all Locks of this path. Both are owned by the turn.
	seen   string
	seenAt int64

	// buriedAt is when a dead entry's turn gave up the file.
	buriedAt int64

	mu sync.Mutex // guards the following; not held across a kernel call
	// turn changes as described above, by whoever has it or takes it when free.
	turn turn
	// hold is that of the turn's owner, live or in the making, and nil unless the
	// turn is taken.
	hold *Hold
	// owner is the goroutine that hold belongs to, 0 if it was detached.
	owner uint64
	// queue is who waits for the turn. Not empty only while it is not free.
	queue queue
	// locks is who reaches the sidecar through this entry.
	locks map[*lock]struct{}
	// pins counts the calls that need file to stay open without having the turn.
	pins int
	// dead is set by the turn's owner, closed by whoever is about to close file.
	dead, closed bool
	// drained, if not nil, is closed when the draining ends or is adopted.
	drained chan struct{}
	// abandoned tells the poller that the queue may have become empty.
	abandoned chan struct{}
	// watch looks after those in the queue.
	watch watch
}

type turn uint8

const (
	turnFree turn = iota
	turnTaken
	turnBlocked
	turnParked
	turnPolled
	turnDraining
)

func newEntry(r *registry, f file) *entry {
	e := &entry{reg: r, file: f, id: f.id(), fair: newFairness(now()), locks: make(map[*lock]struct{})}
	e.queue.init()
	return e
}

// isClosed reports whether l is.
func (l *lock) isClosed() bool {
	e := l.lockEntry()
	defer e.mu.Unlock()
	return l.closed
}

// lockEntry returns the entry of l with its mu locked.
func (l *lock) lockEntry() *entry {
	for {
		e := l.entry.Load()
		e.mu.Lock()
		if e == l.entry.Load() {
			return e
		}
		e.mu.Unlock()
	}
}

// takeLocked gives the turn to the acquire whose hold is h, by the goroutine
// owner.
func (e *entry) takeLocked(h *Hold, owner uint64) {
	e.turn = turnTaken
	e.hold = h
	e.owner = owner
	h.entry = e
}

// enqueueLocked puts w at the end of the queue, at about time t. The turn is not free.
func (e *entry) enqueueLocked(w *waiter, t int64) {
	if e.turn == turnParked && e.queue.n == 0 {
		e.counts.adopted.Add(1)
		e.endDrainLocked()
	}
	e.queue.pushBack(w)
	e.watchLocked(t)
}

// giveBackLocked gives up the turn and the kernel's lock, both of which the
// caller has, and e.mu, which it has locked. Who is next gets them as handedOver
// or, if they have to be verified, as granted. The error is that of unlocking.
func (e *entry) giveBackLocked(as progress) error {
	e.hold = nil
	if e.queue.n > 0 && e.fair.handsOver(now()) {
		e.grantLocked(as)
		return nil
	}
	e.mu.Unlock()
	err := e.unlock()
	if e.fair.timed {
		e.fair.letGo(now())
	}
	e.pass()
	return err
}

// grantLocked gives the turn, and the kernel's lock unless got is hasTurn, to the
// first in the queue, and unlocks e.mu.
func (e *entry) grantLocked(got progress) {
	w := e.queue.popFront()
	e.takeLocked(w.hold, w.owner)
	e.mu.Unlock()
	w.deliver(got)
}

// unlock lets the kernel's lock go. The caller has the turn and keeps it.
func (e *entry) unlock() error {
	err := e.file.unlock()
	if err != nil {
		e.reg.bury(e)
	}
	return err
}

// offerAgain offers the lock, which was got at time t in spite of a pause, to those
// who may be late, until whoever it is for has given up. It reports whether it is still
// ours, and since when. A network's is not offered: to let it go and ask for it takes
// as long there as a hold.
func (e *entry) offerAgain(t int64, ended func() bool) (ok bool, since int64, err error) {
	ok = true
	n := 0
	for first := t; ok && !e.file.remote() && e.fair.offersAgain(n, t-first, t) && !ended(); n++ {
		if e.unlock() != nil {
			return false, t, errStale // it is closed
		}
		e.reg.kernel.pause(asideTime)
		if ok, err = e.file.try(); err != nil {
			return false, t, err
		}
		t = now()
	}
	if ok {
		e.fair.offeredInVain(n, t)
	}
	return ok, t, nil
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
	unused := e.unusedLocked()
	e.mu.Unlock()
	if unused {
		e.reg.retire(e)
	}
}

// unusedLocked reports whether the file is to be closed.
func (e *entry) unusedLocked() bool {
	return !e.closed && e.pins == 0 &&
		(e.dead || e.turn == turnFree && len(e.locks) == 0)
}

// unpin takes back a pin.
func (e *entry) unpin() {
	e.mu.Lock()
	e.pins--
	unused := e.unusedLocked()
	e.mu.Unlock()
	if unused {
		e.reg.retire(e)
	}
}
