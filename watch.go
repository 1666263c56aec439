package packlock

import "time"

// A watch serves the waiters in an entry's queue with two alarms, each set while there is
// something to do: one checks the paths (location.go), the other searches for deadlocks
// (deadlock.go). Both are set by the first waiter that needs them. An alarm that goes off
// is set again once at most, and its work never waits: a path check has a goroutine of its
// own, one a location, and there is one search at a time. So nothing piles up when the
// process is stopped or overloaded.

const (
	// A path check takes a microsecond or two, so that the watches of a thousand packs
	// cost some thousandth of a processor.
	watchInterval = time.Second

	// A waiter that has waited for less may be about to be cancelled.
	deadlockAge = 100 * time.Millisecond
)

// An alarm is a timer that goes off once each time it is set. It is guarded by the
// entry's mu.
type alarm struct {
	// set is how often it was set. The timer of an earlier time does nothing.
	set uint64
	// due is when it goes off, if isSet.
	due   int64
	isSet bool
}

// setLocked sets the alarm to go off at an interval from time t, and then call ring with
// nothing locked. If it is set already, it does nothing.
func (a *alarm) setLocked(e *entry, t int64, interval time.Duration, ring func(*entry)) {
	// The timer of an alarm that was set in a testing/synctest bubble never fires after
	// the bubble's end. Such an alarm is overdue, or due in a future that is too far.
	// In the next bubble it looks as good as new, so the first waiter there replaces it.
	first := inBubble(t) && e.queue.n == 1
	if until := time.Duration(a.due - t); a.isSet && !first && -interval < until && until <= interval {
		return
	}
	a.set++
	set := a.set
	a.due, a.isSet = t+int64(interval), true
	time.AfterFunc(interval, func() {
		e.mu.Lock()
		current := a.set == set
		a.isSet = a.isSet && !current
		e.mu.Unlock()
		if current {
			ring(e)
		}
	})
}

// watchLocked sets the alarms for a waiter of e, at about time t.
func (e *entry) watchLocked(t int64) {
	e.pathAlarm.setLocked(e, t, watchInterval, (*entry).checkPaths)
	e.deadlockAlarm.setLocked(e, t, deadlockAge, (*entry).findDeadlocks)
}

// checkPaths checks the paths to the file for which that is due, and renews the announcement,
// while there are waiters.
func (e *entry) checkPaths() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queue.n == 0 && e.turn != turnBlocked {
		return
	}
	t := now()
	e.passOrphanLocked() // if no second description could be opened before
	if age(t, e.courtesy.closedAt) >= watchInterval {
		e.reopenGroupLocked(sliceEnded, t) // a member may wait for an acquire that waits for the group
	}
	if e.intent.wanted.Load() {
		go e.renewIntent()
	}
	e.pathAlarm.setLocked(e, t, watchInterval, (*entry).checkPaths)
	for _, loc := range e.locations {
		if e.queue.n > 0 && loc.due(t) {
			loc.checkLocked()
		}
	}
}
