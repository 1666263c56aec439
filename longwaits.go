package packlock

import (
	"sync"
	"time"
)

// longWaits is the table of waiters that have waited for deadlockAge: the edges of the
// wait-for graph, by what they wait on behalf of.
type longWaits struct {
	mu      sync.Mutex // guards the following; locked after an entry's mu
	byOwner map[uint64]*longWait
	byMark  map[*entry]map[*waiter]*longWait // the entry of a marked hold
	budget  searchBudget
	// searching is set during a search: there is one at a time.
	searching bool
}

// A longWait is a waiter in the table. The waiter may serve another acquire by the time
// the entry in the table is used, so the wait is described here.
type longWait struct {
	waiter *waiter
	lock   *lock
	hold   *Hold // in the making
	owner  uint64
	marks  *mark
	since  int64
}

// add enters a queued waiter, whose entry's mu is locked.
func (l *longWaits) add(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byOwner == nil {
		l.byOwner = make(map[uint64]*longWait)
		l.byMark = make(map[*entry]map[*waiter]*longWait)
	}
	long := &longWait{w, w.lock, w.hold, w.owner, w.marks, w.since}
	l.byOwner[w.owner] = long
	for m := w.marks; m != nil; m = m.outer {
		e := m.hold.entry
		if l.byMark[e] == nil {
			l.byMark[e] = make(map[*waiter]*longWait)
		}
		l.byMark[e][w] = long
	}
}

// remove takes out a waiter that waits no longer.
func (l *longWaits) remove(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byOwner, w.owner)
	for m := w.marks; m != nil; m = m.outer {
		e := m.hold.entry
		delete(l.byMark[e], w)
		if len(l.byMark[e]) == 0 {
			delete(l.byMark, e)
		}
	}
}

// onBehalfOf returns the waits on behalf of the holds of e.
func (l *longWaits) onBehalfOf(e *entry) (waits []*longWait) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case e.turn != turnShared && e.hold != nil:
		if w := l.byOwner[e.hold.owner]; w != nil {
			waits = append(waits, w)
		}
	case e.group.n < len(l.byOwner):
		for owner := range e.group.owners.all() {
			if w := l.byOwner[owner]; w != nil {
				waits = append(waits, w)
			}
		}
	default:
		for _, w := range l.byOwner {
			if e.ownedByLocked(w.owner) {
				waits = append(waits, w)
			}
		}
	}
	for _, w := range l.byMark[e] {
		if e.attachedToLocked(w.marks) {
			waits = append(waits, w)
		}
	}
	return waits
}

// beginSearch reports whether there may be a search at time t, which searchEnded ends. If
// not, it returns how long to wait before it is tried again.
func (l *longWaits) beginSearch(t int64) (ok bool, retry time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.budget.allows(t):
		return false, deadlockAge
	case l.searching:
		return false, deadlockAge / 100
	}
	l.searching = true
	return true, 0
}

// searchEnded notes that the search that began at time t has ended.
func (l *longWaits) searchEnded(t int64) {
	took := time.Duration(now() - t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.searching = false
	l.budget.spend(t, took)
}

const (
	// Searches take at most one in searchShare of the time, taken over searchWindow: a
	// thousand deadlocks at once are found at once.
	searchShare  = 10
	searchWindow = time.Second
)

// searchBudget bounds the time that searches take. It is told the clock.
type searchBudget struct {
	// paidUntil is up to when the time that was spent is paid for by time without a
	// search.
	paidUntil int64
}

// allows reports whether there may be a search at time t.
func (b *searchBudget) allows(t int64) bool {
	// Beyond the window it is a time on a different clock.
	debt := time.Duration(b.paidUntil - t)
	return debt <= 0 || debt > searchWindow
}

// spend notes that a search that began at time t took so long.
func (b *searchBudget) spend(t int64, took time.Duration) {
	from := b.paidUntil
	if time.Duration(t-from).Abs() > searchWindow {
		from = t - int64(searchWindow)
	}
	// A search during which the process was stopped is no reason to stop searching.
	b.paidUntil = min(from+searchShare*int64(took), t+int64(searchWindow))
}
