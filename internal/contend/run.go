package contend

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxWarmUp bounds the warm-up of a run, in which processes come to know of
// each other, stacks and heaps grow and threads are made.
const maxWarmUp = 200 * time.Millisecond

func (s Spec) warmUp() time.Duration {
	if s.Scenario.Cold {
		return 0
	}
	return min(s.Duration/10, maxWarmUp)
}

// runRequest is what a process of a run is asked.
type runRequest struct {
	Spec  Spec
	Page  string
	Index int // in the scenario's Processes
}

// runReply is what it says.
type runReply struct {
	Process  Process
	Overlaps uint64
}

// Run does what spec says in new processes. It fails with ErrOverlap if the
// library does not exclude. When ctx ends, it fails with its cause. In any
// case the processes are gone when it returns.
func (p *Program) Run(ctx context.Context, spec Spec) (Result, error) {
	shared, err := newPage()
	if err != nil {
		return Result{}, err
	}
	defer os.Remove(shared)

	replies := make([]runReply, len(spec.Scenario.Processes))
	var calls []call
	for i := range replies {
		calls = append(calls, call{"run", runRequest{spec, shared, i}, &replies[i]})
	}
	if err := p.together(ctx, calls, spec.warmUp()+spec.Duration+spec.Scenario.Section); err != nil {
		return Result{}, err
	}
	r := Result{Scenario: spec.Scenario}
	var overlaps uint64
	for _, reply := range replies {
		r.Processes = append(r.Processes, reply.Process)
		overlaps += reply.Overlaps
	}
	if overlaps > 0 {
		return r, fmt.Errorf("%w (%d times)", ErrOverlap, overlaps)
	}
	return r, nil
}

// runner is one process of a run.
type runner struct {
	runRequest
	page *page

	// phase is what an Unclocked scenario has instead of looks at the clock.
	phase atomic.Int32
	// overlaps counts the sections that were not alone.
	overlaps atomic.Uint64
	// from and to bound what is measured, on the clock of now.
	from, to int64
}

const (
	warmingUp = iota
	measuring
	over
)

// workRun is the task of one process of a run.
func (p *Program) workRun(ask json.RawMessage) (any, error) {
	var r runner
	if err := json.Unmarshal(ask, &r.runRequest); err != nil {
		return nil, err
	}
	contender := r.Spec.Scenario.Processes[r.Index]
	lockers, err := p.open(cmp.Or(contender.Library, r.Spec.Library), r.Spec.Path, contender.Goroutines)
	if err != nil {
		return nil, err
	}
	if r.page, err = mapPage(r.Page); err != nil {
		return nil, err
	}
	loop := r.clocked
	if r.Spec.Scenario.Unclocked {
		loop = r.unclocked
	}

	parts := make([]Process, len(lockers))
	failed := make(chan error, len(lockers))
	var ready, all sync.WaitGroup
	begin := make(chan struct{})
	for i, locker := range lockers {
		ready.Add(1)
		all.Go(func() {
			ready.Done()
			<-begin
			if err := loop(locker, uint64(r.Index)<<32|uint64(i+1), &parts[i]); err != nil {
				failed <- err
			}
		})
	}
	ready.Wait()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.page.start(len(r.Spec.Scenario.Processes))

	r.from = now() + int64(r.Spec.warmUp())
	r.to = r.from + int64(r.Spec.Duration)
	close(begin)
	if r.Spec.Scenario.Unclocked {
		time.Sleep(r.Spec.warmUp())
		r.from = now()
		r.phase.Store(measuring)
		time.Sleep(r.Spec.Duration)
		r.phase.Store(over)
		r.to = now()
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	select {
	case err := <-failed:
		return nil, err // the others may wait for good: the process ends
	case <-ended:
	}
	runtime.ReadMemStats(&after)

	sum := Process{Elapsed: time.Duration(r.to - r.from), Mallocs: after.Mallocs - before.Mallocs}
	for i := range parts {
		sum.Operations += parts[i].Operations
		sum.Locks += parts[i].Locks
		sum.Waits.Merge(&parts[i].Waits)
	}
	return runReply{sum, r.overlaps.Load()}, nil
}

// open opens the lock file for that many goroutines.
func (p *Program) open(library, path string, goroutines int) ([]Locker, error) {
	l, err := p.library(library)
	if err != nil {
		return nil, err
	}
	lockers := make([]Locker, goroutines)
	for i := range lockers {
		if i > 0 && !l.PerGoroutine {
			lockers[i] = lockers[0]
			continue
		}
		if lockers[i], err = l.Open(path); err != nil {
			return nil, err
		}
	}
	return lockers, nil
}

// clocked is a goroutine of a run. An operation counts if the lock was taken in
// the time measured; a wait, if it ended in that time or later. So one that
// began in the warm-up counts in full, and one that was starved is not left out
// because the end came first, although it may be cut short by the others'
// having stopped.
func (r *runner) clocked(l Locker, id uint64, sum *Process) error {
	ctx := context.Background()
	section := int64(r.Spec.Scenario.Section)
	contender := r.Spec.Scenario.Processes[r.Index]
	if contender.Empty {
		section = 0
	}
	waits := new(Histogram) // a goroutine's own, far from those of others
	defer func() { sum.Waits = *waits }()
	for {
		asked := now()
		held, err := l.Lock(ctx)
		if err != nil {
			return err
		}
		got := now()
		alone := r.page.enter(id)
		if section > 0 && got < r.to {
			for end := got + section; now() < end; {
			}
		}
		if !r.page.exit(id) || !alone {
			r.overlaps.Add(1)
		}
		if err := held.Release(); err != nil {
			return err
		}
		sum.Locks++
		if got >= r.from {
			waits.Add(got - asked)
		}
		if got >= r.to {
			return nil
		}
		if got >= r.from {
			sum.Operations++
		}
		if contender.Pause > 0 {
			time.Sleep(contender.Pause)
		}
	}
}

// unclocked is a goroutine of a run without looks at the clock.
func (r *runner) unclocked(l Locker, id uint64, sum *Process) error {
	ctx := context.Background()
	operations, locks := uint64(0), uint64(0)
	defer func() { sum.Operations, sum.Locks = operations, locks }()
	for {
		held, err := l.Lock(ctx)
		if err != nil {
			return err
		}
		alone := r.page.enter(id)
		if !r.page.exit(id) || !alone {
			r.overlaps.Add(1)
		}
		if err := held.Release(); err != nil {
			return err
		}
		locks++
		switch r.phase.Load() {
		case measuring:
			operations++
		case over:
			return nil
		}
	}
}
