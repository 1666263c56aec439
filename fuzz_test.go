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

	"packlock/internal/goid"
)

// A schedule is what happens to a process, other processes and the kernel, one
// event after another, each given by three bytes: what, a and b. Between two
// events everybody gets where it can get, and then all is checked that can be
// known about the state: see world.check. So what happens depends on nothing but
// the bytes; after doCancelAnd the way to it may differ, not the outcome.
//
// go test -v shows the events and what comes of them.

// maxEvents is after how many events a schedule is cut off.
const maxEvents = 100

// The events.
const (
	doOpen      = iota // opens a Lock; a: slot, b: path
	doClose            // a: slot
	doAcquire          // a: slot + numSlots*goroutine, b: context
	doTry              // a: slot + numSlots*goroutine
	doBlocking         // AcquireBlocking; a: slot + numSlots*goroutine
	doCancel           // ends the context of an acquire or WaitDrained; a: which
	doCancelAnd        // the same, at the same time as the next event
	doRelease          // a: hold, b: 1 for one that is released already
	doDetach           // a: hold
	doCheck            // a: hold, b: as for doRelease
	doDup              // a: hold, b: as for doRelease
	doDrain            // WaitDrained; a: slot, b: context
	doForeign          // another process opens, and locks or waits, or else unlocks; a: process, b: path + numPaths*(1 to wait)
	doFiles            // a: what is done, b: path
	doFail             // the kernel fails the next call; a: which
	doSlow             // the next call does not return; a: which
	doGoOn             // a call that does not return does; a: which
	doSleep            // a: how long
	doNoThreads        // there is no room for more parked threads, or there is again
	numEvents
)

const (
	numSlots      = 4
	numGoroutines = 6
	numForeigners = 2
	numPaths      = 3
)

// The contexts of acquires and of WaitDrained.
const (
	ctxPlain  = iota
	ctxMarked // by the latest live hold
	ctxTwice  // by the two latest live holds
	ctxAgain  // that of the latest acquire with a marked one
	ctxEnded
	ctxShort // ends after 1.5 ms
	ctxLong  // ends after 75 ms
	numContexts
)

const (
	fileUnlink = iota
	fileReplace
	fileLink        // the path gets the name of the next path, too
	fileRename      // to the next path
	fileRemoveDir   // that the path is in
	fileMakeDir     // that the path is in
	numFileMischief // how many there are
)

var (
	fuzzPaths  = [numPaths]string{fakePath, otherPath, fakeAbs("/pack/alias")}
	fuzzCalls  = [...]string{"try", "block", "blocked", "unlock", "linked", "sameAt", "open", "close", "dup"}
	fuzzSleeps = [...]time.Duration{10 * time.Microsecond, asideTime + 1, sliceTime + 1, 3*sliceTime + 1, lookAge + 1, 100 * time.Millisecond, 2 * time.Second}
)

