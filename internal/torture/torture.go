// Package torture tries to break the promises of packlock. Processes of many
// goroutines do whatever can be done with a few packs, at random and all at
// once. Meanwhile some are killed or stopped, and the sidecars and packs are
// deleted and replaced under them. Witnesses inside the critical section tell
// whether there was ever a second hold, and between rounds, when everybody
// rests, nothing may be left over.
//
// What is found is a violation: the seed repeats the decisions that led to it,
// though not the timing.
//
// To delete or replace a sidecar while somebody holds it gives two holders
// with any lock file, and proves nothing. So the disturber takes the lock
// itself, by a bare flock(2) and a look at the path, and disturbs what it
// holds. A violation is then never its fault; see disturb.go. One pack is
// disturbed whoever holds it. There the witnesses tell the files apart that
// were its sidecar, and everybody has to get on with the one that is there
// last; see lose_unix.go.
//
//	torture.go      this overview; Config, Run, Summary
//	foreman.go      the processes: rounds, kills, stops, the watchdog
//	reckoning.go    what the dead leave behind, and whether the sums are right
//	worker.go       a process that is tortured: its life, and what it checks at rest
//	operation.go    what its goroutines do
//	witness.go      the critical section
//	readers.go      the same, shared
//	board.go        what goroutines tell about themselves, readable after their death
//	disturb*.go     the disturber, lose_unix.go where it is ruthless, exchange_*.go one of its tools
//	terrain.go      what can be disturbed, by the file system of the packs
//	census*.go      counting goroutines, threads and descriptors
//	announced_*.go  announcements of writers on a lock file
//	patience.go     time that does not run while everything is stopped
//	host_*.go       signals
//	flaw.go         what is broken on purpose, to see whether it is found
package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Config says what to run.
type Config struct {
	Seed       uint64        // of every decision
	Duration   time.Duration // until the last round ends, about
	Processes  int           // that are alive at a time
	Goroutines int           // of each
	Dir        string        // exists, is empty, and is left with the remains
	Packs      string        // where the packs are; is made, and left with the remains

	// Command starts a process that calls Work and nothing else.
	Command []string

	// Patience is how long a goroutine may take for one operation. It is the
	// bound for "hangs", and so has to be far beyond the delays of a busy
	// machine.
	Patience time.Duration

	// Log is told how it goes, and of a violation all that is known.
	Log io.Writer

	round time.Duration // between two rests
	flaw  flaw
}

// ErrViolation is why a run fails in which a promise was broken.
var ErrViolation = errors.New("violation")

// violation is an ErrViolation that says what happened.
type violation string

func (v violation) Error() string        { return string(v) }
func (v violation) Is(target error) bool { return target == ErrViolation }

func violationf(format string, args ...any) error { return violation(fmt.Sprintf(format, args...)) }

// A Summary counts what happened.
type Summary struct {
	Rounds     int
	Operations uint64 // acquires, in whatever manner, and whatever came of them
	Shared     uint64 // of those, the ones of a shared hold
	Sections   uint64 // exclusive critical sections, each seen by all witnesses
	// SharedSections are those of readers. In Met of them another reader was seen, in
	// MetElsewhere one of a different process.
	SharedSections, Met, MetElsewhere uint64
	Kills                             int
	Stops                             int
	Disturbed                         int // sidecars and packs deleted or replaced
	Lost                              int // of those, the ones that another process had locked
	Announced                         int // announcements of writers that the disturber has found

	Longest stall // of a goroutine, while none was stopped for long

	Cancelled, Busy, Refused uint64 // acquires that ended so; refused is ErrReentrant

	// Sums of packlock.Stats, without what happened in processes that were
	// killed after they last put them up.
	KernelWaits, HandedOver, Adopted, Drained, Reopened uint64

	Violations int
}

func (s Summary) String() string {
	return fmt.Sprintf("%d rounds, %d operations, %d of them shared, %d exclusive sections, %d shared ones, %d of them with another reader, "+
		"%d with one of a different process, %d kills, %d stops, %d disturbances, %d of them under another holder, %d announcements seen, "+
		"%d cancelled, %d busy, %d refused, %d kernel waits, %d hand-overs, %d adoptions, %d drains, %d reopenings, "+
		"longest without progress %v, violations %d",
		s.Rounds, s.Operations, s.Shared, s.Sections, s.SharedSections, s.Met, s.MetElsewhere, s.Kills, s.Stops, s.Disturbed, s.Lost, s.Announced,
		s.Cancelled, s.Busy, s.Refused, s.KernelWaits, s.HandedOver, s.Adopted, s.Drained, s.Reopened,
		s.Longest, s.Violations)
}

// Run tortures for as long as cfg says, or until ctx ends or a promise is
// broken: then the error is an ErrViolation that says what happened.
func Run(ctx context.Context, cfg Config) (Summary, error) {
	f, err := newForeman(cfg)
	if err != nil {
		return Summary{}, err
	}
	defer f.dismiss()
	if err = f.run(ctx); err != nil {
		f.obituary(err)
	}
	return f.summary(), err
}
