package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The events of a schedule follow.

// world is the process under test, its environment, and the reference model of both.
type world struct {
	*testing.T
	k   *fakeKernel
	reg *registry

	goroutines [numGoroutines]goroutine
	foreigners [numForeigners]*fakeFile
	boards     [numForeigners]*fakeBoard // of those that have announced themselves
	withdrawn  map[*fakeInode]time.Time  // when an announcement last was
	slots      [numSlots]*fuzzLock
	opening    [numSlots]bool
	holds      []*fuzzHold // live ones, in the order in which they were granted
	released   []*fuzzHold
	acquires   []*fuzzAcquire // under way, in the order of their arrival
	others     []*fuzzTask    // under way
	leftBehind []*entry       // of the last check: there may be an orphaned wait and nothing else
	converting int            // holds that are being converted
	// yieldingSince is since when shared waiters have been kept out of a lock that they could have.
	yieldingSince map[*entry]time.Time
	seq           int
	noThreads     bool
	// mostThreads is how many threads may be parked while noThreads.
	mostThreads int32
	again       *fuzzContext

	// acquired and cancelled count the outcomes by entry. They are exact until a Lock moves
	// to a different entry, which moves counts, too.
	acquired, cancelled map[*entry]uint64
	granted             uint64 // in all
	moved               bool
	handedOver          map[*entry]uint64
	// The kernel's lock of an entry was last acquired at lockedAt or earlier.
	lockedAt map[*entry]time.Time
	// givenBack is set when an acquire has failed since the event, perhaps with the lock.
	givenBack bool
	// turnedAway counts the waiters that left a queue without being cancelled.
	turnedAway uint64
	// changed is when a path last got a different file.
	changed map[string]time.Time
	// fileChanges counts the changes of files.
	fileChanges int
	// began is when the event began, and turns are the turns of all entries before it.
	began time.Time
	turns map[*entry]turn
	// settled is set while all goroutines are blocked.
	settled bool

	history strings.Builder

	mu      sync.Mutex // guards the following, for the hook
	failing map[string]*fuzzError
	slow    map[string]bool
	hanging []hangingCall
	pausing int
	// watchDelayedAt is when a watch may last have been kept from moving waiters.
	watchDelayedAt time.Time
}

// goroutine makes acquires, one after the other.
type goroutine struct {
	id   uint64
	work chan func()
	busy bool
}

type fuzzLock struct {
	*Lock
	closed bool

	// The following are from the last check.
	entry         *entry
	before, stats Stats
}

type fuzzHold struct {
	*Hold
	owner *goroutine // nil when detached
	inode *fakeInode
	// conversions counts their beginnings and ends: while it is odd, the hold is not live.
	conversions int
}

// wasReleased returns a function that reports whether the hold is not live, or has not always
// been since wasReleased was called.
func (w *world) wasReleased(h *fuzzHold) func() bool {
	before := h.conversions
	return func() bool {
		return before%2 == 1 || h.conversions != before || slices.Contains(w.released, h)
	}
}

type fuzzContext struct {
	context.Context
	cancel context.CancelCauseFunc // nil if it cannot be cancelled
	cause  error
	marks  []*fuzzHold
}

func (c *fuzzContext) endedBefore(t time.Time) bool {
	deadline, ok := c.Deadline()
	return ok && deadline.Before(t)
}

// fuzzTask is a call that may wait. The fields of its outcome are set when done is.
type fuzzTask struct {
	what   string
	ctx    *fuzzContext
	done   atomic.Bool
	err    error
	finish func(err error)
}