// schedules are the ones that are replayed by go test and that fuzzing starts
// from, besides those in testdata.
var schedules = []struct {
	name   string
	events [][3]byte
}{
	{"nothing", nil},
	{"alone", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doAcquire}, {doCheck}, {doDup}, {doRelease}, {doRelease, 0, 1}, {doBlocking}, {doRelease}}},
	{"queue in one process", [][3]byte{{doOpen}, {doOpen, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 9}, {doBlocking, 12}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"queue behind another process", [][3]byte{{doOpen}, {doForeign}, {doTry}, {doAcquire}, {doAcquire, 4}, {doAcquire, 8}, {doForeign}, {doRelease}, {doRelease}, {doRelease}}},
	{"another process in the middle", [][3]byte{{doOpen}, {doTry}, {doForeign, 0, 3}, {doAcquire, 4}, {doSleep, 2}, {doRelease}, {doForeign, 1, 3}, {doForeign}, {doForeign, 1}, {doRelease}}},
	{"cancel, drain", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doTry, 4}, {doDrain}, {doForeign}, {doTry}, {doRelease}}},
	{"cancel, adopt", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doAcquire, 4}, {doForeign}, {doRelease}}},
	{"cancel of the first and of the last", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doAcquire, 8}, {doCancel}, {doCancel, 1}, {doForeign}, {doRelease}}},
	{"cancel against grant", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancelAnd}, {doForeign}, {doTry}, {doRelease}}},
	{"cancel against hand over", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doCancelAnd}, {doRelease}, {doRelease}}},
	{"cancel against close", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancelAnd}, {doClose}, {doOpen}, {doAcquire, 4}, {doForeign}}},
	{"cancel when granted, before it is known", [][3]byte{{doOpen}, {doSlow, 2}, {doForeign}, {doAcquire}, {doForeign}, {doCancel}, {doAcquire, 4}, {doGoOn}, {doRelease}}},
	{"cancel while it tries", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doCancel}, {doGoOn}, {doSlow, 4}, {doAcquire}, {doAcquire, 4}, {doCancel}, {doGoOn}}},
	{"cancel when it was passed the turn", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doSleep, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doSleep, 6}, {doRelease}, {doCancel}, {doSleep, 1}, {doRelease}, {doTry}, {doRelease}}},
	{"deadlines", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 0, ctxShort}, {doAcquire, 4, ctxLong}, {doAcquire, 8, ctxEnded}, {doDrain, 0, ctxShort}, {doSleep, 3}, {doDrain, 0, ctxShort}, {doSleep, 6}, {doDrain, 0, ctxShort}, {doSleep, 3}}},
	{"arrivals while it drains", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doSlow, 3}, {doForeign}, {doTry}, {doAcquire, 4}, {doDrain}, {doGoOn}, {doRelease}}},
	{"re-entry", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doTry}, {doAcquire}, {doBlocking}, {doAcquire, 4, ctxMarked}, {doAcquire, 5, ctxMarked}, {doAcquire, 8, ctxTwice}, {doDetach}, {doAcquire}, {doAcquire, 12, ctxAgain}, {doRelease}, {doRelease}, {doAcquire, 4, ctxAgain}}},
	{"re-entry by way of a lost sidecar", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 4}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 1}, {doAcquire}, {doForeign}, {doRelease}, {doRelease}, {doFiles, fileReplace}, {doOpen, 2}, {doTry, 2}, {doAcquire}}},
	{"released twice", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doRelease}, {doRelease, 0, 1}, {doCheck}, {doDetach, 0, 1}}},
	{"close while parked", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doClose}, {doClose, 1}, {doOpen, 2}, {doAcquire, 10}, {doForeign}, {doRelease}, {doClose}, {doAcquire}, {doTry, 1}, {doDrain}}},
	{"close while blocking", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doBlocking}, {doAcquire, 5}, {doClose}, {doForeign}, {doRelease}}},
	{"close while it tries", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doAcquire, 4}, {doClose}, {doGoOn}, {doOpen}, {doTry}}},
	{"close while it tries, in vain", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doForeign}, {doClose}, {doGoOn}, {doOpen}, {doForeign}}},
	{"close while it steps aside", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doSleep, 1}, {doTry}, {doAcquire, 4}, {doSleep, 6}, {doRelease}, {doClose}, {doForeign}, {doSleep, 1}, {doOpen}, {doForeign}}},
	{"close with a hold", [][3]byte{{doOpen}, {doTry}, {doClose}, {doOpen}, {doTry}, {doTry, 4}, {doCheck}, {doRelease}, {doTry}}},
	{"replaced while others queue", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doAcquire, 8}, {doFiles, fileReplace}, {doForeign, 1, 3}, {doForeign}, {doTry, 13}, {doForeign, 1}, {doRelease}, {doRelease}, {doRelease}}},
	{"replaced, and known elsewhere", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 13}, {doAcquire, 17}, {doSleep, 4}, {doCheck, 1}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"one of two names deleted", [][3]byte{{doOpen}, {doFiles, fileLink}, {doOpen, 1, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 9}, {doAcquire, 12}, {doAcquire, 17}, {doFiles, fileUnlink}, {doSleep, 4}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"renamed away and over", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doFiles, fileRename}, {doTry, 5}, {doSleep, 4}, {doAcquire, 5}, {doRelease}, {doTry}, {doRelease}, {doRelease}}},
	{"renamed away while others wait", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFiles, fileRename}, {doForeign}, {doRelease}}},
	{"renamed away before a hand-over", [][3]byte{{doOpen}, {doFiles, fileRename}, {doSleep, 3}, {doTry}, {doAcquire, 4}, {doRelease}, {doRelease}}},
	{"directory deleted", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileRemoveDir}, {doForeign}, {doTry}, {doOpen, 1}, {doFiles, fileMakeDir}, {doTry}, {doRelease}}},
	{"deleted while it is reopened", [][3]byte{{doOpen}, {doFiles, fileUnlink}, {doSlow, 6}, {doAcquire}, {doAcquire, 4}, {doClose}, {doGoOn}}},
	{"every call fails", [][3]byte{{doOpen}, {doFail}, {doTry}, {doFail, 4}, {doTry}, {doForeign}, {doFail, 1}, {doAcquire}, {doFail, 2}, {doAcquire, 4}, {doAcquire, 8}, {doForeign}, {doFail, 3}, {doSleep, 2}, {doRelease}, {doTry}, {doRelease}, {doSleep, 4}, {doFail, 5}, {doTry}, {doFail, 6}, {doFiles, fileUnlink}, {doTry}, {doTry}, {doFail, 8}, {doDup}, {doRelease}, {doFail, 7}, {doClose}}},
	{"unlock fails, with a queue", [][3]byte{{doOpen}, {doOpen, 1}, {doFiles, fileLink}, {doOpen, 2, 1}, {doTry}, {doAcquire, 5}, {doAcquire, 10}, {doAcquire, 12}, {doSleep, 2}, {doSlow, 8}, {doDup}, {doFail, 3}, {doRelease}, {doGoOn}, {doRelease}, {doRelease}, {doRelease}}},
	{"unlock fails, draining", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doFail, 3}, {doForeign}, {doTry}, {doRelease}}},
	{"everything slow", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doSlow}, {doAcquire}, {doTry, 4}, {doAcquire, 8}, {doCancel, 1}, {doTry, 5}, {doSleep, 5}, {doGoOn}, {doSlow, 3}, {doRelease}, {doRelease}, {doAcquire, 4}, {doTry, 9}, {doSleep, 5}, {doGoOn}, {doRelease}}},
	{"the slice ends", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doForeign}, {doForeign, 0, 3}, {doAcquire, 4}, {doRelease}, {doAcquire, 8}, {doSleep, 2}, {doRelease}, {doForeign}, {doRelease}, {doAcquire, 12}, {doSleep, 2}, {doRelease}, {doAcquire}, {doSleep, 1}, {doRelease}}},
	{"the slice ends, and somebody tries", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doForeign}, {doSleep, 2}, {doRelease}, {doTry}, {doRelease}}},
	{"no room for threads", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doNoThreads}, {doForeign}, {doForeign, 1, 1}, {doAcquire}, {doBlocking, 5}, {doAcquire, 8}, {doSleep, 4}, {doCancel}, {doForeign, 1}, {doSleep, 4}, {doNoThreads}, {doSleep, 5}, {doForeign}, {doRelease}, {doRelease}}},
	{"nobody left for the poller", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doSleep, 3}, {doCancel}, {doDrain}, {doAcquire}, {doClose}, {doForeign}, {doSleep, 4}, {doOpen}, {doTry}}},
}

