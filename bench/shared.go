package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"golang.org/x/sync/semaphore"

	"packlock/internal/contend"
)

// sharers are the libraries with shared locks, packlock first and raw flock second.
var sharers = []contend.Library{
	contend.Packlock,
	contend.Flock,
	{Name: nameGofrs, Open: openGofrs, PerGoroutine: true},
	{Name: nameLockedfile, Open: openLockedfile},
}

// The limits lock no file.
var (
	mutexLimit = contend.Library{
		Name: "sync.RWMutex",
		Open: func(string) (contend.Locker, error) { return new(mutexLock), nil },
	}
	sharedSemaphoreLimit = contend.Library{
		Name: "x/sync semaphore",
		Open: func(string) (contend.Locker, error) {
			s := semaphore.NewWeighted(math.MaxInt64)
			return weightedLock{one: weight{s, 1}, all: weight{s, math.MaxInt64}}, nil
		},
	}
)

func (l gofrsLock) LockShared(context.Context) (contend.Held, error) { return l, l.RLock() }

// LockShared is what the go command does to read a file that others may write.
func (l lockedfileMutex) LockShared(context.Context) (contend.Held, error) {
	f, err := lockedfile.Open(l.mutex.Path)
	return closing{f}, err
}

type closing struct{ file *lockedfile.File }

func (c closing) Release() error { return c.file.Close() }

type mutexLock struct{ sync.RWMutex }

type sharedMutex struct{ *sync.RWMutex }

func (l *mutexLock) Lock(context.Context) (contend.Held, error) {
	l.RWMutex.Lock()
	return l, nil
}

func (l *mutexLock) LockShared(context.Context) (contend.Held, error) {
	l.RLock()
	return sharedMutex{&l.RWMutex}, nil
}

func (l *mutexLock) Release() error {
	l.Unlock()
	return nil
}

func (l sharedMutex) Release() error {
	l.RUnlock()
	return nil
}

// weightedLock takes one of a semaphore to share it, and all to have it alone.
type weightedLock struct{ one, all weight }

type weight struct {
	semaphore *semaphore.Weighted
	n         int64
}

func (l weightedLock) Lock(ctx context.Context) (contend.Held, error) {
	return &l.all, l.all.semaphore.Acquire(ctx, l.all.n)
}

func (l weightedLock) LockShared(ctx context.Context) (contend.Held, error) {
	return &l.one, l.one.semaphore.Acquire(ctx, l.one.n)
}

func (w *weight) Release() error {
	w.semaphore.Release(w.n)
	return nil
}

// What is measured within a process.
var (
	sharedAlone  = sharing("alone", 1, false, 0)
	joinAlone    = sharing("join", 1, true, 0)
	joinParallel = sharing(fmt.Sprintf("join, %d goroutines", runtime.NumCPU()), runtime.NumCPU(), true, 0)
	mixed2       = sharing("64 goroutines, 1 in 2 exclusive", 64, false, 2)
	mixed10      = sharing("64 goroutines, 1 in 10 exclusive", 64, false, 10)
	mixed100     = sharing("64 goroutines, 1 in 100 exclusive", 64, false, 100)

	insideShared = []contend.Scenario{sharedAlone, joinAlone, joinParallel, mixed2, mixed10, mixed100}
)

// sharing returns the scenario of one process whose goroutines lock shared, one in so many
// times exclusively, if that is not zero.
func sharing(name string, goroutines int, joins bool, oneIn int) contend.Scenario {
	s := contend.Inside(goroutines)
	s.Name = name
	s.Processes[0].Shared, s.Processes[0].Joins, s.Processes[0].OneIn = true, joins, oneIn
	return s
}

// taskShare is the task of a process whose goroutines wait for a shared lock, or hold it.
const taskShare = "share"

type shareRequest struct {
	Library, Path string
	N             int
	Holds         bool
}

