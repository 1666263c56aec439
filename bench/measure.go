package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"packlock/internal/contend"
)

// An effort is how much is measured.
type effort struct {
	short   bool
	rounds  int
	unit    time.Duration // of a round of contention between processes
	waits   int
	cancels int // by libraries that can give up
	leaks   int // by those that cannot: Go ends a process with 10,000 threads
}

var (
	longEffort  = effort{rounds: 5, unit: time.Second, waits: 1000, cancels: 10_000, leaks: 1000}
	shortEffort = effort{short: true, rounds: 1, unit: 200 * time.Millisecond, waits: 1000, cancels: 1000, leaks: 100}
)

const processes = 4

// The scenarios.
var (
	alone, inside8, inside64 = contend.Inside(1), contend.Inside(8), contend.Inside(64)
	cold8, cold64            = contend.FromCold(8), contend.FromCold(64)

	empty1, empty8 = contend.Even(processes, 1, 0), contend.Even(processes, 8, 0)
	micro1, micro8 = contend.Even(processes, 1, 20*time.Microsecond), contend.Even(processes, 8, 20*time.Microsecond)
	milli1, milli8 = contend.Even(processes, 1, time.Millisecond), contend.Even(processes, 8, time.Millisecond)

	asking1, asking8 = contend.Asking(1), contend.Asking(8)

	wakeUp = contend.WakingUp()

	inside  = []contend.Scenario{alone, inside8, inside64}
	cold    = []contend.Scenario{cold8, cold64}
	between = []contend.Scenario{empty1, empty8, micro1, micro8, milli1, milli8}
	asking  = []contend.Scenario{asking1, asking8}
)

// limits are, for some of the scenarios, what does the least that has to be done
// there.
var limits = map[string]contend.Library{
	alone.Name:    contend.FlockAndStat,
	inside8.Name:  semaphoreLimit,
	inside64.Name: semaphoreLimit,
	cold8.Name:    semaphoreLimit,
	cold64.Name:   semaphoreLimit,
	wakeUp.Name:   contend.Flock,
}

// measured returns the names of what is measured in s, in order.
func measured(s contend.Scenario) (names []string) {
	if s.Cold {
		names = []string{contend.Packlock.Name, contend.Flock.Name}
	} else {
		for _, l := range libraries {
			names = append(names, l.Name)
		}
	}
	if limit, ok := limits[s.Name]; ok && limit.Name != contend.Flock.Name {
		names = append(names, limit.Name)
		if s.Name != alone.Name {
			names = append(names, contend.PacklockEach.Name)
		}
	}
	return names
}

// coldTime is how long a run from cold is.
const coldTime = 20 * time.Millisecond

// duration returns how long a round of s takes.
func (e effort) duration(s contend.Scenario) time.Duration {
	switch s.Name {
	case cold8.Name, cold64.Name:
		return coldTime
	case alone.Name, inside8.Name, inside64.Name:
		return e.unit / 2 // steady, and without rare events
	case asking1.Name, asking8.Name:
		return 2 * e.unit // 200 waits, for the 99th percentile
	case wakeUp.Name:
		return 3 * e.unit // 270 releases
	}
	return e.unit
}

// results is what was measured: medians of rounds.
type results struct {
	machine string
	effort  effort

	figures map[string]map[string]contend.Figures // by the names of scenario and library
	waits   []usage                               // in the order of libraries, nil if noUsage
	cancels []cancelCost
	noUsage error // why a process cannot know what it uses
}

// cancelCost is what was measured of cancelled waits.
type cancelCost struct {
	waits    int
	left     usage
	p50, p99 time.Duration
}

// of returns the figures of a library in a scenario.
func (r *results) of(s contend.Scenario, library string) contend.Figures {
	return r.figures[s.Name][library]
}

func indexOf(name string) int {
	return slices.IndexFunc(libraries, func(l library) bool { return l.Name == name })
}

// makeContention makes the part about contention.
func makeContention(ctx context.Context, own string, short bool) (string, drawing, error) {
	effort := longEffort
	if short {
		effort = shortEffort
	}
	path, err := newLockFile(own)
	if err != nil {
		return "", nil, err
	}
	r, err := measure(ctx, path, effort)
	if err != nil {
		return "", nil, err
	}
	for _, t := range r.targets() {
		fmt.Fprintln(os.Stderr, t)
	}
	return r.markdown(), func(out string) error { return r.draw(filepath.Join(out, "benchmarks")) }, nil
}

