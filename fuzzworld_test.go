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

// What happens in a schedule.

// world is the process under test, its surroundings, and what is known about
// them: the reference model.
type world struct {
	*testing.T
	k   *fakeKernel
	reg *registry

	goroutines [numGoroutines]goroutine
	foreigners [numForeigners]*fakeFile
	slots      [numSlots]*fuzzLock
	opening    [numSlots]bool
	holds      []*fuzzHold // live ones, in the order in which they were granted
	released   []*fuzzHold
	acquires   []*fuzzAcquire // under way, in the order of their arrival
	others     []*fuzzTask    // under way
	seq        int
	noThreads  bool
	// mostThreads is how many threads may be parked while noThreads.
	mostThreads int32
	again       *fuzzContext

	// What is granted and given up by entry, for as long as no Lock has moved to
	// another entry and taken counts along.
	acquired, cancelled map[*entry]uint64
	granted             uint64 // in all
	moved               bool
	handedOver          map[*entry]uint64
	// taken is when the kernel's lock was last taken, at the latest.
	taken map[*entry]time.Time
	// givenBack says that an acquire failed since the event, perhaps with the lock.
	givenBack bool
	// turnedAway counts who left a queue without having cancelled.
	turnedAway uint64
	// changed is when a path was last given to another file.
	changed map[string]time.Time
	// mischiefs counts what was done to files.
	mischiefs int
	// began is when the event did, and turns whose turns it was before it.
	began time.Time
	turns map[*entry]turn

	history strings.Builder

	mu      sync.Mutex // guards the following, for the hook
	failing map[string]*fuzzError
	slow    map[string]bool
	hanging []hangingCall
	pausing int
	// troubled is when a watch was last perhaps kept from moving those who wait.
	troubled time.Time
}

// goroutine makes acquires, one after another.
type goroutine struct {
	id   uint64
	work chan func()
	busy bool
}

type fuzzLock struct {
	*Lock
	closed bool

	// When last looked at:
	entry         *entry
	before, stats Stats
}

type fuzzHold struct {
	*Hold
	owner *goroutine // nil when detached
	inode *fakeInode
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

// fuzzTask is a call that may take its time. The fields of its outcome are set
// when done is.
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
	hold      *Hold
	returned  time.Time
	slow      bool // some call did not return while it was under way
	gone      bool // its directory did not exist at some time meanwhile
	tie       bool // it was cancelled, but perhaps granted before it noticed
	over      bool // its context was cancelled
	inVain    bool // it was closed while it was in the kernel
	rivals    bool // somebody else had or wanted the lock meanwhile
	itself    bool // it had the lock itself meanwhile
	waited    bool // it was queued
	behind    bool // it was overtaken, as it may be
	circle    bool // it waited in a circle
	arrived   time.Time
	cameBack  time.Time // from its own wait in the kernel, to queue elsewhere

	// What is known beforehand.
	reentrant, cancelled, closed bool
	looks                        bool // at the path, before it is refused or waits
}

// fuzzError is what the kernel answers to a call that fails.
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

// hook is the kernel's.
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
	looks := call == "sameAt" || call == "open"
	if looks && w.pausing > 0 {
		w.troubled = time.Now() // who pauses has the turn and goes first
	}
	if err := w.failing[call]; err != nil {
		delete(w.failing, call)
		if looks {
			w.troubled = time.Now()
		}
		err.seen = true
		return err
	}
	return nil
}

// goOn lets a call return that does not, and reports whether there was one.
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

// log notes an event; with go test -v it is to be seen even if a panic is next.
func (w *world) log(format string, args ...any) {
	line := fmt.Sprintf("%v: ", time.Since(bubbleStart)) + fmt.Sprintf(format, args...)
	if testing.Verbose() {
		w.Log(line)
	}
	w.history.WriteString("\t" + line + "\n")
}

// bubbleStart is when time starts in a bubble.
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
	})
}

