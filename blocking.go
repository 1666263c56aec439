package packlock

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"time"

	"packlock/internal/goid"
)

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
// The turn is passed on in three ways, each of which decides about the queue
// under mu, so that nobody queues unseen behind a turn that has become free:
//
//	giveBackLocked  with the kernel's lock: handed over to the first in the
//	                queue while the slice lasts, else unlocked and passed
//	pass            without it, to the first in the queue, which tries for the
//	                lock itself, or to nobody: free
//	granted         from the parked thread to the first in the queue, or drained
//
// A waiter that is taken out of the queue by one of these owns the turn from
// that moment, even before it wakes, and even if its context has ended: then it
// passes the turn on in its place.
//
// An entry whose file would not unlock is dead: its turn is still passed on, but
// whoever gets it makes no kernel call and moves to another entry.
type entry struct {
	reg    *registry
	file   file
	id     fileID
	counts counters

	// Owned by the turn, while the kernel's lock is ours.
	sliceEnd  int64 // on the clock of now
	sliceLeft int   // hand-overs

	mu sync.Mutex // guards the following; not held across a kernel call
	// turn changes as described above, by whoever has it or takes it when free.
	turn turn
	// hold is the live hold, nil unless turn is taken.
	hold *Hold
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

// progress is how far an acquire has come.
type progress uint8

const (
	queued     progress = iota // in the queue
	hasTurn                    // has the turn; nothing is locked
	locked                     // has the turn and, by its own call, the kernel's lock
	granted                    // the same, from the parked thread; its hold is the entry's
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

const (
	// A hand-over keeps the kernel's lock, and other processes out, for no
	// system call and about a tenth of the time that unlocking and locking
	// takes. The slice bounds how long they are kept out, and is long enough
	// that the bound costs next to nothing: 256 hand-overs of an empty section
	// take some 100 µs, and unlocking and locking 1 or 2 µs.
	sliceTime      = time.Millisecond
	sliceHandOvers = 256

	// The look at the path costs a system call as dear as the lock itself. An
	// acquire that had no need to wait trusts the last look for lookAge; one
	// that waited, during which anything may have happened, does not trust it.
	// A hand-over, during which the lock was never let go, costs so little that
	// it needs no more than one look in handOverLookAge.
	lookAge         = 10 * time.Millisecond
	handOverLookAge = time.Millisecond

	// The poller's delay doubles from the first to the second: 1 ms is no more
	// than the slice another process may be using up, and at 50 ms a process
	// that polls hundreds of packs still leaves the processor to others.
	pollMin = time.Millisecond
	pollMax = 50 * time.Millisecond

	// maxReopened bounds how often one acquire reopens a lost sidecar. So many
	// in a row are not somebody's deletions but a file system that does not
	// give a file the same identity twice.
	maxReopened = 1000
)

// epoch is where the clock of now starts.
var epoch = time.Now()

// now is a monotonic clock in nanoseconds. time.Since reads only that clock,
// which is half of what time.Now costs.
func now() int64 { return int64(time.Since(epoch)) }

func newEntry(r *registry, f file) *entry {
	e := &entry{reg: r, file: f, id: f.id(), locks: make(map[*lock]struct{})}
	e.queue.init()
	return e
}

// Acquire waits until the lock is the caller's, first come, first served among
// the goroutines of this process, and returns the hold.
//
// When ctx ends first, or has ended already, Acquire returns at once with an
// error for which errors.Is holds with ErrCancelled, ctx.Err() and
// context.Cause(ctx); see the package's overview for the parked thread that may
// be left behind. If the calling goroutine or a hold that ctx descends from
// (see Hold.Context) has the lock, Acquire fails with ErrReentrant. If the pack
// directory is gone, it fails with fs.ErrNotExist. A sidecar that was merely
// deleted or replaced is opened anew.
//
// It panics if ctx is nil.
func (l *Lock) Acquire(ctx context.Context) (*Hold, error) {
	h, err := l.acquire(ctx, parking)
	runtime.KeepAlive(l) // or the cleanup could close what we wait on
	return h, err
}

// TryAcquire returns a hold if that needs no waiting. Otherwise it fails with
// ErrBusy, or with ErrReentrant if it is the calling goroutine that has the
// lock.
func (l *Lock) TryAcquire() (*Hold, error) {
	h, err := l.acquire(context.Background(), trying)
	runtime.KeepAlive(l)
	return h, err
}

// AcquireBlocking is Acquire without a context. If other goroutines of this
// process are ahead, it queues behind them; if it is another process that has
// the lock, it waits in the kernel on the caller's own thread and cannot be
// called off, not even by Close.
//
// Deprecated: use Acquire, which can be called off and needs one thread
// for all that wait.
func (l *Lock) AcquireBlocking() (*Hold, error) {
	h, err := l.acquire(context.Background(), blocking)
	runtime.KeepAlive(l)
	return h, err
}

// acquire is the acquire in all its manners.
func (l *lock) acquire(ctx context.Context, manner manner) (*Hold, error) {
	if ctx.Err() != nil {
		l.entry.Load().counts.cancelled.Add(1)
		return nil, l.fail(cancelled(ctx))
	}
	caller := goid.Get()

	var (
		e    *entry
		mark any // the hold of e that ctx descends from
		at   = hasTurn
		w    *waiter // made when there is need to wait
	)
	for {
		// The context may be anybody's code and is not asked under mu. So e
		// may have been left meanwhile.
		e = l.entry.Load()
		mark = ctx.Value(markKey{e})
		e.mu.Lock()
		if e == l.entry.Load() {
			break
		}
		e.mu.Unlock()
	}
	switch {
	case l.closed:
		e.mu.Unlock()
		return nil, l.fail(fs.ErrClosed)
	case e.turn == turnFree:
		e.turn = turnTaken
	case e.hold != nil && (e.hold.owner == caller || e.hold == mark):
		e.mu.Unlock()
		return nil, l.fail(ErrReentrant)
	case manner == trying:
		e.mu.Unlock()
		return nil, l.fail(ErrBusy)
	default:
		w = l.newWaiter(caller)
		e.enqueueLocked(w)
		at = queued
	}
	e.mu.Unlock()

	blocked := false // on its own thread
	for reopened := 0; ; {
		switch at {
		case queued:
			if err := w.wait(ctx); err != nil {
				l.reg.waiters.Put(w)
				return nil, err
			}
			// Only the owner of its turn takes l away from an entry, and that
			// is us.
			e, at = l.entry.Load(), w.got

		case hasTurn:
			if e.dead {
				at = lost
				break
			}
			ok, err := e.file.try()
			switch {
			case err != nil:
				e.pass()
				return nil, l.fail(err)
			case ok:
				e.beginSlice()
				at = locked
			case manner == trying:
				e.pass()
				return nil, l.fail(ErrBusy)
			case manner == blocking && l.reg.threads.take():
				blocked = true
				if err := e.block(); err != nil {
					e.pass()
					return nil, l.fail(err)
				}
				at = locked
			default:
				if w == nil {
					w = l.newWaiter(caller)
				}
				e.park(w)
				at = queued
			}

		case locked, granted, handedOver:
			same, err := e.verify(l, at, w != nil || blocked)
			if err == nil && same {
				return l.finish(e, at, w, caller, blocked)
			}
			e.mu.Lock()
			e.hold = nil
			e.mu.Unlock()
			e.unlock() // what becomes of a file that is not at its path any more is nobody's concern
			if err != nil {
				e.pass()
				return nil, l.fail(err)
			}
			at = lost

		case lost:
			if reopened++; reopened > maxReopened {
				e.pass()
				return nil, l.fail(fmt.Errorf("%w %d times in a row", ErrLost, maxReopened))
			}
			if w == nil && manner != trying {
				w = l.newWaiter(caller)
			}
			to, turn, err := l.reg.relocate(e, l, w)
			if to != e {
				e.pass()
			}
			switch {
			case err != nil:
				return nil, l.fail(err)
			case turn:
				at = hasTurn
			case manner == trying:
				return nil, l.fail(ErrBusy)
			default:
				at = queued
			}
			e = to

		default:
			panic("packlock: acquire that has nothing goes on")
		}
	}
}

// finish makes the lock, which the caller has and has verified, into a hold.
func (l *lock) finish(e *entry, at progress, w *waiter, caller uint64, blocked bool) (*Hold, error) {
	var h *Hold
	if w != nil {
		h, w.hold = w.hold, nil
		l.reg.waiters.Put(w)
	} else {
		h = &Hold{path: l.path, owner: caller}
	}
	if at == locked {
		e.mu.Lock()
		if l.closed { // while it was in the kernel on its own thread, say
			e.giveBackLocked()
			return nil, l.fail(fs.ErrClosed)
		}
		h.entry = e
		e.hold = h
		e.mu.Unlock()
	}
	e.counts.acquired.Add(1)
	if w != nil || blocked {
		e.counts.contended.Add(1)
	}
	if at == handedOver {
		e.counts.handedOver.Add(1)
	}
	return h, nil
}

func (l *lock) newWaiter(caller uint64) *waiter {
	w := l.reg.waiters.Get().(*waiter)
	w.lock, w.err = l, nil
	w.hold = &Hold{path: l.path, owner: caller}
	return w
}

// wait waits until the queued w is taken out of the queue with something to go
// on with, or gives up when ctx ends. Then w is neither queued nor has anything.
func (w *waiter) wait(ctx context.Context) error {
	done := ctx.Done()
	select {
	case <-w.ready:
	case <-done:
		e := w.lock.lockEntry()
		if w.next != nil {
			// Still queued: nobody has decided to take w out, and under mu
			// nobody can, so what ends here began before anything was ours.
			e.queue.remove(w)
			e.abandonLocked()
			e.mu.Unlock()
			e.counts.cancelled.Add(1)
			return w.lock.fail(cancelled(ctx))
		}
		e.mu.Unlock()
		<-w.ready // it is decided already, and about to be sent
	}
	select {
	case <-done:
		// The end of ctx may have happened before the grant and wins: what was
		// granted is passed on as if w had never been there.
		e := w.lock.entry.Load()
		switch w.got {
		case hasTurn:
			e.pass()
		case granted, handedOver:
			e.mu.Lock()
			e.giveBackLocked()
		}
		e.counts.cancelled.Add(1)
		return w.lock.fail(cancelled(ctx))
	default:
	}
	if w.got == failed {
		return w.lock.fail(w.err)
	}
	return nil
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

// verify reports whether the locked file is the one at l's path, as far as it
// has to be looked at. The caller has the turn and the kernel's lock.
func (e *entry) verify(l *lock, at progress, waited bool) (bool, error) {
	t := now()
	age := time.Duration(t - l.looked.Load())
	switch {
	case at == handedOver:
		if age <= handOverLookAge {
			return true, nil
		}
	case !waited && age <= lookAge:
		linked, err := e.file.linked()
		if err != nil || linked {
			return linked, err
		}
		// The look at the path decides: some file systems have no idea of
		// link counts.
	}
	same, err := e.reg.kernel.sameAt(l.path, e.id)
	if same {
		l.looked.Store(t)
	}
	return same, err
}

// beginSlice notes that the kernel's lock was let go by others just now.
func (e *entry) beginSlice() {
	e.sliceEnd = now() + int64(sliceTime)
	e.sliceLeft = sliceHandOvers
}

// enqueueLocked puts w at the end of the queue. The turn is not free.
func (e *entry) enqueueLocked(w *waiter) {
	if e.turn == turnParked && e.queue.n == 0 {
		e.counts.adopted.Add(1)
		e.endDrainLocked()
	}
	e.queue.pushBack(w)
}

// giveBackLocked gives up the turn and the kernel's lock, both of which the
// caller has, and e.mu, which it has locked. The error is that of unlocking.
func (e *entry) giveBackLocked() error {
	e.hold = nil
	if e.queue.n > 0 && e.sliceLeft > 0 && now() < e.sliceEnd {
		e.sliceLeft--
		e.grantLocked(handedOver)
		return nil
	}
	e.mu.Unlock()
	err := e.unlock()
	e.pass()
	return err
}

// grantLocked gives the turn and the kernel's lock to the first in the queue,
// and unlocks e.mu.
func (e *entry) grantLocked(got progress) {
	w := e.queue.popFront()
	w.hold.entry = e
	e.turn = turnTaken
	e.hold = w.hold
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

// pass gives up the turn, with nothing locked.
func (e *entry) pass() {
	e.mu.Lock()
	e.endDrainLocked()
	if w := e.queue.popFront(); w != nil {
		e.turn = turnTaken
		e.mu.Unlock()
		w.deliver(hasTurn)
		return
	}
	e.turn = turnFree
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

// block waits in the kernel on the thread of the caller, which has the turn and
// room for a thread.
func (e *entry) block() error {
	setTurn := func(turn turn) {
		e.mu.Lock()
		e.turn = turn
		e.mu.Unlock()
	}
	setTurn(turnBlocked)
	err := e.file.block()
	e.reg.threads.give()
	e.beginSlice()
	setTurn(turnTaken)
	return err
}

// park gives the turn to a parked thread, or to a poller if there is no thread
// to spare, with w at the head of the queue that it waits for.
func (e *entry) park(w *waiter) {
	thread := e.reg.threads.take()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.pushFront(w)
	if thread {
		e.startThreadLocked()
		return
	}
	e.turn = turnPolled
	e.abandoned = make(chan struct{}, 1)
	go e.poll()
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
	e.beginSlice()
	e.mu.Lock()
	switch {
	case err == nil && e.queue.n > 0:
		e.grantLocked(granted)
	case err == nil:
		e.turn = turnDraining
		e.mu.Unlock()
		e.unlock()
		e.counts.drained.Add(1)
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

// WaitDrained waits until no thread is parked on the sidecar with nobody
// waiting for it: until the one that is, if any, has drained or was adopted by a
// new acquire. It returns nil at once if there is none. Close does not end it.
//
// When ctx ends first, the error is as that of Acquire.
func (l *Lock) WaitDrained(ctx context.Context) error {
	defer runtime.KeepAlive(l)
	e := l.lockEntry()
	if l.closed {
		e.mu.Unlock()
		return &fs.PathError{Op: "drain", Path: l.path, Err: fs.ErrClosed}
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
	case <-ctx.Done():
		return &fs.PathError{Op: "drain", Path: l.path, Err: cancelled(ctx)}
	}
}
