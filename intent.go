package packlock

import (
	"sync"
	"sync/atomic"
	"time"
)

// An exclusive waiter that waits in the kernel announces itself to the readers of other
// processes on a byte far behind the end of the lock file, and they stay out until the
// announcement is gone (courtesy.go). If there is a rival, it does so already when it waits
// for the readers of its own process: both drain at the same time. When the last one gives up,
// the announcement is withdrawn, though the thread stays parked.
//
// It is put up by a description of its own, which no child of this process gets: when
// the process is killed, the announcement is gone. Announcing and withdrawing are made
// one after the other, each by whatever is wanted at the time. So a late withdrawal never
// takes the announcement of a newer waiter.

// An intent is an entry's part in that.
type intent struct {
	// wanted is set while an exclusive waiter should have an announcement. It is written
	// under the entry's mu.
	wanted atomic.Bool

	// notHere is set when the system or the file system has no announcements.
	notHere atomic.Bool

	mu sync.Mutex // guards the following; held across calls of board, and locked after no other mutex
	// board is nil until it is needed.
	board board
	// up is set while there is an announcement.
	up bool
	// renewing is set while the announcement is away to be renewed.
	renewing bool
	// closed is set when board will not be used any more.
	closed bool
}

// setWantedLocked notes whether an exclusive waiter should have an announcement now. It
// reports whether that has changed: then the caller must see to it that updateIntent is
// called.
func (e *entry) setWantedLocked() bool {
	wanted := false
	w := e.queue.first()
	writer := w != nil && !w.hold.shared && !w.lock.options.anyFile
	switch e.turn {
	case turnBlocked:
		return false // for as long as it waits
	case turnShared:
		wanted = writer && e.fair.rival(now())
	case turnParked, turnPolled:
		wanted = writer && !e.shared
	}
	if wanted == e.intent.wanted.Load() {
		return false
	}
	e.intent.wanted.Store(wanted)
	return true
}

// refreshIntentLocked has an announcement put up or withdrawn, if that is wanted now.
func (e *entry) refreshIntentLocked() {
	if e.setWantedLocked() {
		go e.updateIntent()
	}
}