type fuzzAcquire struct {
	fuzzTask
	seq       int
	lock      *fuzzLock
	arrival   *entry // where it arrived
	goroutine *goroutine
	mode      waitMode
	shared    bool
	hold      *Hold
	arrived   time.Time
	returned  time.Time
	// requeuedAt is when it was queued at a different entry, after its own wait in the kernel.
	requeuedAt time.Time

	// The following are set if the state was observed while the acquire was under way.
	slow           bool // a call hung
	gone           bool // its directory did not exist
	tie            bool // it was cancelled, but perhaps granted before it noticed
	contextEnded   bool // its context was cancelled
	closedInKernel bool // its Lock was closed while it was in the kernel
	mayBeBusy      bool // TryAcquire might return ErrBusy
	reenters       bool // its own caller held the lock
	refused        bool // and not both are shared
	waited         bool // it was queued
	mayBeOvertaken bool
	cycle          bool // it waited in a cycle
	deadlock       bool // of waits that only a release or an error ends
	// A hold was being converted, and was not live then.
	duringConversion bool

	// The following are known beforehand.
	reentrant, cancelled, closed bool
	joins                        bool // its caller holds the lock shared, as it does
	mustCheck                    bool // the path, before it is refused or waits
}

// fuzzError is the error of a call that the kernel fails.
type fuzzError struct {
	call            string
	seen, delivered bool
}

func (err *fuzzError) Error() string { return "injected error of " + err.call }

type hangingCall struct {
	call, path string
	goOn       chan struct{}
}

var errNoMorePause = errors.New("paused already")

// hook is the hook of the fake kernel.
func (w *world) hook(call, path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if call == "pause" {
		w.pausing++
		w.mu.Unlock()
		time.Sleep(yieldPause)
		w.mu.Lock()
		w.pausing--
		return errNoMorePause
	}
	if w.slow[call] {
		w.slow[call] = false
		h := hangingCall{call, path, make(chan struct{})}
		w.hanging = append(w.hanging, h)
		w.mu.Unlock()
		<-h.goOn
		w.mu.Lock()
	}
	checksPath := call == "sameAt" || call == "open"
	if checksPath && w.pausing > 0 {
		w.watchDelayedAt = time.Now() // the acquire that pauses has the turn and goes first
	}
	if err := w.failing[call]; err != nil {
		delete(w.failing, call)
		if checksPath {
			w.watchDelayedAt = time.Now()
		}
		err.seen = true
		return err
	}
	return nil
}

// goOn lets a call that hangs return, and reports whether there was one.
func (w *world) goOn(which int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.hanging) == 0 {
		return false
	}
	which %= len(w.hanging)
	h := w.hanging[which]
	w.log("%s of %s goes on", h.call, h.path)
	w.hanging = slices.Delete(w.hanging, which, which+1)
	close(h.goOn)
	return true
}

func (w *world) fail(format string, args ...any) {
	w.Fatalf("%s\nafter\n%s", fmt.Sprintf(format, args...), w.history.String())
}

// log notes an event. With go test -v it is printed at once, even if a panic is next.
func (w *world) log(format string, args ...any) {
	line := fmt.Sprintf("%v: ", time.Since(bubbleStart)) + fmt.Sprintf(format, args...)
	if testing.Verbose() {
		w.Log(line)
	}
	w.history.WriteString("\t" + line + "\n")
}

// bubbleStart is the time at which a bubble's clock starts.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// start makes a call on a goroutine of its own. When it has returned, finish
// checks its error.
func (w *world) start(what string, ctx *fuzzContext, call func() error, finish func(err error)) *fuzzTask {
	task := &fuzzTask{what: what, ctx: ctx, finish: finish}
	w.others = append(w.others, task)
	w.log("%s", what)
	go func() {
		task.err = call()
		task.done.Store(true)
	}()
	return task
}

func (w *world) open(slot int, path string) {
	var l *Lock
	w.opening[slot] = true
	w.start(fmt.Sprintf("open %s in slot %d", path, slot), nil, func() (err error) {
		l, err = w.reg.openFile(path)
		return err
	}, func(err error) {
		w.opening[slot] = false
		if err != nil {
			w.explained(err, "open", path, func(err error) bool {
				return errors.Is(err, fs.ErrNotExist) && w.gone(path)
			})
			return
		}
		w.slots[slot] = &fuzzLock{Lock: l, entry: l.entry()}
		// A check for a different Lock may have moved this one before its Open returned.
		w.moved = w.moved || l.Stats().Reopened > 0
	})
}

