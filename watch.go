package packlock

import "time"

// A watch looks after those who are queued at an entry. It is a timer, one for all
// of them, that runs as long as there are any. It looks at the path (orphan.go) and
// for circles (deadlock.go). It is guarded by the entry's mu.
type watch struct {
	pace pace

	// round is which timer counts, and due when it fires. One that was made in a
	// testing/synctest bubble may never fire, nor be stopped from outside.
	round uint64
	due   int64

	// queued counts those who have queued up.
	queued uint64

	// hold is whose turn it was when the watch last came by, and seen was queued
	// then.
	hold *Hold
	seen uint64

	// searched is how many of queued the last search for circles has taken account of.
	searched uint64
}

// pace is how often a watch comes by.
type pace uint8

const (
	resting pace = iota // not at all
	slow                // every watchTime: another process is waited for
	quick               // every circleTime: it may be goroutines that wait for each other
)

const (
	// A look at a path takes a microsecond or two, so that the watches of a
	// thousand packs cost some thousandth of a processor.
	watchTime = time.Second

	// Who has waited in a circle for less may be about to be cancelled.
	circleTime = 100 * time.Millisecond
)

// watchLocked has the watch come by for somebody who has queued up, and has waited
// since the given time.
func (e *entry) watchLocked(since int64) {
	w := &e.watch
	w.queued++
	pace := slow
	if e.turn == turnTaken {
		pace = quick
	}
	comes := func(t int64) bool {
		until := time.Duration(w.due - t)
		return w.pace >= pace && -watchTime < until && until <= watchTime
	}
	if comes(since) {
		return
	}
	t := now() // who has waited for long would put the watch off for the others
	if comes(t) {
		return
	}
	w.hold, w.seen = e.attachedLocked(), w.queued
	e.setPaceLocked(pace, t)
}

// setPaceLocked has the watch come by once, after the time that belongs to pace. It
// is time t.
func (e *entry) setPaceLocked(pace pace, t int64) {
	after := watchTime
	if pace == quick {
		after = circleTime
	}
	w := &e.watch
	w.pace = pace
	w.due = t + int64(after)
	w.round++
	round := w.round
	time.AfterFunc(after, func() { e.comeBy(round) })
}

// comeBy is the watch coming by, for the round-th time.
func (e *entry) comeBy(round uint64) {
	e.mu.Lock()
	if e.watch.round != round || e.queue.n == 0 {
		if e.watch.round == round {
			e.watch.pace = resting
		}
		e.mu.Unlock()
		return
	}
	t := now()
	search := e.searchIsDueLocked()
	pace := slow
	if e.turn == turnTaken && e.owner != 0 && e.watch.seen > e.watch.searched {
		pace = quick
	}
	unseen := e.unseenLocked(t, pace)
	e.setPaceLocked(pace, t)
	e.mu.Unlock()

	if search {
		e.reg.breakCircles(t)
	}
	for _, l := range unseen { // the last, as it may hang
		if l.looking.CompareAndSwap(false, true) {
			l.lookFrom(e) // what cannot be found out now is found out the next time
		}
	}
}

// unseenLocked returns a Lock for each path to the entry that is to be looked at,
// at time t: one that would not be for watchTime if it was left to the next time.
func (e *entry) unseenLocked(t int64, next pace) map[string]*lock {
	trusted := lookAge
	if next == quick {
		trusted = watchTime - circleTime
	}
	byPath := make(map[string]*lock)
	for l := range e.locks {
		if age := time.Duration(t - l.looked.Load()); age > trusted || age < 0 {
			byPath[l.path] = l
		}
	}
	return byPath
}

// searchIsDueLocked reports whether somebody who had queued up when the watch last
// came by waits for a hold that there was then already, and no search has taken
// account of it. Who closes a circle is the last to queue up in it, and does so at a
// hold that stays.
func (e *entry) searchIsDueLocked() bool {
	w := &e.watch
	h := e.attachedLocked()
	due := h != nil && h == w.hold && w.seen > w.searched
	w.hold, w.seen = h, w.queued
	return due
}
