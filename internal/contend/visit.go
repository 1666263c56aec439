package contend

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Visit is what the one process does that comes now and then to a lock that a crowd of
// others takes in a tight loop.
type Visit struct {
	// Exclusively says that the crowd locks exclusively and the visitor shared. Without
	// it, it is the other way round.
	Exclusively bool

	Pause  time.Duration // between its visits
	GiveUp time.Duration

	// Library is the visitor's own, "" is that of the run. If Poll is not zero, it tries
	// every so often by flock(2), without waiting in the kernel.
	Library string
	Poll    time.Duration
}

// sleeping is how long the process sleeps that only sleeps.
const sleeping = time.Millisecond

// Visited is the scenario of a crowd and a visitor, and of a process that does nothing
// but sleep, to know how late the machine wakes one meanwhile.
func Visited(processes, goroutines int, section time.Duration, v Visit) Scenario {
	s := Even(processes, goroutines, section)
	for i := range s.Processes {
		s.Processes[i].Shared = !v.Exclusively
	}
	visitor := Contender{Goroutines: 1, Empty: true, Shared: v.Exclusively, Pause: v.Pause, GiveUp: v.GiveUp, Library: v.Library, Poll: v.Poll}
	s.Processes = append(s.Processes, visitor, Contender{Goroutines: 1, Sleep: sleeping})
	if !v.Exclusively {
		s.Name += ", shared"
	}
	switch {
	case v.Poll > 0:
		s.Name += fmt.Sprintf(", %v tries", v.Poll)
	case v.Library != "":
		s.Name += ", " + v.Library
	}
	return s
}

// VisitFigures are what a run of Visited comes down to, or several.
type VisitFigures struct {
	Rate   float64 // operations a second of the crowd
	Visits uint64  // times that the visitor got in
	GaveUp uint64  // times that it gave up

	Waits Histogram // the visitor's, with those given up, and one cut short by the end if it is the longest
	Crowd Histogram // the crowd's waits
	Wakes Histogram // how late the process was woken that only sleeps
}

// VisitFigures returns the figures of r, of a scenario of Visited.
func (r Result) VisitFigures() (f VisitFigures) {
	crowd := len(r.Processes) - 2
	for _, p := range r.Processes[:crowd] {
		f.Rate += float64(p.Operations) / p.Elapsed.Seconds()
		f.Crowd.Merge(&p.Waits)
	}
	visitor := &r.Processes[crowd]
	f.Visits, f.GaveUp, f.Waits = visitor.Operations, visitor.GaveUp, visitor.Waits
	f.Wakes = r.Processes[crowd+1].Waits
	return f
}

// MergeVisits returns the figures of several rounds: all waits together, and the median
// rate.
func MergeVisits(rounds []VisitFigures) (f VisitFigures) {
	f.Rate = medianOf(rounds, func(f VisitFigures) float64 { return f.Rate })
	for i := range rounds {
		f.Visits += rounds[i].Visits
		f.GaveUp += rounds[i].GaveUp
		f.Waits.Merge(&rounds[i].Waits)
		f.Crowd.Merge(&rounds[i].Crowd)
		f.Wakes.Merge(&rounds[i].Wakes)
	}
	return f
}

// CompareVisits is Compare for a scenario of Visited.
func (p *Program) CompareVisits(ctx context.Context, c Comparison, scenario Scenario) ([][]VisitFigures, error) {
	return compare(c, scenario, func(spec Spec) (VisitFigures, error) {
		r, err := p.Run(ctx, spec)
		if err != nil {
			return VisitFigures{}, err
		}
		return r.VisitFigures(), nil
	})
}

// sleeps is the goroutine of a run that only sleeps.
func (r *runner) sleeps(length time.Duration, sum *Process) {
	waits := new(Histogram)
	for asked := now(); asked < r.to; asked = now() {
		time.Sleep(length)
		if woken := now(); woken >= r.from {
			waits.Add(woken - asked - int64(length))
		}
	}
	sum.Waits = *waits
}

// polling takes a lock by trying it every so often.
type polling struct {
	*rawLock
	every time.Duration
}

func (l polling) Lock(ctx context.Context) (Held, error) {
	for {
		if got, err := l.try(); got || err != nil {
			return l, err
		}
		select {
		case <-time.After(l.every):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// An impatient lock is one whose library cannot give up, of which the user does. The wait
// is left to itself and releases the lock at once if it gets it, unless the next Lock
// finds it still waiting and takes it over.
type impatient struct {
	lock func() (Held, error)

	mu      sync.Mutex
	waiting chan error // nil if none is left
	given   bool       // up
	held    Held
}

func (l *impatient) Lock(ctx context.Context) (Held, error) {
	l.mu.Lock()
	if l.waiting == nil {
		l.waiting = make(chan error, 1)
		go l.wait(l.waiting)
	}
	l.given = false
	waiting := l.waiting
	l.mu.Unlock()

	var err error
	select {
	case err = <-waiting:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.waiting != nil {
			l.given = true
			return nil, ctx.Err()
		}
		err = <-waiting
	}
	return l.held, err
}

// LockShared is the same, as the lock is of one kind.
func (l *impatient) LockShared(ctx context.Context) (Held, error) { return l.Lock(ctx) }

// wait waits for the lock.
func (l *impatient) wait(waiting chan error) {
	held, err := l.lock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = nil
	if l.given {
		if err == nil {
			held.Release()
		}
		return
	}
	l.held = held
	waiting <- err
}