func (w *world) close(slot int, l *fuzzLock) {
	w.frozen(func() {
		for _, a := range w.acquires {
			switch {
			case a.lock != l:
			case w.queued(a) != nil:
				a.closed = a.closed || w.settled // or it may have succeeded before
				w.turnedAway++
			case w.blocked(a) != nil:
				a.closedInKernel = a.closedInKernel || w.settled
			}
		}
	})
	was := l.closed
	l.closed = true
	w.start(fmt.Sprintf("close slot %d", slot), nil, l.Close, func(err error) {
		if was || err != nil {
			w.explained(err, "close", l.path, func(err error) bool {
				return was && errors.Is(err, fs.ErrClosed)
			})
		}
	})
}

// context makes a context.
func (w *world) context(kind int) *fuzzContext {
	c := &fuzzContext{Context: context.Background(), cause: errors.New("cause")}
	mark := func(last int) {
		for _, h := range w.holds[max(0, len(w.holds)-last):] {
			c.Context = h.Context(c.Context)
			c.marks = append(c.marks, h)
		}
		w.again = c
	}
	switch kind {
	case ctxMarked:
		mark(1)
	case ctxTwice:
		mark(2)
	case ctxAgain:
		if w.again != nil {
			again := *w.again
			c = &again
		}
	}
	if kind == ctxShort || kind == ctxLong {
		d := 1500 * time.Microsecond
		if kind == ctxLong {
			d = 75 * time.Millisecond
		}
		ctx, stop := context.WithTimeoutCause(c.Context, d, c.cause)
		c.Context, c.cancel = ctx, func(error) { stop() }
		return c
	}
	c.Context, c.cancel = context.WithCancelCause(c.Context)
	if kind == ctxEnded {
		c.cancel(c.cause)
	}
	return c
}

func (w *world) acquire(slot, which int, mode waitMode, shared bool, kind int) {
	l := w.slots[slot]
	g := &w.goroutines[which%numGoroutines]
	if l == nil || g.busy {
		return
	}
	e := l.Lock.entry()
	a := &fuzzAcquire{seq: w.seq, lock: l, arrival: e, goroutine: g, mode: mode, shared: shared, closed: l.closed}
	a.what = fmt.Sprintf("acquire %d: of slot %d, goroutine %d, %s", a.seq, slot, which%numGoroutines,
		[...]string{parking: "Acquire", blocking: "AcquireBlocking", trying: "TryAcquire"}[mode])
	w.seq++
	acquire, call := l.Acquire, l.TryAcquire
	if shared {
		a.what += "Shared"
		acquire, call = l.AcquireShared, l.TryAcquireShared
	}
	switch mode {
	case parking:
		a.ctx = w.context(kind)
		a.cancelled = a.ctx.Err() != nil
		a.what += fmt.Sprintf(", context %d", kind)
		call = func() (*Hold, error) { return acquire(a.ctx) }
	case blocking:
		call = l.AcquireBlocking
	}
	a.arrived = time.Now()
	w.frozen(func() {
		a.mustCheck = w.mustCheck(a)
		meets := e.grants
		if a.mustCheck {
			meets = func(h *fuzzHold) bool { return h.inode == w.k.files[l.path] }
		} else if w.lost(e, l.path) {
			// It is not known when a file that was lost just now will be noticed.
			meets = func(*fuzzHold) bool { return false }
		}
		a.reentrant = w.isRefused(a, meets)
		a.joins = !a.reentrant && !a.closed && !a.cancelled && w.callerHolds(a, meets)
		a.mayBeBusy = w.mayBeBusy(a)
		a.reenters, a.refused = w.callerHolds(a, e.grants), w.isRefused(a, e.grants)
	})
	a.finish = func(err error) { w.frozen(func() { w.acquireDone(a) }) }
	w.acquires = append(w.acquires, a)
	w.log("%s", a.what)
	g.busy = true
	g.work <- func() {
		a.hold, a.err = call()
		a.returned = time.Now()
		a.done.Store(true)
	}
}