func FuzzEngine(f *testing.F) {
	names := make(map[string]string)
	for _, s := range schedules {
		var data []byte
		for _, event := range s.events {
			data = append(data, event[:]...)
		}
		names[string(data)] = s.name
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) { play(t, names[string(data)], data) })
	})
}

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
	moved               bool
	handedOver          map[*entry]uint64
	// taken is when the kernel's lock was last taken, at the latest.
	taken map[*entry]time.Time
	// givenBack says that an acquire failed since the event, perhaps with the lock.
	givenBack  bool
	turnedAway uint64
	// changed is when a path was last given to another file.
	changed map[string]time.Time

	history strings.Builder

	mu      sync.Mutex // guards the following, for the hook
	failing map[string]*fuzzError
	slow    map[string]bool
	hanging []hangingCall
	pausing int
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
	manner    manner
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

	// What is known beforehand.
	reentrant, cancelled, closed bool
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

func play(t *testing.T, name string, data []byte) {
	k := newFakeKernel()
	w := &world{
		T: t, k: k, reg: newRegistry(k),
		acquired: make(map[*entry]uint64), cancelled: make(map[*entry]uint64),
		handedOver: make(map[*entry]uint64), taken: make(map[*entry]time.Time),
		changed: make(map[string]time.Time),
		failing: make(map[string]*fuzzError), slow: make(map[string]bool),
	}
	k.setHook(w.hook)
	w.log("schedule %q", name)
	for i := range w.goroutines {
		g := &w.goroutines[i]
		g.work = make(chan func())
		go func() {
			g.id = goid.Get()
			for work := range g.work {
				work()
			}
		}()
	}
	synctest.Wait()
	for i := 0; len(data) >= 3 && i < maxEvents; i++ {
		what, a, b := data[0]%numEvents, int(data[1]), int(data[2])
		data = data[3:]
		w.event(what, a, b)
		if what != doCancelAnd {
			w.settle()
		}
	}
	w.settle()
	w.end()
}

