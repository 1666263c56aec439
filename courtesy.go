package packlock

import (
	"slices"
	"sync/atomic"
	"time"
)

// courtesy is how the readers of one process make room for writers of others. It owns the
// times that this takes and is told the clock, so there is no kernel and no goroutine in it.
// It is guarded by the entry's mu, except for askedAt.
//
// The kernel grants a shared lock while an exclusive one is waited for. So readers that
// overlap would keep a writer out forever. Therefore:
//
//   - A writer that waits in the kernel announces itself on the lock file, where that is
//     possible (intent.go). Readers ask for announcements once in askInterval, before they
//     try the kernel's lock or after they joined the group.
//   - When they find one, the group closes, and they yield: they stay out until that
//     announcement is gone or another process holds the lock exclusively. Then it is their
//     turn, also if there is another announcement by then.
//   - A writer that is alive renews its announcement each second. One that is older than
//     announcementAge is that of a writer that was stopped. Readers ignore it from then on.
//   - Readers yield for no longer than maxYield in a row, because a holder in another process
//     may wait for one of them.
//   - For writers that do not announce themselves, the group closes once in groupSlice. If it
//     drains within a fiftieth of its age, this process does not hold the lock for a moment.
//     If not, it opens again.
type courtesy struct {
	askedAt atomic.Int64

	// mustAsk is set when the group has closed: the next acquire must ask, whenever it was
	// asked last.
	mustAsk bool

	// yieldingSince is when the readers began to yield, 0 if they do not.
	yieldingSince int64

	// at is the announcement that they yield to, atSince when it was first seen, and foundAt
	// when it was last seen.
	at, atSince, foundAt int64

	// stale are the announcements that are ignored.
	stale []int64

	// missed is set when the announcement was missing once: it may be about to be renewed.
	missed bool

	// awaiting is set while a timer waits for the writer that the group has closed for, since
	// awaitedAt. A timer of a testing/synctest bubble never fires after the bubble's end.
	awaiting  bool
	awaitedAt int64

	// closedAt is when the group closed, and drain how long it then took until its last
	// member left.
	closedAt int64
	drain    time.Duration

	// reopenedAt is when a group that had closed opened again.
	reopenedAt int64
}

const (
	// To ask takes some 0.6 µs.
	askInterval = time.Millisecond

	// A writer renews its announcement once in watchInterval, or a little later.
	announcementAge = watchInterval + watchInterval/10

	// A try yields for less.
	maxYield    = 10 * time.Second
	maxTryYield = time.Second

	// An announcement that is renewed is missing for intentGap. A reader that has yielded for
	// renewalDoubt asks once more. Before, it would take too large a part of the wait.
	renewalDoubt = 50 * time.Millisecond

	// A group closes when it is as old as groupSlice, and older than drainShare times what it
	// took to drain the last time: that takes its readers a fiftieth of their time
	// at most.
	groupSlice = 100 * time.Millisecond
	drainShare = 50

	// maxStale bounds the announcements that are ignored.
	maxStale = 64
)

// shouldAsk reports whether a reader should ask for announcements at time t. If so, it is
// the only one for askInterval.
func (c *courtesy) shouldAsk(t int64) bool {
	last := c.askedAt.Load()
	return age(t, last) >= askInterval && c.askedAt.CompareAndSwap(last, t)
}

// found notes the announcement that was found at time t, and reports whether readers yield
// to it.
func (c *courtesy) found(at, t int64) bool {
	recently := c.yieldingSince != 0 && age(t, c.foundAt) < 2*yieldMax
	renewed := c.yieldingSince != 0 && at == c.at+1
	switch {
	case at == c.at:
	case !renewed && recently:
		// The writer had the lock, or gave up. It is the readers' turn.
		c.served()
		return false
	case !renewed:
		c.yieldingSince = 0
		fallthrough
	default:
		c.at, c.atSince = at, t
	}
	c.foundAt, c.missed = t, false
	if c.yieldingSince == 0 || age(t, c.yieldingSince) > maxYield+announcementAge {
		c.yieldingSince = t
	}
	if age(t, c.atSince) >= announcementAge {
		// What a reader was given must not change.
		c.stale = append(slices.Clone(c.stale[max(0, len(c.stale)-maxStale+1):]), at)
		return false
	}
	return age(t, c.yieldingSince) < maxYield
}

// served notes that the readers need not yield any longer.
func (c *courtesy) served() { c.at, c.yieldingSince = 0, 0 }

// foundNone notes that at time t there is no announcement, but perhaps stale ones. It reports
// whether readers yield nevertheless.
func (c *courtesy) foundNone(staleOnes bool, t int64) bool {
	yielded := age(t, c.yieldingSince)
	if c.yieldingSince != 0 && !c.missed && yielded >= renewalDoubt && yielded < maxYield && age(t, c.foundAt) < 2*yieldMax {
		c.missed = true
		return true
	}
	c.served()
	c.missed = false
	if !staleOnes {
		c.stale = nil
	}
	return false
}

// tryYields reports whether a try still yields at time t.
func (c *courtesy) tryYields(t int64) bool { return age(t, c.yieldingSince) < maxTryYield }

// shouldClose reports whether a group that opened at the given time should close at time t.
func (c *courtesy) shouldClose(opened, t int64) bool {
	return min(time.Duration(t-opened), age(t, c.reopenedAt)) >= max(groupSlice, drainShare*c.drain)
}

// sliceDrain returns how long a group that opened at the given time, and closes at time t,
// may take to drain before it opens again.
func sliceDrain(opened, t int64) time.Duration {
	return min(max(time.Duration(t-opened)/drainShare, yieldMin), watchInterval)
}

// drained notes that the last member of a group that had closed has left at time t.
func (c *courtesy) drained(t int64) {
	c.drain = min(age(t, c.closedAt), watchInterval)
	c.mustAsk = true
}