// cancel ends a context. With tie, the next event happens at the same time.
func (w *world) cancel(which int, tie bool) {
	var tasks []*fuzzTask
	for _, a := range w.acquires {
		if a.ctx != nil {
			tasks = append(tasks, &a.fuzzTask)
		}
	}
	for _, task := range w.others {
		if task.ctx != nil {
			tasks = append(tasks, task)
		}
	}
	if len(tasks) == 0 {
		return
	}
	task := tasks[which%len(tasks)]
	w.log("cancel %s, tie: %t", task.what, tie)
	w.frozen(func() {
		for _, a := range w.acquires {
			if task == &a.fuzzTask {
				a.contextEnded = a.contextEnded || w.settled // or it may have succeeded before
				a.cancelled = a.cancelled || w.settled && w.queued(a) != nil
				a.tie = a.tie || tie || !w.settled
			}
		}
	})
	w.settled = w.settled && !tie
	task.ctx.cancel(task.ctx.cause)
}

// hold returns a live or a released hold, and its name.
func (w *world) hold(which int, released bool) (h *fuzzHold, name string) {
	from, name := w.holds, "hold"
	if released {
		from, name = w.released, "released hold"
	}
	if len(from) == 0 {
		return nil, ""
	}
	which %= len(from)
	return from[which], fmt.Sprintf("%s %d of %d", name, which, len(from))
}

func (w *world) release(which int, again bool) {
	h, name := w.hold(which, again)
	if h == nil {
		return
	}
	if !again {
		w.holds = slices.DeleteFunc(w.holds, func(other *fuzzHold) bool { return other == h })
		w.released = append(w.released, h)
	}
	w.start("release "+name, nil, h.Release, func(err error) {
		if again || err != nil {
			w.explained(err, "release", h.Path(), func(err error) bool {
				return again && errors.Is(err, ErrReleased)
			})
		}
	})
}

// convert converts a hold, unless its goroutine acquires something.
func (w *world) convert(which int) {
	h, name := w.hold(which, false)
	if h == nil || h.owner != nil && h.owner.busy {
		return
	}
	// It is not live before it has been converted.
	w.holds = slices.DeleteFunc(w.holds, func(other *fuzzHold) bool { return other == h })
	w.converting++
	h.conversions++
	if h.owner != nil {
		h.owner.busy = true
	}
	op, convert := "downgrade", h.downgrade
	if h.shared {
		op, convert = "upgrade", func() error {
			exclusive, err := h.upgrade()
			if err == nil && exclusive == h.shared {
				return fmt.Errorf("exclusive: %t, hold.shared: %t", exclusive, h.shared)
			}
			return err
		}
	}
	w.start(op+" "+name, nil, convert, func(err error) {
		w.converting--
		h.conversions++
		if h.owner != nil {
			h.owner.busy = false
		}
		w.watchDelayedAt = time.Now() // a cycle may begin
		if err != nil {
			w.released = append(w.released, h)
			w.explained(err, op, h.Path(), func(err error) bool { return errors.Is(err, ErrLost) })
			return
		}
		w.holds = append(w.holds, h)
		w.lockedAt[h.entry] = time.Now()
	})
}

func (w *world) checkHold(which int, again bool) {
	h, name := w.hold(which, again)
	if h == nil {
		return
	}
	lost := func() bool { return w.k.inode(h.Path()) != h.inode }
	before, fileChanges, wasReleased := lost(), w.fileChanges, w.wasReleased(h)
	w.start("check "+name, nil, h.Check, func(err error) {
		meanwhile := w.fileChanges > fileChanges // before its check, or after
		if again || before && !meanwhile || err != nil {
			released := wasReleased()
			w.explained(err, "check", h.Path(), func(err error) bool {
				return released && errors.Is(err, ErrReleased) || (before || meanwhile) && errors.Is(err, ErrLost)
			})
		}
	})
}

func (w *world) dup(which int, again bool) {
	h, name := w.hold(which, again)
	if h == nil {
		return
	}
	wasReleased := w.wasReleased(h)
	w.start("dup "+name, nil, func() error {
		f, err := h.Dup()
		if err == nil {
			f.Close()
		}
		return err
	}, func(err error) {
		if err != nil || slices.Contains(w.released, h) {
			w.explained(err, "dup", h.Path(), func(err error) bool {
				return wasReleased() && errors.Is(err, ErrReleased)
			})
		}
	})
}

