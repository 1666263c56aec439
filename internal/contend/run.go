package contend

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	// sharing is how many processes there are if some share the lock and some do not.
	sharing int
	// checks is false if all share it, so that nothing can overlap.
	checks bool
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
	lockers, err := p.openFor(contender, r.Spec)
	if err != nil {
		return nil, err
	}
	for _, c := range r.Spec.Scenario.Processes {
		exclusive, shared := c.locks()
		r.checks = r.checks || exclusive
		if shared {
			r.sharing = len(r.Spec.Scenario.Processes)
		}
	}
	if r.sharing > maxSharing {
		return nil, fmt.Errorf("more than %d processes of which some share the lock", maxSharing)
	}
	if r.page, err = mapPage(r.Page); err != nil {
		return nil, err
	}
	loop := r.clocked
	switch {
	case contender.Sleep > 0:
		loop = func(_ Locker, _ uint64, sum *Process) error { r.sleeps(contender.Sleep, sum); return nil }
	case r.Spec.Scenario.Unclocked:
		loop = r.unclocked
	}
	if contender.Joins {
		sharer, ok := lockers[contender.Goroutines].(SharedLocker)
		if !ok {
			return nil, errNotShared
		}
		joined, err := sharer.LockShared(context.Background())
		if err != nil {
			return nil, err
		}
		defer runtime.KeepAlive(joined) // lockedfile panics if what is locked is collected
		lockers = lockers[:contender.Goroutines]
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
	began := r.page.start(len(r.Spec.Scenario.Processes))

	r.from = began + int64(r.Spec.warmUp())
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
		sum.GaveUp += parts[i].GaveUp
		sum.Waits.Merge(&parts[i].Waits)
	}
	return runReply{sum, r.overlaps.Load()}, nil
}

// errNotShared is returned when a library has no shared locks.
var errNotShared = fmt.Errorf("no shared locks: %w", errors.ErrUnsupported)

// openFor opens the lock file for the goroutines of a contender, and once more for the
// lock that it Joins.
func (p *Program) openFor(c Contender, spec Spec) ([]Locker, error) {
	name := cmp.Or(c.Library, spec.Library)
	switch {
	case c.Sleep > 0:
		return make([]Locker, 1), nil
	case c.Poll > 0:
		l, err := openRaw(spec.Path)
		if err != nil {
			return nil, err
		}
		return []Locker{polling{l.(*rawLock), c.Poll}}, nil
	}
	n := c.Goroutines
	if c.Joins {
		n++
	}
	lockers, err := p.open(name, spec.Path, n)
	if err != nil || c.GiveUp == 0 {
		return lockers, err
	}
	if l, err := p.library(name); err != nil || l.Cancels {
		return lockers, err
	}
	for i, l := range lockers {
		lock := l.Lock
		if c.Shared {
			sharer, ok := l.(SharedLocker)
			if !ok {
				return nil, errNotShared
			}
			lock = sharer.LockShared
		}
		lockers[i] = &impatient{lock: func() (Held, error) { return lock(context.Background()) }}
	}
	return lockers, nil
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

// A section is what surrounds the time for which a goroutine of a run holds the lock.
type section struct {
	runner    *runner
	locker    Locker
	sharer    SharedLocker // nil if all of its locks are exclusive
	contender Contender
	id        uint64
	n         int // of locks so far
	shared    bool
}

func (r *runner) section(l Locker, id uint64) (*section, error) {
	s := &section{runner: r, locker: l, contender: r.Spec.Scenario.Processes[r.Index], id: id}
	if s.contender.Shared {
		var ok bool
		if s.sharer, ok = l.(SharedLocker); !ok {
			return nil, errNotShared
		}
	}
	return s, nil
}

// lock takes the lock of the kind that is next.
func (s *section) lock(ctx context.Context) (Held, error) {
	if s.sharer == nil {
		return s.locker.Lock(ctx)
	}
	s.n++
	s.shared = s.contender.OneIn == 0 || s.n%s.contender.OneIn != 0
	if s.shared {
		return s.sharer.LockShared(ctx)
	}
	return s.locker.Lock(ctx)
}

// enter and exit are those of the page.
func (s *section) enter() bool {
	switch {
	case !s.runner.checks:
		return true
	case s.shared:
		return s.runner.page.enterShared(s.runner.Index)
	}
	return s.runner.page.enter(s.id, s.runner.sharing)
}

func (s *section) exit() bool {
	switch {
	case !s.runner.checks:
		return true
	case s.shared:
		return s.runner.page.exitShared(s.runner.Index)
	}
	return s.runner.page.exit(s.id, s.runner.sharing)
}

// spend spends the section, which began at the time got.
func (s *section) spend(got int64) {
	length := s.runner.Spec.Scenario.Section
	switch {
	case length == 0 || s.contender.Empty || got >= s.runner.to:
	case s.shared && length >= time.Millisecond:
		time.Sleep(length)
	default:
		for end := got + int64(length); now() < end; {
		}
	}
}

// clocked is a goroutine of a run. An operation counts if the lock was taken in
// the time measured; a wait, if it ended in that time or later. So one that
// began in the warm-up counts in full, and one that was starved is not left out
// because the end came first, although it may be cut short by the others'
// having stopped.
func (r *runner) clocked(l Locker, id uint64, sum *Process) error {
	s, err := r.section(l, id)
	if err != nil {
		return err
	}
	waits := new(Histogram) // a goroutine's own, far from those of others
	defer func() { sum.Waits = *waits }()
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	for {
		asked := now()
		if s.contender.GiveUp > 0 {
			ctx, cancel = context.WithTimeout(context.Background(), s.contender.GiveUp)
		}
		held, err := s.lock(ctx)
		gaveUp := err != nil && ctx.Err() != nil
		cancel()
		if err != nil && !gaveUp {
			return err
		}
		got := now()
		if !gaveUp {
			alone := s.enter()
			s.spend(got)
			if !s.exit() || !alone {
				r.overlaps.Add(1)
			}
			if err := held.Release(); err != nil {
				return err
			}
			sum.Locks++
		}
		// A visitor's wait that the end cut short is counted only as its longest: as one
		// of few, it would make the others look short.
		cut := s.contender.GiveUp > 0 && got >= r.to && got-asked <= int64(waits.Max())
		if got >= r.from && !cut {
			waits.Add(got - asked)
		}
		switch {
		case got >= r.to:
			return nil
		case got < r.from:
		case gaveUp:
			sum.GaveUp++
		default:
			sum.Operations++
		}
		if s.contender.Pause > 0 {
			time.Sleep(s.contender.Pause)
		}
	}
}

// unclocked is a goroutine of a run without looks at the clock.
func (r *runner) unclocked(l Locker, id uint64, sum *Process) error {
	s, err := r.section(l, id)
	if err != nil {
		return err
	}
	ctx := context.Background()
	operations, locks := uint64(0), uint64(0)
	defer func() { sum.Operations, sum.Locks = operations, locks }()
	for {
		held, err := s.lock(ctx)
		if err != nil {
			return err
		}
		alone := s.enter()
		if !s.exit() || !alone {
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
