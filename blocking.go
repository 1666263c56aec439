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
// The kernel's lock, for its part, is shared with other processes, fairly as far
// as that is in our hands. flock(2) lets whoever asks first after an unlock have
// the lock, and the one who unlocks is always faster than the one who has to be
// woken. So, while another process competes, we keep the lock no longer than a
// slice, and at its end step aside: whoever is about to ask for the lock again
// pauses first, until a waiter elsewhere has had the time to wake and take it.
// Another process is known to compete when, within the last second, it had the
// lock when we asked. As long as none is known, we step aside rarely, to find
// out, and not at all while the lock is let go so often that a waiter would slip
// in anyway. If the lock has been free for a moment there is nothing to do.
// TryAcquire, which must not wait, never steps aside, and nor does a poller,
// which waits longer between its tries as it is. Where holds are short, who finds
// the lock taken asks a few times more before it parks.
//
// An entry whose file would not unlock is dead: its turn is still passed on, but
// whoever gets it makes no kernel call and moves to another entry.
type entry struct {
	reg    *registry
	file   file
	id     fileID
	counts counters

	// Owned by the turn. Times are by the clock of now.
	lockedAt  int64 // when the kernel's lock was last taken: the start of the slice
	handOvers int   // since lockedAt
	changedAt int64 // when the lock was last taken, handed over or, if timed, let go
	unevenAt  int64 // when it was last taken after more than asideTime
	timed     bool  // it matters to stepAside when the lock will be let go
	sharedAt  int64 // when other processes last had their chance: see stepAside
	rivalAt   int64 // when another process was last seen to have the lock

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

const (
	// A hand-over keeps the kernel's lock, and other processes out, for no
	// system call and about a tenth of the time that unlocking and locking
	// takes. The slice bounds how long they are kept out, and is long enough
	// that the bound costs next to nothing: 256 hand-overs of an empty section
	// take some 100 µs, and unlocking and locking 1 or 2 µs.
	sliceTime      = time.Millisecond
	sliceHandOvers = 256

	// A woken thread needs some 20 to 50 µs until it runs; a pause takes that
	// long and what the kernel adds to a sleep, on Linux another 50 µs. Shorter,
	// it lets nobody in; longer, the lock lies idle.
	asideTime = 30 * time.Microsecond

	// To park and be woken takes some 40 µs. Who last let go of the lock within
	// shortHold of taking it, and so may expect no worse of others, asks up to
	// tryAgainMax times more before it parks, and for no longer than shortHold:
	// where a call takes much longer, as on a network, once at most.
	shortHold   = 10 * time.Microsecond
	tryAgainMax = 12

	// How long a process that was seen to compete is taken to do so.
	rivalMemory = time.Second

	// Where no other process is known to compete, the lock is offered once in
	// probeTime, at the price of less than a hundredth of the time. Once it has,
	// for a sliceTime, been taken anew, and so let go, within asideTime each time,
	// not even that: a waiter is woken as often, and soon in luck.
	probeTime = 10 * time.Millisecond

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
	e.changedAt = now() - int64(rivalMemory)
	e.rivalAt = e.changedAt
	e.lockedAt = e.changedAt - int64(shortHold)
	e.unevenAt = e.changedAt
	e.timed = true
	e.queue.init()
	return e
}

// Acquire waits until the lock is the caller's, first come, first served among
// the goroutines of this process, and returns the hold.
//
// When ctx ends before it has the lock, or has ended already, Acquire returns at
// once with an error for which errors.Is holds with ErrCancelled, ctx.Err() and
// context.Cause(ctx); see the package's overview for the parked thread that may
// be left behind. Only system calls of its own that do not wait for the lock are
// not interrupted, which matters if the file system is slow to answer. If the
// calling goroutine or a hold that ctx descends from (see Hold.Context) has the
// lock, Acquire fails with ErrReentrant. If the pack directory is gone, it fails
// with fs.ErrNotExist. A sidecar that was merely deleted or replaced is opened
// anew.
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
// the lock, it waits in the kernel on the caller's own thread (unless too many
// threads of the process do that already) and cannot be called off, not even by
// Close.
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
	a := acquisition{lock: l, manner: manner, hold: &Hold{lock: l}, caller: goid.Get()}
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
	marks    *mark // once it had to look further than a free turn
	reopened int
	manner   manner
	waited   bool // in the queue or on its own thread
}

// arrive takes the turn if it is free.
func (a *acquisition) arrive(ctx context.Context) (progress, error) {
	l := a.lock
	e := l.lockEntry()
	if e.turn == turnFree && !l.closed {
		a.entry = e
		e.takeLocked(a.hold, a.caller)
		e.mu.Unlock()
		return hasTurn, nil
	}
	e.mu.Unlock()
	return a.queueUp(ctx)
}