func (w *world) drain(slot int, l *fuzzLock, kind int) {
	closed := l.closed
	ctx := w.context(kind)
	w.start(fmt.Sprintf("wait until slot %d has drained, context %d", slot, kind), ctx, func() error {
		return l.WaitDrained(ctx)
	}, func(err error) {
		if closed || err != nil {
			w.explained(err, "drain", l.path, func(err error) bool {
				return closed && errors.Is(err, fs.ErrClosed) || !closed && w.endOf(ctx, err)
			})
		}
	})
}

func (w *world) foreign(which int, path string, how int) {
	f := w.foreigners[which]
	wait, shared := how&1 != 0, how&2 != 0
	switch {
	case f == nil:
		if w.gone(path) {
			return
		}
		f = w.k.foreigner(w, path).fakeFile
		if wait {
			w.log("foreigner %d waits for %s, shared: %t", which, path, shared)
			go f.waitForLock(shared)
		} else if f.tryLock(shared) {
			w.log("foreigner %d locks %s, shared: %t", which, path, shared)
		} else {
			return
		}
		w.foreigners[which] = f
		if how&4 != 0 {
			w.log("foreigner %d announces itself", which)
			w.boards[which] = &fakeBoard{fakeFile: f}
			w.boards[which].announce(false)
		}
	case w.isLockedBy(f):
		w.log("foreigner %d unlocks %s", which, f.path)
		f.release()
		w.foreigners[which] = nil
		w.withdraw(which)
	}
}

// isLockedBy reports whether another process holds the lock that it tried or waited for.
func (w *world) isLockedBy(f *fakeFile) (locked bool) {
	w.frozen(func() { locked = f.inode.locked[f] })
	return locked
}

func (w *world) gone(path string) bool { return w.k.gone[filepath.Dir(path)] }

func (w *world) changeFiles(what, path int) {
	w.fileChanges++
	p, to := fuzzPaths[path], fuzzPaths[(path+1)%numPaths]
	names := []string{p}
	dir := filepath.Dir(p)
	exists := w.k.inode(p) != nil
	switch {
	case what == fileUnlink && exists:
		w.log("unlink %s", p)
		w.k.unlink(p)
	case what == fileReplace && !w.gone(p):
		w.log("replace %s", p)
		w.k.replace(p)
	case what == fileLink && exists && w.k.inode(to) == nil && !w.gone(to):
		w.log("link %s to %s", to, p)
		w.k.link(p, to)
		names = []string{to}
	case what == fileRename && exists && w.k.inode(to) != w.k.inode(p) && !w.gone(to):
		w.log("rename %s to %s", p, to)
		w.k.rename(p, to)
		names = []string{p, to}
	case what == fileRemoveDir && !w.k.gone[dir]:
		w.log("remove %s", dir)
		w.k.removeDir(dir)
		names = fuzzPaths[:] // any of them may have been there
	case what == fileMakeDir && w.k.gone[dir]:
		w.log("make %s", dir)
		w.k.makeDir(dir)
		return
	default:
		return
	}
	for _, name := range names {
		w.changed[name] = time.Now()
	}
}