// costOfSharing is the task taskShare. It replies with the usage that the goroutines add.
func costOfSharing(ask json.RawMessage) (any, error) {
	var r shareRequest
	if err := json.Unmarshal(ask, &r); err != nil {
		return nil, err
	}
	var open func() (contend.Locker, error)
	for _, l := range sharers {
		if l.Name == r.Library {
			var err error
			if open, err = (library{Library: l}).opener(r.Path); err != nil {
				return nil, err
			}
		}
	}
	if open == nil {
		return nil, fmt.Errorf("no library %q with shared locks", r.Library)
	}
	before, err := baseline()
	if err != nil {
		return nil, err
	}
	w := &waiters{ended: make(chan error, r.N)}
	var held sync.WaitGroup
	had := func() { select {} } // and the process ends
	if r.Holds {
		held.Add(r.N)
		had = func() { held.Done(); select {} }
	}
	for range r.N {
		w.begin(func() (contend.Locker, error) {
			l, err := open()
			return asShared{l}, err
		}, had)
	}
	if r.Holds {
		held.Wait()
	}
	after, err := w.settled()
	if err != nil {
		return nil, err
	}
	return after.since(before), nil
}

// asShared locks shared.
type asShared struct{ contend.Locker }

func (l asShared) Lock(ctx context.Context) (contend.Held, error) {
	return l.Locker.(contend.SharedLocker).LockShared(ctx)
}

// A sharedEffort is how much is measured of shared locks.
type sharedEffort struct {
	short      bool
	rounds     int
	inside     time.Duration // of a round in a process
	waits      int
	visits     time.Duration // of a round with a visitor
	processes  []int
	goroutines []int
	sections   []time.Duration
	polls      []time.Duration
}

var (
	longShared = sharedEffort{
		rounds: 5, inside: 500 * time.Millisecond, waits: 1000, visits: 3 * time.Second,
		processes: []int{1, 2, 4, 16}, goroutines: []int{1, 8},
		sections: []time.Duration{0, 20 * time.Microsecond, time.Millisecond, 100 * time.Millisecond},
		polls:    []time.Duration{2 * time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond},
	}
	shortShared = sharedEffort{
		short: true, rounds: 1, inside: 200 * time.Millisecond, waits: 1000, visits: time.Second,
		processes: []int{1, 4}, goroutines: []int{1, 8},
		sections: []time.Duration{0, time.Millisecond},
		polls:    []time.Duration{10 * time.Millisecond},
	}
)

// sharedResults is what was measured: medians of rounds, but of visits all rounds together.
type sharedResults struct {
	effort       sharedEffort
	machine      string
	inside       map[string]map[string]contend.Figures // by the names of scenario and library
	holds, waits []usage                               // in the order of sharers, nil if noUsage
	noUsage      error
	visits       []visits
}

// makeShared makes shared.md.
func makeShared(ctx context.Context, own string, short bool) (string, drawing, error) {
	effort := longShared
	if short {
		effort = shortShared
	}
	path, err := newLockFile(own)
	if err != nil {
		return "", nil, err
	}
	r, err := measureShared(ctx, path, effort)
	if err != nil {
		return "", nil, err
	}
	r.machine = machine(own)
	for _, t := range r.targets() {
		fmt.Fprintln(os.Stderr, t)
	}
	return r.page(), nil, nil
}

func measureShared(ctx context.Context, path string, effort sharedEffort) (*sharedResults, error) {
	r := &sharedResults{effort: effort, inside: make(map[string]map[string]contend.Figures)}
	var names []string
	for _, l := range sharers {
		names = append(names, l.Name)
	}
	names = append(names, mutexLimit.Name, sharedSemaphoreLimit.Name)
	for _, s := range insideShared {
		fmt.Fprintln(os.Stderr, s.Name)
		rounds, err := program.Compare(ctx, contend.Comparison{Path: path, Libraries: names, Rounds: effort.rounds, Duration: effort.inside}, s)
		if err != nil {
			return nil, err
		}
		r.inside[s.Name] = make(map[string]contend.Figures)
		for i, name := range names {
			r.inside[s.Name][name] = contend.MedianFigures(rounds[i])
		}
	}
	if err := r.measureUse(ctx, path); err != nil {
		return nil, err
	}
	var err error
	r.visits, err = measureVisits(ctx, path, effort)
	return r, err
}

