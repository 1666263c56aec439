// Package contend measures how processes and goroutines contend for one lock
// file, and checks that they exclude each other while it measures.
//
// A Program starts copies of its own executable as workers, lets each run its
// goroutines against the same file through some Library, and merges what they
// report. Every worker exits when its standard input ends, so that none
// outlives the process that started it, however that one ends.
//
//	contend.go    this overview; Library, Locker, Held; Result and Figures
//	scenario.go   who contends with whom, and the set that shows what matters
//	visit.go      a crowd that shares the lock, or does not, and one visitor of the other kind
//	program.go    the processes: starting, asking, ending them
//	run.go        one run: the parent's side and the worker's
//	wakeup.go     the time from a release in one process to the hold in another
//	compare.go    alternating rounds and their medians
//	histogram.go  many durations in little memory
//	format.go     figures for people
//	page.go       what the processes of a run share
//	lockers.go, flock_*.go, ofd_*.go   the libraries of this module and the kernel's bare locks
//	shared_*.go   memory and clock that processes have in common
package contend

import (
	"context"
	"errors"
	"time"
)

// A Library is one way to lock a file.
type Library struct {
	Name string

	// Open opens the lock file at path, which exists.
	Open func(path string) (Locker, error)

	// PerGoroutine says that a Locker serves one goroutine at a time: each
	// gets its own, where otherwise those of a process share one.
	PerGoroutine bool

	// Cancels says that Lock gives up when its ctx ends.
	Cancels bool
}

// A Locker is one lock file, open. One that is an io.Closer can be closed.
type Locker interface {
	// Lock waits until the lock is the caller's. A Locker that cannot give up
	// when ctx ends ignores it.
	Lock(ctx context.Context) (Held, error)
}

// A SharedLocker is a Locker that also locks shared.
type SharedLocker interface {
	Locker

	// LockShared is Lock for a shared lock.
	LockShared(ctx context.Context) (Held, error)
}

// Held is a lock that was taken. It is an interface, and not a function, so
// that a library whose holds have such a method is measured without an
// allocation that is not its own.
type Held interface {
	Release() error
}

// ErrOverlap is returned when two held the lock at the same time, of whom not
// both did so shared.
var ErrOverlap = errors.New("no exclusion: sections overlapped")

// A Spec says what one run does.
type Spec struct {
	Library  string
	Path     string // of the lock file, which exists
	Scenario Scenario

	// Duration is how long is measured. It is preceded by a warm-up of a
	// tenth, at most maxWarmUp, that counts for nothing.
	Duration time.Duration
}

// A Result is what the processes of a run report, in the order of the
// scenario.
type Result struct {
	Scenario  Scenario
	Processes []Process
}

// Process is what one process of a run reports.
type Process struct {
	Operations uint64        // locks taken within Elapsed
	Elapsed    time.Duration // what was measured, without the warm-up
	Waits      Histogram     // the times from asking to having, but none if the scenario is Unclocked
	Mallocs    uint64        // allocations in the process from warm-up to end
	Locks      uint64        // locks taken in that time
	GaveUp     uint64        // waits given up in the time measured; they are in Waits, too
}

// Figures are what a run comes down to.
type Figures struct {
	Rate            float64       // operations a second, of all processes together
	P50, P99, Worst time.Duration // of the waits; zero if the scenario is Unclocked
	Share           float64       // operations of the process with the least over those of the one with the most
	Least           float64       // operations of the process with the fewest over an even share of all
	Mallocs         float64       // allocations an operation

	Waits *Histogram // whose quantiles the above are; nil in medians of Figures
}

// Figures returns the figures of r. If some of the processes pause between
// their operations, the waits are theirs alone.
func (r Result) Figures() Figures {
	waits := new(Histogram)
	f := Figures{Waits: waits}
	var mallocs, locks, operations uint64
	least, most := ^uint64(0), uint64(0)
	pausing := !r.Scenario.symmetric()
	for i, p := range r.Processes {
		f.Rate += float64(p.Operations) / p.Elapsed.Seconds()
		least, most = min(least, p.Operations), max(most, p.Operations)
		operations += p.Operations
		mallocs += p.Mallocs
		locks += p.Locks
		if !pausing || r.Scenario.Processes[i].Pause > 0 {
			waits.Merge(&p.Waits)
		}
	}
	f.P50, f.P99, f.Worst = waits.Quantile(0.5), waits.Quantile(0.99), waits.Max()
	if most > 0 {
		f.Share = float64(least) / float64(most)
		even := float64(operations) / float64(len(r.Processes))
		f.Least = float64(least) / even
	}
	if locks > 0 {
		f.Mallocs = float64(mallocs) / float64(locks)
	}
	return f
}
