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
//   - A writer that is alive renews its announcement each second. One that is older is that of
//     a writer that was stopped. Readers ignore it from then on.
//   - Readers yield for no longer than maxYield in a row, because a holder in another process
//     may wait for one of them.
//   - For writers that do not announce themselves, the group closes once in groupSlice. Then
//     this process does not hold the lock for a moment.
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

	// awaiting is set while a goroutine waits for the writer that the group has closed for.
	awaiting bool

	// closedAt is when the group closed, and drain how long it then took until its last
	// member left.
	closedAt int64
	drain    time.Duration
}

const (
	// To ask takes some 0.6 µs.
	askInterval = time.Millisecond

	// A writer renews its announcement once in watchInterval.
	announcementAge = watchInterval

	maxYield = 10 * time.Second

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
	if at != c.at {
		if c.yieldingSince != 0 && age(t, c.foundAt) < 2*yieldMax && age(t, c.atSince) < announcementAge-announcementAge/10 {
			// The writer had the lock, or gave up. It is the readers' turn.
			c.served()
			return false
		}
		c.at, c.atSince = at, t
	}
	c.foundAt = t
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

// foundNone notes that there is no announcement, but perhaps stale ones.
func (c *courtesy) foundNone(staleOnes bool) {
	c.served()
	if !staleOnes {
		c.stale = nil
	}
}

// shouldClose reports whether a group that opened at the given time should close at time t.
func (c *courtesy) shouldClose(opened, t int64) bool {
	return time.Duration(t-opened) >= max(groupSlice, drainShare*c.drain)
}

// drained notes that the last member of a group that had closed has left at time t.
func (c *courtesy) drained(t int64) {
	c.drain = age(t, c.closedAt)
	c.mustAsk = true
}