// settle waits until all goroutines are blocked, and checks the state.
func (w *world) settle() {
	synctest.Wait()
	w.settled = true
	w.frozen(func() {
		for _, a := range w.acquires {
			a.slow = a.slow || len(w.hanging) > 0
			a.gone = a.gone || w.gone(a.lock.path)
			a.mayBeBusy = a.mayBeBusy || w.mayBeBusy(a)
			at := a.lock.Lock.entry()
			a.reenters = a.reenters || w.callerHolds(a, at.grants)
			a.refused = a.refused || w.isRefused(a, at.grants)
			a.waited = a.waited || w.queued(a) != nil
			a.mayBeOvertaken = a.mayBeOvertaken || w.mayBeOvertaken(a) ||
				a.shared && w.isAnnounced(at.file.(*fakeFile).inode) // it may have left the group again
			a.cycle = a.cycle || w.cycle(a, false) != nil
			a.deadlock = a.deadlock || w.cycle(a, true) != nil
			if w.converting > 0 {
				a.duringConversion, a.cycle, a.deadlock = true, true, true
			}
			// An acquire that checks the path first decides later, by the state then.
			certain := !w.hangs("sameAt", "open", "serverStillGrants") &&
				!(a.mustCheck && (w.pausing > 0 || len(w.hanging) > 0))
			a.reentrant = a.reentrant && certain
			a.joins = a.joins && certain
		}
		if len(w.hanging) > 0 {
			w.watchDelayedAt = time.Now()
		}
	})
	for _, l := range w.slots {
		if l != nil && l.Lock.entry() != l.entry {
			joins := w.turns[l.entry] == turnShared
			w.frozen(func() { joins = joins || l.entry.turn == turnShared })
			l.entry, l.stats = l.Lock.entry(), Stats{}
			w.moved = true
			delete(w.handedOver, l.entry)
			for _, a := range w.acquires {
				if a.lock == l {
					w.turnedAway++
					// It may have joined a lost group, and arrived again.
					a.mayBeOvertaken = a.mayBeOvertaken || a.shared && joins
				}
				a.cycle, a.deadlock = true, true // perhaps, for a moment: through the one that moved
			}
		}
	}
	w.givenBack = false
	// Conversions come before the acquires that joined what they made.
	for _, task := range w.others {
		if task.done.Load() {
			if task.err != nil {
				w.log("%s: %v", task.what, task.err)
			}
			task.finish(task.err)
		}
	}
	// Failed acquires come first: they set givenBack, and have overtaken no other.
	for _, succeeded := range []bool{false, true} {
		for _, a := range w.acquires {
			if a.done.Load() && (a.err == nil) == succeeded {
				if a.err != nil {
					w.log("%s: %v", a.what, a.err)
				}
				a.finish(a.err)
			}
		}
	}
	w.acquires = slices.DeleteFunc(w.acquires, func(a *fuzzAcquire) bool { return a.done.Load() })
	w.others = slices.DeleteFunc(w.others, func(task *fuzzTask) bool { return task.done.Load() })
	for _, l := range w.slots {
		if l != nil && !l.closed {
			l.before, l.stats = l.stats, l.Stats()
		}
	}
	w.frozen(w.check)
}

// end releases all holds and lets all calls return. No acquire is cancelled any more, and every
// waiter must get the lock.
func (w *world) end() {
	w.log("the end")
	if w.noThreads {
		w.event(doNoThreads, 0, 0)
	}
	w.frozen(func() {
		clear(w.failing)
		clear(w.slow)
	})
	for _, dir := range []string{filepath.Dir(fakePath), filepath.Dir(otherPath)} {
		w.k.makeDir(dir)
	}
	for i := range w.boards {
		w.withdraw(i)
	}
	for round := 0; ; round++ {
		for w.goOn(0) {
			w.settle()
		}
		time.Sleep(pollMax + yieldPause)
		w.settle()
		w.frozen(func() {
			for _, e := range w.entries() {
				if e.turn == turnPolled {
					w.fail("%s: still polls", e.file.(*fakeFile).path)
				}
			}
		})
		left := len(w.holds) + len(w.acquires) + len(w.others)
		for len(w.holds) > 0 {
			w.release(0, false)
			w.settle()
		}
		for i, f := range w.foreigners {
			if f != nil {
				left++
				w.foreign(i, f.path, 0)
				w.settle()
			}
		}
		if left == 0 {
			break
		}
		if round == 10*numGoroutines {
			w.fail("%d calls have not returned", len(w.acquires)+len(w.others))
		}
	}
	for _, l := range w.slots {
		if l == nil || l.closed {
			continue
		}
		h, err := l.TryAcquire()
		if err == nil {
			err = h.Release()
		}
		if closed := l.Close(); err != nil || closed != nil {
			w.fail("%s in the end: %v, %v", l.path, err, closed)
		}
	}
	if w.k.nboards != 0 {
		w.fail("%d boards left", w.k.nboards)
	}
	if n := len(w.reg.entries) + w.k.descriptors() + int(w.reg.threads.n.Load()); n != 0 {
		w.fail("%d entries, %d descriptors and %d threads left", len(w.reg.entries), w.k.descriptors(), w.reg.threads.n.Load())
	}
	for i := range w.goroutines {
		close(w.goroutines[i].work)
	}
}