// measureUse measures what holds and waits cost.
func (r *sharedResults) measureUse(ctx context.Context, path string) error {
	if _, r.noUsage = measureUsage(); r.noUsage != nil {
		return nil
	}
	cost := func(holds bool) (medians []usage, err error) {
		for _, l := range sharers {
			var rounds []usage
			for range r.effort.rounds {
				var u usage
				if err := program.Call(ctx, taskShare, shareRequest{l.Name, path, r.effort.waits, holds}, &u); err != nil {
					return nil, fmt.Errorf("%s: %w", l.Name, err)
				}
				rounds = append(rounds, u)
			}
			medians = append(medians, medianUsage(rounds))
		}
		return medians, nil
	}
	fmt.Fprintln(os.Stderr, r.effort.waits, "shared holds, and waiters")
	var err error
	if r.holds, err = cost(true); err != nil {
		return err
	}
	held, err := holdRaw(path)
	if err != nil {
		return err
	}
	defer held.Release()
	r.waits, err = cost(false)
	return err
}

// targets returns all of them.
func (r *sharedResults) targets() (all []target) {
	us, raw := contend.Packlock.Name, contend.Flock.Name
	add := func(what, sign string, bound, got float64, format string) {
		all = append(all, target{what, sign, bound, got, format})
	}
	time := func(s contend.Scenario, library string) float64 { return 1e9 / r.inside[s.Name][library].Rate }
	add("join", "≤", 100, time(joinAlone, us), "%.0f ns")
	add("join, allocations", "≤", 1, r.inside[joinAlone.Name][us].Mallocs, "%.2f")
	add(joinParallel.Name+", time of "+sharedSemaphoreLimit.Name+"'s", "≤", 3, time(joinParallel, us)/time(joinParallel, sharedSemaphoreLimit.Name), "%.2f")
	for i, s := range []contend.Scenario{mixed2, mixed10, mixed100} {
		add(s.Name+", time of raw flock's", "≤", []float64{2, 1, 1}[i], time(s, us)/time(s, raw), "%.2f")
	}
	for _, v := range r.visits {
		all = append(all, v.targets()...)
	}
	return all
}

// page returns the text of shared.md.
func (r *sharedResults) page() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("<!-- Generated: the command below writes it. -->")
	p("")
	p("# Shared locks")
	p("")
	p("%s", measuredBy("shared", r.effort.short, r.machine))
	p("The figures are medians of %d rounds, which alternate.", r.effort.rounds)
	p("")
	p("## Targets")
	p("")
	p("| | | |")
	p("|---|---|---|")
	for _, t := range r.targets() {
		p("| %s | %s | %s |", t.what, t.figures(), t.verdict())
	}
	p("")
	p("## Inside one process")
	p("")
	p("Time of an acquire and a release. *Join* is while another goroutine holds the lock shared. The last two lock no file.")
	p("")
	b.WriteString("| |")
	var names []string
	for _, l := range sharers {
		names = append(names, l.Name)
	}
	names = append(names, mutexLimit.Name, sharedSemaphoreLimit.Name)
	p(" %s |", strings.Join(names, " | "))
	p("|---|%s", strings.Repeat("--:|", len(names)))
	for _, s := range insideShared {
		fmt.Fprintf(&b, "| %s |", s.Name)
		for _, name := range names {
			fmt.Fprintf(&b, " %s |", nanoseconds(1e9/r.inside[s.Name][name].Rate))
		}
		p("")
	}
	p("")
	if r.noUsage != nil {
		p("What holds and waits cost was not measured here: %v.", r.noUsage)
	} else {
		p("## What %d shared holds cost, and as many waiters", r.effort.waits)
		p("")
		p("| | threads of holds | files | memory of each | threads of waiters | files | memory of each |")
		p("|---|--:|--:|--:|--:|--:|--:|")
		for i, l := range sharers {
			h, w := r.holds[i], r.waits[i]
			p("| %s | %+d | %+d | %s | %+d | %+d | %s |", l.Name, h.Threads, h.Files, kilobytes(h.Memory, r.effort.waits), w.Threads, w.Files, kilobytes(w.Memory, r.effort.waits))
		}
	}
	printVisits(&b, r.visits)
	return b.String()
}