// queueUp takes the turn if it is free and queues up if not.
func (a *acquisition) queueUp(ctx context.Context) (progress, error) {
	// The context may be anybody's code and is not asked under mu.
	a.marks, _ = ctx.Value(markKey{}).(*mark)
	l := a.lock
	e := l.lockEntry()
	defer e.mu.Unlock()
	a.entry = e
	switch {
	case l.closed:
		return failed, fs.ErrClosed
	case e.turn == turnFree:
		e.takeLocked(a.hold, a.caller)
		return hasTurn, nil
	case e.heldByLocked(a.caller, a.marks):
		return failed, ErrReentrant
	case a.manner == trying:
		return failed, ErrBusy
	}
	a.needWaiter()
	e.enqueueLocked(a.waiter)
	return queued, nil
}

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

// needWaiter makes the waiter if there is none, and tells it what is new.
func (a *acquisition) needWaiter() {
	w := a.waiter
	if w == nil {
		w = a.lock.reg.waiters.Get().(*waiter)
		w.ready = make(chan struct{}, 1)
		w.lock, w.hold, w.owner = a.lock, a.hold, a.caller
		a.waiter = w
	}
	w.marks = a.marks
}

// wait waits in the queue.
func (a *acquisition) wait(ctx context.Context) (progress, error) {
	w := a.waiter
	a.waited = true
	if err := w.wait(ctx); err != nil {
		a.lock.reg.waiters.Put(w)
		return failed, err
	}
	// Only the owner of its turn takes a Lock away from an entry, and that is us.
	a.entry = a.lock.entry.Load()
	return w.got, nil
}