// measure measures everything with the lock file at path.
func measure(ctx context.Context, path string, effort effort) (*results, error) {
	r := &results{
		machine: machine(path),
		effort:  effort,
		figures: make(map[string]map[string]contend.Figures),
	}
	for _, s := range slices.Concat(inside, cold, between, asking, []contend.Scenario{wakeUp}) {
		fmt.Fprintln(os.Stderr, s.Name)
		c := contend.Comparison{Path: path, Libraries: measured(s), Rounds: effort.rounds, Duration: effort.duration(s)}
		if s.Cold {
			c.Rounds *= 5 // they are short
		}
		rounds, err := program.Compare(ctx, c, s)
		if err != nil {
			return nil, err
		}
		r.figures[s.Name] = make(map[string]contend.Figures)
		for i, library := range c.Libraries {
			r.figures[s.Name][library] = contend.MedianFigures(rounds[i])
		}
	}
	if _, r.noUsage = measureUsage(); r.noUsage != nil {
		return r, nil
	}
	held, err := holdRaw(path)
	if err != nil {
		return nil, err
	}
	defer held.Release()
	if r.waits, err = r.measureWaits(ctx, path); err != nil {
		return nil, err
	}
	r.cancels, err = r.measureCancels(ctx, path)
	return r, err
}

// holdRaw locks path, for others to wait.
func holdRaw(path string) (contend.Held, error) {
	l, err := contend.Flock.Open(path)
	if err != nil {
		return nil, err
	}
	return l.Lock(context.Background())
}

// alternate asks for a task to be done by each of the libraries in turn, and
// returns the replies of the rounds, in the order of libraries.
func alternate[T any](ctx context.Context, task, path string, rounds int, waits func(library) int) ([][]T, error) {
	replies := make([][]T, len(libraries))
	for range rounds {
		for i, l := range libraries {
			var reply T
			if err := program.Call(ctx, task, waitRequest{l.Name, path, waits(l)}, &reply); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", l.Name, task, err)
			}
			replies[i] = append(replies[i], reply)
		}
	}
	return replies, nil
}

func (r *results) measureWaits(ctx context.Context, path string) ([]usage, error) {
	fmt.Fprintln(os.Stderr, r.effort.waits, "waiters")
	rounds, err := alternate[usage](ctx, taskWait, path, r.effort.rounds, func(library) int { return r.effort.waits })
	var medians []usage
	for _, of := range rounds {
		medians = append(medians, medianUsage(of))
	}
	return medians, err
}

// cancelsOf returns how many waits of l are cancelled.
func (e effort) cancelsOf(l library) int {
	if l.cancels {
		return e.cancels
	}
	return e.leaks
}

func (r *results) measureCancels(ctx context.Context, path string) ([]cancelCost, error) {
	fmt.Fprintln(os.Stderr, "cancelled waits")
	rounds, err := alternate[cancelReply](ctx, taskCancel, path, r.effort.rounds, r.effort.cancelsOf)
	var costs []cancelCost
	for i, of := range rounds {
		var left []usage
		var p50, p99 []time.Duration
		for _, reply := range of {
			left = append(left, reply.Left)
			p50 = append(p50, reply.Times.Quantile(0.5))
			p99 = append(p99, reply.Times.Quantile(0.99))
		}
		costs = append(costs, cancelCost{
			waits: r.effort.cancelsOf(libraries[i]),
			left:  medianUsage(left),
			p50:   contend.Median(p50),
			p99:   contend.Median(p99),
		})
	}
	return costs, err
}

func medianUsage(rounds []usage) usage {
	median := func(figure func(usage) int) int {
		var all []int
		for _, u := range rounds {
			all = append(all, figure(u))
		}
		return contend.Median(all)
	}
	return usage{
		Threads: median(func(u usage) int { return u.Threads }),
		Files:   median(func(u usage) int { return u.Files }),
		Memory:  median(func(u usage) int { return u.Memory }),
		RSS:     median(func(u usage) int { return u.RSS }),
	}
}
