package packlock

import (
	"sync/atomic"
	"time"
)

// Stats is what a Lock's sidecar has seen in this process. It is shared by
// every Lock on the sidecar; the counts are since it was first opened, and are
// forgotten with the last Lock, hold and parked thread.
type Stats struct {
	Acquired    uint64 // holds granted
	Contended   uint64 // of those, the ones that had to wait
	HandedOver  uint64 // of those, passed on inside the process without letting go of the kernel's lock
	KernelWaits uint64 // blocking waits begun on a dedicated thread
	Cancelled   uint64 // acquires given up because their ctx ended
	Adopted     uint64 // parked waits taken over after everyone they were begun for had given up, each time
	Drained     uint64 // parked waits that were granted with nobody left to take them, and released at once
	Reopened    uint64 // times the sidecar was found deleted or replaced
	Waiting     int    // goroutines queued now
	Parked      bool   // a thread is parked in the kernel now
	Draining    bool   // Parked, and nobody waits for it

	WaitTime    time.Duration // of the Contended, together
	LongestWait time.Duration // of these
}

// stats is Lock.Stats.
func (l *lock) stats() Stats {
	e := l.lockEntry()
	waiting := e.queue.n
	if e.turn == turnBlocked {
		waiting++
	}
	parked := e.turn == turnParked || e.turn == turnUnlocking
	draining := e.drainingLocked()
	e.mu.Unlock()
	c := &e.counts
	return Stats{
		Acquired:    c.acquired.Load(),
		Contended:   c.contended.Load(),
		HandedOver:  c.handedOver.Load(),
		KernelWaits: c.kernelWaits.Load(),
		Cancelled:   c.cancelled.Load(),
		Adopted:     c.adopted.Load(),
		Drained:     c.drained.Load(),
		Reopened:    c.reopened.Load(),
		Waiting:     waiting,
		Parked:      parked,
		Draining:    draining,
		WaitTime:    time.Duration(c.waitTime.Load()),
		LongestWait: time.Duration(c.longestWait.Load()),
	}
}

// counters are the counts of Stats.
type counters struct {
	acquired, contended, handedOver atomic.Uint64
	kernelWaits, cancelled          atomic.Uint64
	adopted, drained, reopened      atomic.Uint64

	waitTime, longestWait atomic.Int64 // nanoseconds
}

// waited counts a wait that is over.
func (c *counters) waited(d int64) {
	c.waitTime.Add(d)
	c.maxLongestWait(d)
}

// maxLongestWait raises longestWait to d. An acquire does so, and at the same time a
// move may, with the counts of the lost file.
func (c *counters) maxLongestWait(d int64) {
	for {
		longest := c.longestWait.Load()
		if d <= longest || c.longestWait.CompareAndSwap(longest, d) {
			return
		}
	}
}

// take takes over what from counts: the history of a lock file that was lost
// goes on with the file that took its place, and comes back with it if the lost one
// does.
func (c *counters) take(from *counters) {
	c.acquired.Add(from.acquired.Swap(0))
	c.contended.Add(from.contended.Swap(0))
	c.handedOver.Add(from.handedOver.Swap(0))
	c.kernelWaits.Add(from.kernelWaits.Swap(0))
	c.cancelled.Add(from.cancelled.Swap(0))
	c.adopted.Add(from.adopted.Swap(0))
	c.drained.Add(from.drained.Swap(0))
	c.reopened.Add(from.reopened.Swap(0))
	c.waitTime.Add(from.waitTime.Swap(0))
	c.maxLongestWait(from.longestWait.Swap(0))
}