// hook is the kernel's.
func (w *world) hook(call, path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if call == "pause" {
		w.pausing++
		w.mu.Unlock()
		time.Sleep(asideTime)
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
	if err := w.failing[call]; err != nil {
		delete(w.failing, call)
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

// event makes one thing happen, if it can.
func (w *world) event(what byte, a, b int) {
	slot := a % numSlots
	l := w.slots[slot]
	path := fuzzPaths[b%numPaths]
	switch what {
	case doOpen:
		if (l == nil || l.closed) && !w.opening[slot] {
			w.open(slot, path)
		}
	case doClose:
		if l != nil {
			w.close(slot, l)
		}
	case doAcquire:
		w.acquire(slot, a/numSlots, parking, b%numContexts)
	case doTry:
		w.acquire(slot, a/numSlots, trying, ctxPlain)
	case doBlocking:
		w.acquire(slot, a/numSlots, blocking, ctxPlain)
	case doCancel:
		w.cancel(a, false)
	case doCancelAnd:
		w.cancel(a, true)
	case doRelease:
		w.release(a, b%2 == 1)
	case doDetach:
		if len(w.holds) > 0 {
			i := a % len(w.holds)
			w.log("detach hold %d", i)
			w.holds[i].Detach()
			w.holds[i].owner = nil
		}
	case doCheck:
		w.checkHold(a, b%2 == 1)
	case doDup:
		w.dup(a, b%2 == 1)
	case doDrain:
		if l != nil {
			w.drain(slot, l, b%numContexts)
		}
	case doForeign:
		w.foreign(a%numForeigners, path, b/numPaths%2 == 1)
	case doFiles:
		w.mischief(a%numFileMischief, b%numPaths)
	case doFail:
		call := fuzzCalls[a%len(fuzzCalls)]
		w.log("the next %s fails", call)
		w.frozen(func() { w.failing[call] = &fuzzError{call: call} })
	case doSlow:
		call := fuzzCalls[a%len(fuzzCalls)]
		w.log("the next %s does not return", call)
		w.frozen(func() { w.slow[call] = true })
	case doGoOn:
		w.goOn(a)
	case doSleep:
		d := fuzzSleeps[a%len(fuzzSleeps)]
		w.log("%v pass", d)
		time.Sleep(d)
	case doNoThreads:
		w.noThreads = !w.noThreads
		w.log("no room for threads: %t", w.noThreads)
		if w.noThreads {
			w.mostThreads = w.reg.threads.n.Load()
			w.reg.threads.n.Add(maxParked)
		} else {
			w.reg.threads.n.Add(-maxParked)
		}
	}
}

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
		w.slots[slot] = &fuzzLock{Lock: l, entry: l.entry.Load()}
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
			case a.manner == blocking && l.Lock.entry.Load().turn == turnBlocked:
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

func (w *world) acquire(slot, which int, manner manner, kind int) {
	l := w.slots[slot]
	g := &w.goroutines[which%numGoroutines]
	if l == nil || g.busy {
		return
	}
	e := l.Lock.entry.Load()
	a := &fuzzAcquire{seq: w.seq, lock: l, arrival: e, goroutine: g, manner: manner, closed: l.closed}
	a.what = fmt.Sprintf("acquire %d: of slot %d, goroutine %d, %s", a.seq, slot, which%numGoroutines,
		[...]string{parking: "Acquire", blocking: "AcquireBlocking", trying: "TryAcquire"}[manner])
	w.seq++
	call := func() (*Hold, error) { return l.TryAcquire() }
	switch manner {
	case parking:
		a.ctx = w.context(kind)
		a.cancelled = a.ctx.Err() != nil
		a.what += fmt.Sprintf(", context %d", kind)
		call = func() (*Hold, error) { return l.Acquire(a.ctx) }
	case blocking:
		call = func() (*Hold, error) { return l.AcquireBlocking() }
	}
	a.reentrant = w.itself(a)
	w.frozen(func() { a.rivals = w.rivals(l) })
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

// frozen calls look with all that it may look at locked: without it, the race
// detector would not know that whoever goes on because of the time does so after
// look.
func (w *world) frozen(look func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reg.mu.Lock()
	defer w.reg.mu.Unlock()
	entries := w.entries()
	for _, e := range entries {
		e.mu.Lock()
	}
	w.k.mu.Lock()
	defer func() {
		w.k.mu.Unlock()
		for _, e := range entries {
			e.mu.Unlock()
		}
	}()
	look()
}

// entries returns all that are of interest, each once.
func (w *world) entries() []*entry {
	var entries []*entry
	add := func(e *entry) {
		if !slices.Contains(entries, e) {
			entries = append(entries, e)
		}
	}
	for _, e := range w.reg.entries {
		add(e)
	}
	for _, l := range w.slots {
		if l != nil {
			add(l.Lock.entry.Load())
		}
	}
	for _, h := range w.holds {
		add(h.entry)
	}
	for _, a := range w.acquires {
		add(a.lock.Lock.entry.Load())
	}
	return entries
}

// The following are for use in frozen only.

// rivals reports whether somebody has the lock of l, or is about to, or has
// that of the file at its path.
func (w *world) rivals(l *fuzzLock) bool {
	e := l.Lock.entry.Load()
	inodes := []*fakeInode{e.file.(*fakeFile).inode, w.k.files[l.path]}
	for _, other := range w.reg.entries {
		if other.turn != turnFree && slices.Contains(inodes, other.file.(*fakeFile).inode) {
			return true
		}
	}
	return e.turn != turnFree || slices.ContainsFunc(inodes, func(i *fakeInode) bool { return i != nil && i.locked != nil })
}

// itself reports whether what the acquire is for is held by its own goroutine, or
// by a hold that its context is marked by.
func (w *world) itself(a *fuzzAcquire) bool {
	return slices.ContainsFunc(w.holds, func(h *fuzzHold) bool {
		mine := h.owner == a.goroutine || a.ctx != nil && slices.Contains(a.ctx.marks, h)
		return mine && h.entry == a.lock.Lock.entry.Load()
	})
}

// queued returns the entry in whose queue the acquire is, if it is in one.
func (w *world) queued(a *fuzzAcquire) *entry {
	e := a.lock.Lock.entry.Load()
	for q := e.queue.sentinel.next; q != &e.queue.sentinel; q = q.next {
		if q.owner == a.goroutine.id {
			return e
		}
	}
	return nil
}

// calling reports whether a call is under way that belongs to no file: then who
// makes it may have the turn of any entry.
func (w *world) calling() bool {
	return w.pausing > 0 || w.hangs("open", "sameAt", "close")
}

// hangs reports whether one of the calls does not return.
func (w *world) hangs(calls ...string) bool {
	return slices.ContainsFunc(w.hanging, func(h hangingCall) bool { return slices.Contains(calls, h.call) })
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
	w.start("check "+name, nil, h.Check, func(err error) {
		lost := w.k.inode(h.Path()) != h.inode
		if again || lost || err != nil {
			w.explained(err, "check", h.Path(), func(err error) bool {
				return again && errors.Is(err, ErrReleased) || lost && errors.Is(err, ErrLost)
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
		f.letGo()
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

// explained checks that an error is an *fs.PathError of the operation, and one
// that was to be expected: one that the kernel gave, and to nobody else, or one
// that the caller knows.
func (w *world) explained(err error, op, path string, expected func(err error) bool) {
	pathErr, ok := err.(*fs.PathError)
	if !ok || pathErr.Op != op || pathErr.Path != path {
		w.fail("%v is no error of %s on %s", err, op, path)
	}
	if injected := (*fuzzError)(nil); errors.As(err, &injected) {
		if !injected.seen || injected.delivered {
			w.fail("%v comes from nowhere, or twice", err)
		}
		injected.delivered = true
	} else if !expected(err) {
		w.fail("unexpected: %v", err)
	}
}

// endOf reports whether err is as it has to be when ctx has ended.
func (w *world) endOf(ctx *fuzzContext, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ErrCancelled) && errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx))
}

// acquireDone checks the outcome of an acquire that has returned.
func (w *world) acquireDone(a *fuzzAcquire) {
	a.goroutine.busy = false
	l := a.lock
	if a.err != nil {
		if errors.Is(a.err, ErrCancelled) {
			w.cancelled[l.Lock.entry.Load()]++
		}
		w.givenBack = true
		w.explained(a.err, "acquire", l.path, func(err error) bool {
			switch {
			case errors.Is(err, ErrCancelled):
				return a.ctx != nil && w.endOf(a.ctx, err)
			case errors.Is(err, fs.ErrClosed):
				return l.closed
			case errors.Is(err, ErrReentrant):
				return a.itself // at first, or where it was led since
			case errors.Is(err, ErrBusy):
				return a.manner == trying && a.rivals
			case errors.Is(err, fs.ErrNotExist):
				return a.gone
			}
			return false
		})
		var want error
		switch {
		case a.cancelled:
			want = ErrCancelled
		case a.ctx != nil && a.ctx.Err() != nil: // which may have been noticed or not
		case a.closed:
			want = fs.ErrClosed
		case a.reentrant:
			want = ErrReentrant
		}
		if want != nil && !errors.Is(a.err, want) {
			w.fail("%s: %v, want %v", a.what, a.err, want)
		}
		if a.hold != nil {
			w.fail("%s: a hold with an error", a.what)
		}
		return
	}
	switch {
	case a.over || a.cancelled || a.ctx != nil && a.ctx.endedBefore(a.returned):
		w.fail("%s: succeeded, though its context had ended", a.what)
	case a.closed || a.inVain:
		w.fail("%s: succeeded, though closed", a.what)
	case a.reentrant:
		w.fail("%s: succeeded, though held by itself", a.what)
	}
	e := a.hold.entry
	f := e.file.(*fakeFile)
	w.acquired[e]++
	n := e.counts.handedOver.Load()
	handedOver := n > w.handedOver[e]
	w.handedOver[e] = n
	if !handedOver || w.taken[e].IsZero() || w.givenBack {
		// In the latter cases, somebody may just have had it who did not want it.
		w.taken[e] = a.returned
	} else if had := a.returned.Sub(w.taken[e]); had >= sliceTime && !a.slow {
		w.fail("%s: handed over, though the process has had the lock for %v", a.what, had)
	}
	w.holds = append(w.holds, &fuzzHold{a.hold, a.goroutine, f.inode})
	w.log("%s: succeeds", a.what)
	for _, b := range w.acquires {
		sameFile := b.lock.path == l.path || a.arrival == e && b.lock.Lock.entry.Load() == e
		// One that fails may still be closing a file.
		waits := b.manner != trying && !b.done.Load() && !w.hangs("close")
		if b.seq < a.seq && waits && b.arrival == a.arrival && sameFile {
			w.fail("%s overtook %s", a.what, b.what)
		}
	}
	if w.k.files[l.path] != f.inode && !a.slow {
		age := a.returned.Sub(w.changed[l.path])
		switch {
		case handedOver && age > handOverLookAge, !handedOver && a.waited, age > lookAge:
			w.fail("%s: got a file that was lost for %v", a.what, age)
		case !handedOver && f.inode.links == 0:
			w.fail("%s: got a file without a name", a.what)
		}
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
		}
	})
	for _, l := range w.slots {
		if l != nil && l.Lock.entry.Load() != l.entry {
			l.entry = l.Lock.entry.Load()
			w.moved = true
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

// check checks the state, in which everybody is where it can get.
func (w *world) check() {
	calling := w.calling()
	for id, e := range w.reg.entries {
		if e.id != id || e.dead || e.closed {
			w.fail("%s: an entry that does not belong into the registry", e.file.(*fakeFile).path)
		}
		if len(e.locks) == 0 && e.turn == turnFree && e.pins == 0 {
			w.fail("%s: an entry that nobody uses", e.file.(*fakeFile).path)
		}
	}
	for _, l := range w.slots {
		if l == nil || l.closed {
			continue
		}
		if _, ok := l.entry.locks[l.lock]; !ok {
			w.fail("%s: an open Lock that its entry does not know", l.path)
		}
		if !l.entry.dead && w.reg.entries[l.entry.id] != l.entry {
			w.fail("%s: the entry of an open Lock that the registry does not know", l.path)
		}
		w.checkStats(l)
	}
	for i, h := range w.holds {
		twice := slices.ContainsFunc(w.holds[:i], func(other *fuzzHold) bool { return other.inode == h.inode })
		if twice || h.entry.hold != h.Hold || h.inode.locked != h.entry.file.(*fakeFile) {
			w.fail("%s: a live hold that does not exclude", h.Path())
		}
	}

	waiting := int32(0)
	for _, e := range w.entries() {
		w.checkEntry(e, calling)
		if e.turn == turnParked || e.turn == turnBlocked {
			waiting++
		}
	}
	if w.noThreads {
		if waiting > w.mostThreads {
			w.fail("%d threads, %d more than there is room for", waiting, waiting-w.mostThreads)
		}
		w.mostThreads = waiting
		waiting += maxParked
	}
	if n := w.reg.threads.n.Load(); n != waiting {
		w.fail("%d threads counted, want %d", n, waiting)
	}
	if len(w.hanging) == 0 && w.k.nopen != len(w.reg.entries) {
		w.fail("%d descriptors, %d entries", w.k.nopen, len(w.reg.entries))
	}

	for _, a := range w.acquires {
		e := w.queued(a)
		switch {
		case w.hangs("close"):
			// It may be closing the lost file that it comes from.
		case a.tie && w.hangs("unlock"):
			// It is giving back what it was granted.
		case a.cancelled || a.closed || a.reentrant:
			w.fail("%s: has not returned at once", a.what)
		case e != nil && a.ctx != nil && a.ctx.Err() != nil:
			w.fail("%s: is queued, though its context has ended", a.what)
		case e != nil && w.itself(a):
			w.fail("%s: waits for itself", a.what)
		case e != nil && a.manner != trying:
		case a.manner == blocking && a.lock.Lock.entry.Load().turn == turnBlocked:
		case calling && a.manner != trying || len(w.hanging) > 0:
		default:
			w.fail("%s: is forgotten", a.what)
		}
	}
	for _, task := range w.others {
		if task.ctx == nil && len(w.hanging) == 0 {
			w.fail("%s: has not returned", task.what)
		}
		if task.ctx != nil && task.ctx.Err() != nil {
			w.fail("%s: has not returned, though its context has ended", task.what)
		}
	}
}

// checkEntry checks what holds of an entry as long as no goroutine runs.
func (w *world) checkEntry(e *entry, calling bool) {
	f := e.file.(*fakeFile)
	bad := func(format string, args ...any) {
		w.fail("%s, turn %d, %d queued, in call %q: %s", f.path, e.turn, e.queue.n, f.inCall, fmt.Sprintf(format, args...))
	}
	n := 0
	for q := e.queue.sentinel.next; q != &e.queue.sentinel; q = q.next {
		if n++; q.next.prev != q || q.prev.next != q {
			bad("the queue is no ring")
		}
		if _, ok := e.locks[q.lock]; !ok || q.lock.closed || q.lock.entry.Load() != e {
			bad("somebody is queued who does not belong here")
		}
	}
	if n != e.queue.n {
		bad("%d are in the queue", n)
	}
	for l := range e.locks {
		if l.closed || l.entry.Load() != e {
			bad("it has a Lock that does not belong here")
		}
	}
	if e.drained != nil && !e.drainingLocked() {
		bad("somebody waits for the end of a draining that has ended")
	}

	mine := f.inode.locked == f
	if !mine {
		delete(w.taken, e)
	}
	if e.dead && e.pins > 0 {
		mine = false // until it is closed, which puts an end to that
	}
	switch e.turn {
	case turnFree:
		if n > 0 || e.hold != nil || mine || f.inCall != "" {
			bad("the turn is free, and somebody is waiting for it or has something")
		}
	case turnTaken:
		held := e.hold != nil && slices.ContainsFunc(w.holds, func(h *fuzzHold) bool { return h.Hold == e.hold })
		switch {
		case held && !mine:
			bad("a hold without the lock")
		case held && f.inCall != "":
			bad("a call while the lock is held")
		case !held && !calling && f.inCall == "":
			bad("the turn is lost")
		}
	case turnBlocked, turnParked:
		switch {
		case e.hold != nil || f.inCall != "block":
			bad("who should wait in the kernel does not")
		case !w.hangs("block", "blocked") && (f.inode.locked == nil || mine):
			bad("the lock is free, and it still waits")
		}
	case turnPolled:
		if e.hold != nil || f.inCall != "" && f.inCall != "try" || n == 0 && !calling && f.inCall == "" {
			bad("it should not poll")
		}
	case turnDraining:
		if e.hold != nil || f.inCall != "unlock" && !calling {
			bad("it should not be draining")
		}
	}
}

func (w *world) checkStats(l *fuzzLock) {
	s := l.stats
	bad := s.HandedOver > s.Contended || s.Contended > s.Acquired || s.Draining && !s.Parked ||
		s.Adopted+s.Drained > s.Cancelled+w.turnedAway
	if l.before.Draining && s.Parked && !s.Draining && s.KernelWaits == l.before.KernelWaits {
		bad = bad || s.Adopted == l.before.Adopted
	}
	if !w.moved {
		bad = bad || s.Acquired < w.acquired[l.entry] || s.Cancelled < w.cancelled[l.entry] || s.Reopened > 0
	}
	if len(w.hanging) == 0 && w.pausing == 0 {
		waiting := 0
		for _, a := range w.acquires {
			if a.lock.entry == l.entry {
				waiting++
			}
		}
		bad = bad || s.Waiting != waiting || s.Draining && s.Waiting > 0
		if !w.moved {
			bad = bad || s.Acquired != w.acquired[l.entry] || s.Cancelled != w.cancelled[l.entry]
		}
	}
	if bad {
		w.fail("%s: impossible: %+v\nacquired %d, cancelled %d, moved %t, turned away %d, under way %d", l.path, s,
			w.acquired[l.entry], w.cancelled[l.entry], w.moved, w.turnedAway, len(w.acquires))
	}
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
		time.Sleep(pollMax + asideTime)
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