// try uses the turn to ask the kernel for the lock, and goes to wait if it is
// another process's.
func (a *acquisition) try(ctx context.Context) (progress, error) {
	e := a.entry
	if e.dead {
		return lost, nil
	}
	if e.timed {
		e.stepAside(a.manner != trying)
	}
	ok, err := e.file.try()
	t := now()
	if !ok && err == nil {
		e.rivalAt = t
		if a.manner != trying && e.timed && e.changedAt-e.lockedAt < int64(shortHold) {
			ok, t, err = e.tryAgain(t)
		}
	}
	switch {
	case err != nil:
		e.pass()
		return failed, err
	case ok:
		e.beginSlice(t)
		return locked, nil
	}
	e.sharedAt = t
	switch {
	case a.manner == trying:
		e.pass()
		return failed, ErrBusy
	case ctx.Err() != nil: // or a thread would park for nobody
		e.counts.cancelled.Add(1)
		e.pass()
		return failed, cancelled(ctx)
	case a.manner == blocking && a.lock.reg.threads.take():
		a.waited = true
		if err := e.block(); err != nil {
			e.pass()
			return failed, err
		}
		return locked, nil
	}
	a.needWaiter()
	if !e.park(a.waiter) {
		e.pass()
		return failed, fs.ErrClosed
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

// reopen leaves the entry, whose sidecar is lost, for that of the file that is
// at the path now.
func (a *acquisition) reopen(ctx context.Context) (progress, error) {
	from := a.entry
	a.marks, _ = ctx.Value(markKey{}).(*mark)
	if a.reopened++; a.reopened > maxReopened {
		from.pass()
		return failed, fmt.Errorf("%w %d times in a row", ErrLost, maxReopened)
	}
	if a.manner != trying {
		a.needWaiter()
	}
	to, turn, err := a.lock.reg.relocate(from, a)
	if to != from {
		from.pass()
	}
	a.entry = to
	switch {
	case err != nil:
		return failed, err
	case turn:
		return hasTurn, nil
	case a.manner == trying:
		return failed, ErrBusy
	}
	return queued, nil
}

// finish returns the hold, which is ours and verified.
func (a *acquisition) finish(ctx context.Context, at progress) (*Hold, error) {
	l, e := a.lock, a.entry
	if a.waiter != nil {
		l.reg.waiters.Put(a.waiter)
	}
	if ctx.Err() != nil {
		// It ended while we were about to have the lock, and wins.
		e.counts.cancelled.Add(1)
		e.mu.Lock()
		e.giveBackLocked(handedOver)
		return nil, l.fail(cancelled(ctx))
	}
	if a.waited && at == locked {
		// It was in no queue where Close could have turned it away.
		e.mu.Lock()
		if l.closed {
			e.giveBackLocked(handedOver)
			return nil, l.fail(fs.ErrClosed)
		}
		e.mu.Unlock()
	}
	e.counts.acquired.Add(1)
	if a.waited {
		e.counts.contended.Add(1)
	}
	if at == handedOver {
		e.counts.handedOver.Add(1)
	}
	return a.hold, nil
}

// wait waits until the queued w is taken out of the queue with something to go
// on with, or gives up when ctx ends. Then w is neither queued nor has anything.
func (w *waiter) wait(ctx context.Context) error {
	done := ctx.Done()
	select {
	case <-w.ready:
	case <-done:
		if w.leave() {
			return cancelled(ctx)
		}
		<-w.ready // it is decided already, and about to be sent
	}
	select {
	case <-done:
		// The end of ctx may have happened before the grant and wins: what was
		// granted is passed on as if w had never been there.
		w.giveBack()
		return cancelled(ctx)
	default:
	}
	if w.got == failed {
		return w.err
	}
	return nil
}

// leave takes w out of the queue and reports whether it was still there. If it
// was, then nobody had decided to take it out, and under mu nobody could.
func (w *waiter) leave() bool {
	e := w.lock.lockEntry()
	defer e.mu.Unlock()
	if w.next == nil {
		return false
	}
	e.queue.remove(w)
	e.abandonLocked()
	e.counts.cancelled.Add(1)
	return true
}

// giveBack passes on what w was given and, its context having ended, is not to
// have.
func (w *waiter) giveBack() {
	e := w.lock.entry.Load()
	e.counts.cancelled.Add(1)
	switch w.got {
	case hasTurn:
		e.pass()
	case granted, handedOver:
		e.mu.Lock()
		e.giveBackLocked(w.got) // what was granted nobody has verified, nor does w
	}
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
	// Read when the lock changed hands, just now; reading the clock again would
	// cost a tenth of a hand-over.
	t := e.changedAt
	age := time.Duration(t - l.looked.Load())
	switch {
	case age < 0: // another clock: a Lock was taken into a testing/synctest bubble
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

// tryAgain asks the kernel again, a few times, since time t. The caller has the
// turn. If it gets the lock so, that is not what stepAside calls the others'
// chance: some may be parked.
func (e *entry) tryAgain(t int64) (ok bool, at int64, err error) {
	at = t
	for n := 0; n < tryAgainMax && at-t < int64(shortHold) && !ok && err == nil; n++ {
		ok, err = e.file.try()
		at = now()
	}
	return ok, at, err
}

// beginSlice notes that the kernel's lock was taken at time t.
func (e *entry) beginSlice(t int64) {
	rival := t-e.rivalAt < int64(rivalMemory)
	if t-e.lockedAt > int64(asideTime) {
		if !e.timed && !rival {
			// It was held or free for long, nobody knows which. It may have been
			// free, and for the next one it will be known.
			e.sharedAt = t
		}
		e.unevenAt = t
	}
	// Who has taken it anew within asideTime for a sliceTime is likely to go on
	// so, and need not step aside, nor know when it lets go: to read the clock
	// would take a fortieth of such a cycle. (A sliceTime is less than probeTime,
	// or each pause would be the reason for the next.) With a rival about, every
	// cycle counts.
	e.timed = rival || t-e.unevenAt < int64(sliceTime)
	e.lockedAt = t
	e.changedAt = t
	e.handOvers = 0
}

// waited notes that the kernel's lock was just taken from another process.
func (e *entry) waited() {
	t := now()
	e.rivalAt = t
	e.sharedAt = t
	e.beginSlice(t)
}

// stepAside pauses, if the caller may, when it is time to let other processes
// in. The caller has the turn and is about to try for the lock.
func (e *entry) stepAside(mayPause bool) {
	t := now()
	had := time.Duration(t - e.sharedAt)
	switch {
	case t-e.changedAt > int64(asideTime): // free all the while
		e.sharedAt = t
		return
	case !mayPause:
		return
	case t-e.rivalAt < int64(rivalMemory):
		if had < sliceTime {
			return
		}
	case had < probeTime:
		return
	}
	e.reg.kernel.pause(asideTime)
	e.sharedAt = now()
}

// sliceLasts reports whether one more hand-over, now, keeps within the slice,
// and counts it.
func (e *entry) sliceLasts() bool {
	e.changedAt = now()
	e.handOvers++
	return e.handOvers <= sliceHandOvers && e.changedAt-e.lockedAt < int64(sliceTime)
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
// caller has, and e.mu, which it has locked. Who is next gets them as handedOver
// or, if they have to be verified, as granted. The error is that of unlocking.
func (e *entry) giveBackLocked(as progress) error {
	e.hold = nil
	if e.queue.n > 0 && e.sliceLasts() {
		e.grantLocked(as)
		return nil
	}
	e.mu.Unlock()
	err := e.unlock()
	if e.timed {
		e.changedAt = now() // only now has anybody else had a chance
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

// takeLocked gives the turn to the acquire whose hold is h, by the goroutine
// owner.
func (e *entry) takeLocked(h *Hold, owner uint64) {
	e.turn = turnTaken
	e.hold = h
	e.owner = owner
	h.entry = e
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
		e.waited()
	}
	e.mu.Lock()
	e.takeLocked(h, owner)
	e.mu.Unlock()
	return err
}

// park gives the turn to a parked thread, or to a poller if there is no thread
// to spare, with w at the head of the queue that it waits for. It does nothing
// and returns false if the Lock of w was closed meanwhile: Close has told those
// who were in the queue, and nobody would tell w.
func (e *entry) park(w *waiter) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.lock.closed {
		return false
	}
	e.queue.pushFront(w)
	e.hold = nil
	if e.reg.threads.take() {
		e.startThreadLocked()
		return true
	}
	e.turn = turnPolled
	e.abandoned = make(chan struct{}, 1)
	go e.poll()
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
	if err == nil {
		e.waited()
	}
	e.mu.Lock()
	switch {
	case err == nil && e.queue.n > 0:
		e.grantLocked(granted)
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