// updateIntent announces or withdraws, as it is wanted now.
func (e *entry) updateIntent() {
	i := &e.intent
	if i.notHere.Load() {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.renewing = i.renewing && i.wanted.Load()
	for wanted := i.wanted.Load(); wanted != i.up; wanted = i.wanted.Load() {
		if !wanted {
			i.withdrawLocked()
			i.renewing = false
			continue
		}
		if i.closed || !e.openBoard() || !i.check(i.board.announce(i.renewing)) {
			return // renewIntent tries again
		}
		i.up, i.renewing = true, false
	}
}

// withdrawIntent withdraws the announcement of an exclusive waiter that has the turn and the
// lock, if it has one still.
func (e *entry) withdrawIntent() {
	if !e.intent.wanted.Load() {
		return
	}
	e.mu.Lock()
	e.intent.wanted.Store(false)
	e.mu.Unlock()
	e.updateIntent()
}

// renewIntent takes an announcement away for a moment, and puts up a new one: a process that
// waits for a lock of the whole file by fcntl(2) gets it meanwhile, and the readers learn
// that the waiter is alive.
func (e *entry) renewIntent() {
	i := &e.intent
	i.mu.Lock()
	if i.up {
		i.withdrawLocked()
		i.renewing = true
	}
	i.mu.Unlock()
	time.AfterFunc(intentGap, e.updateIntent)
}

func (i *intent) withdrawLocked() {
	if !i.closed {
		i.check(i.board.withdraw())
	}
	i.up = false
}

// intentGap is how long an announcement that is renewed is away. A waiter that the kernel
// wakes needs some 50 µs.
const intentGap = time.Millisecond

// findIntent asks for an announcement of another process, and reports whether readers should
// yield to it.
func (e *entry) findIntent() bool {
	i := &e.intent
	if i.notHere.Load() {
		return false
	}
	e.mu.Lock()
	last, stale := e.courtesy.at, e.courtesy.stale
	e.mu.Unlock()
	i.mu.Lock()
	var at int64
	var staleOnes bool
	ok := e.openBoard()
	if ok {
		var err error
		at, staleOnes, err = i.board.find(last, stale)
		ok = i.check(err)
	}
	i.mu.Unlock()
	if !ok {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if at == 0 {
		return e.courtesy.foundNone(staleOnes, now())
	}
	return e.courtesy.found(at, now())
}

// openBoard opens the board, if it is not open yet, and reports whether there is one. The
// caller has locked the intent's mu.
func (e *entry) openBoard() bool {
	i := &e.intent
	if i.board != nil || i.closed {
		return !i.closed
	}
	path := e.boardPath()
	if path == "" {
		return false
	}
	b, err := e.file.openBoard(path)
	if !i.check(err) {
		return false
	}
	i.board = b
	return true
}

// boardPath returns a path to the file of e, "" if there is none without WithAnyFile.
func (e *entry) boardPath() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, loc := range e.locations {
		if !loc.options.anyFile {
			return loc.path
		}
	}
	return ""
}

// check notes if err says that there are no announcements here, and reports whether it is
// nil. That another process has the byte locked, or the whole file (errBusyBoard), passes.
func (i *intent) check(err error) bool {
	if err != nil && err != errBusyBoard && err != errFileLost {
		i.notHere.Store(true)
	}
	return err == nil
}

// closeIntent closes the board of an entry that is not used any more.
func (e *entry) closeIntent() {
	i := &e.intent
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	if i.board != nil {
		i.board.close()
	}
}

// yieldsToWriter reports whether a shared acquire with the turn must wait for a writer elsewhere.
func (a *acquisition) yieldsToWriter() bool {
	e := a.entry
	if e.intent.notHere.Load() || a.lock.options.anyFile {
		return false
	}
	e.mu.Lock()
	must := e.courtesy.mustAsk || e.courtesy.yieldingSince != 0
	e.courtesy.mustAsk = false
	e.mu.Unlock()
	if !e.courtesy.shouldAsk(now()) && !must || !e.findIntent() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return a.mode != trying || e.courtesy.tryYields(now())
}

// A reader that yields tries again after yieldMin at first, and then less and less often, up
// to yieldMax. That is how late it may find out that the writer is gone.
const (
	yieldMin = time.Millisecond
	yieldMax = 4 * time.Millisecond
)

// awaitWriterAfter opens a group again that has closed for a writer of another process, when
// that is gone and members are left. It checks after the delay, and then again and again.
func (e *entry) awaitWriterAfter(delay time.Duration) {
	time.AfterFunc(delay, func() {
		e.mu.Lock()
		e.courtesy.awaiting = e.turn == turnShared && e.group.closing == writerWaits
		goesOn := e.courtesy.awaiting
		e.mu.Unlock()
		switch {
		case !goesOn:
			return
		case !e.findIntent():
			e.mu.Lock()
			e.reopenGroupLocked(writerWaits, now())
			e.mu.Unlock()
		}
		e.awaitWriterAfter(min(2*delay, yieldMax))
	})
}

// startYieldLocked gives the turn to a poller that yields.
func (e *entry) startYieldLocked() {
	e.turn = turnPolled
	e.pollerStop = make(chan struct{}, 1)
	e.refreshIntentLocked()
	go e.yield()
}

// yield waits for a writer of another process to acquire the lock, on behalf of the shared
// waiters at the head of the queue. It has the turn, polled. It ends as the poller does.
func (e *entry) yield() {
	for delay := yieldMin; ; delay = min(2*delay, yieldMax) {
		e.pollerSleep(delay)
		e.mu.Lock()
		w := e.queue.first()
		if w == nil || !w.hold.shared {
			e.turn = turnTaken
			e.mu.Unlock()
			e.pass()
			return
		}
		e.mu.Unlock()
		wanted := e.findIntent()
		ok, err := e.active.try(true)
		switch {
		case err != nil, ok && !wanted:
			e.kernelWaitEnded(e.active, err)
			return
		case ok:
			if e.unlock() != nil {
				e.kernelWaitEnded(e.active, errFileLost)
				return
			}
		default:
			// The writer has it, or another one.
			e.mu.Lock()
			e.courtesy.served()
			if w := e.queue.first(); w != nil && w.hold.shared {
				e.startKernelWaitLocked(false)
				e.mu.Unlock()
				return
			}
			e.mu.Unlock()
		}
	}
}
