package packlock

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"packlock/internal/proclocks"
)

// Stats describes the use of a lock file in this process, by all Locks of the file. The
// counts begin when the first of them is opened, and are forgotten with the last Lock,
// hold and parked thread.
type Stats struct {
	Acquired    uint64 // holds granted
	Contended   uint64 // of those, the ones that had to wait
	HandedOver  uint64 // of those, the ones that were handed over in the process, without a release of the kernel's lock
	KernelWaits uint64 // blocking waits begun on a dedicated thread
	Cancelled   uint64 // acquires that failed because their ctx ended
	Adopted     uint64 // times that an acquire adopted an orphaned wait
	Drained     uint64 // orphaned waits that were granted the lock, and released it at once
	Reopened    uint64 // times that the lock file was found lost
	Waiting     int    // goroutines that wait now
	Parked      bool   // a thread, or two, are parked in the kernel now
	Draining    bool   // one of them without a waiter: an orphaned wait
	SharedHolds int    // live shared holds

	WaitTime    time.Duration // of all Contended
	LongestWait time.Duration // of one of them
}

// stats is Lock.Stats.
func (l *lock) stats() Stats {
	e := l.lockEntry()
	waiting := e.queue.n
	if e.turn == turnBlocked {
		waiting++
	}
	parked := e.turn == turnParked || e.turn == turnUnlocking || e.orphan.file != nil
	sharedHolds := e.group.n
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
		SharedHolds: sharedHolds,
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

// A Process is one that holds a lock.
type Process struct {
	PID     int       // 0 if it cannot be named: in another pid namespace, or another user's that inherited the lock
	Name    string    // its command name
	Args    []string  // its command line, whole and unshortened; nil if not known
	Started time.Time // on the clock of time.Now, to hundredths of a second; zero if not known
	Self    bool      // it is this process
	Stopped bool      // by a signal, as after Ctrl-Z: it releases nothing until it is continued
	Shared  bool      // it has the lock shared
}

// holders is Lock.Holders.
func (l *lock) holders() ([]Process, error) {
	path := l.path
	if l.options.anyFile {
		if followed, err := filepath.EvalSymlinks(path); err == nil {
			path = followed
		}
	}
	file, err := proclocks.Name(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil // nothing is at the path, or what leads there is a file
	}
	var tables *proclocks.Tables
	if err == nil {
		tables, err = proclocks.Read(file)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "holders", Path: l.path, Err: err}
	}
	var holders []Process
	for _, p := range tables.Holders(file) {
		holders = append(holders, Process(p))
	}
	return holders, nil
}