func (w *world) close(slot int, l *fuzzLock) {
	w.frozen(func() {
		for _, a := range w.acquires {
			switch {
			case a.lock != l:
			case w.queued(a) != nil:
				a.closed = true
				w.turnedAway++
			case w.blocked(a) != nil:
				a.inVain = true
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

func (w *world) acquire(slot, which int, mode waitMode, kind int) {
	l := w.slots[slot]
	g := &w.goroutines[which%numGoroutines]
	if l == nil || g.busy {
		return
	}
	e := l.Lock.entry()
	a := &fuzzAcquire{seq: w.seq, lock: l, arrival: e, goroutine: g, mode: mode, closed: l.closed}
	a.what = fmt.Sprintf("acquire %d: of slot %d, goroutine %d, %s", a.seq, slot, which%numGoroutines,
		[...]string{parking: "Acquire", blocking: "AcquireBlocking", trying: "TryAcquire"}[mode])
	w.seq++
	call := func() (*Hold, error) { return l.TryAcquire() }
	switch mode {
	case parking:
		a.ctx = w.context(kind)
		a.cancelled = a.ctx.Err() != nil
		a.what += fmt.Sprintf(", context %d", kind)
		call = func() (*Hold, error) { return l.Acquire(a.ctx) }
	case blocking:
		call = func() (*Hold, error) { return l.AcquireBlocking() }
	}
	a.arrived = time.Now()
	w.frozen(func() {
		a.looks = w.looks(a)
		// Of what was lost just now nobody knows when it will be noticed.
		a.reentrant = w.itself(a) && !w.lost(e, l.path)
		if a.looks {
			a.reentrant = w.mine(a, func(h *fuzzHold) bool { return h.inode == w.k.files[l.path] })
		}
		a.rivals = w.rivals(l)
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

// cancel ends a context, perhaps at the same time as something else happens.
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
				a.over = true
				a.cancelled = a.cancelled || w.queued(a) != nil
				a.tie = a.tie || tie
			}
		}
	})
	task.ctx.cancel(task.ctx.cause)
}

// hold picks a hold.
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

func (w *world) checkHold(which int, again bool) {
	h, name := w.hold(which, again)
	if h == nil {
		return
	}
	lost := func() bool { return w.k.inode(h.Path()) != h.inode }
	before, mischiefs := lost(), w.mischiefs
	w.start("check "+name, nil, h.Check, func(err error) {
		meanwhile := w.mischiefs > mischiefs // before it looked, or after
		if again || before && !meanwhile || err != nil {
			w.explained(err, "check", h.Path(), func(err error) bool {
				return again && errors.Is(err, ErrReleased) || (before || meanwhile) && errors.Is(err, ErrLost)
			})
		}
	})
}

func (w *world) dup(which int, again bool) {
	h, name := w.hold(which, again)
	if h == nil {
		return
	}
	w.start("dup "+name, nil, func() error {
		f, err := h.Dup()
		if err == nil {
			f.Close()
		}
		return err
	}, func(err error) {
		released := slices.Contains(w.released, h) // by now
		if released || err != nil {
			w.explained(err, "dup", h.Path(), func(err error) bool {
				return released && errors.Is(err, ErrReleased)
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

func (w *world) foreign(which int, path string, wait bool) {
	f := w.foreigners[which]
	switch {
	case f == nil:
		if w.gone(path) {
			return
		}
		f = w.k.foreigner(w, path).fakeFile
		if wait {
			w.log("foreigner %d waits for %s", which, path)
			go f.waitForLock()
		} else if f.tryLock() {
			w.log("foreigner %d has %s", which, path)
		} else {
			return
		}
		w.foreigners[which] = f
	case w.has(f):
		w.log("foreigner %d unlocks %s", which, f.path)
		f.release()
		w.foreigners[which] = nil
	}
}

// has reports whether another process has the lock that it wanted.
func (w *world) has(f *fakeFile) (has bool) {
	w.frozen(func() { has = f.inode.locked == f })
	return has
}

func (w *world) gone(path string) bool { return w.k.gone[filepath.Dir(path)] }

func (w *world) mischief(what, path int) {
	w.mischiefs++
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
		names = fuzzPaths[:] // any that was there
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

// settle lets everybody get where it can get and checks what can be checked.
func (w *world) settle() {
	synctest.Wait()
	w.frozen(func() {
		for _, a := range w.acquires {
			a.slow = a.slow || len(w.hanging) > 0
			a.gone = a.gone || w.gone(a.lock.path)
			a.rivals = a.rivals || w.rivals(a.lock)
			a.itself = a.itself || w.itself(a)
			a.waited = a.waited || w.queued(a) != nil
			a.behind = a.behind || w.leftBehind(a)
			a.circle = a.circle || w.circle(a) != nil
			// Who looks at the path first finds out later what is so then.
			a.reentrant = a.reentrant && !w.hangs("sameAt", "open") &&
				!(a.looks && (w.pausing > 0 || len(w.hanging) > 0))
		}
		if len(w.hanging) > 0 {
			w.troubled = time.Now()
		}
	})
	for _, l := range w.slots {
		if l != nil && l.Lock.entry() != l.entry {
			l.entry, l.stats = l.Lock.entry(), Stats{}
			w.moved = true
			for _, a := range w.acquires {
				if a.lock == l {
					w.turnedAway++
					a.circle = true // perhaps, for a moment
				}
			}
		}
	}
	w.givenBack = false
	// Those who failed first: whoever is left has not been overtaken by them.
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
	for _, task := range w.others {
		if task.done.Load() {
			if task.err != nil {
				w.log("%s: %v", task.what, task.err)
			}
			task.finish(task.err)
		}
	}
	w.others = slices.DeleteFunc(w.others, func(task *fuzzTask) bool { return task.done.Load() })
	for _, l := range w.slots {
		if l != nil && !l.closed {
			l.before, l.stats = l.stats, l.Stats()
		}
	}
	w.frozen(w.check)
}

// end lets everything come to its end: nobody cancels any more, and everybody
// who waits has to be served.
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
				w.foreign(i, f.path, false)
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
	if n := len(w.reg.entries) + w.k.descriptors() + int(w.reg.threads.n.Load()); n != 0 {
		w.fail("%d entries, %d descriptors and %d threads left", len(w.reg.entries), w.k.descriptors(), w.reg.threads.n.Load())
	}
	for i := range w.goroutines {
		close(w.goroutines[i].work)
	}
}
