package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"packlock/internal/contend"
)

// A growEffort is how far each of the curves goes, and in which steps.
type growEffort struct {
	short     bool
	rounds    int
	unit      time.Duration
	processes []int
	waiters   []int
	packs     []int
	contended []int
	parallel  []int
}

var (
	longGrowth = growEffort{
		rounds: 3, unit: time.Second,
		processes: []int{1, 2, 4, 8, 16, 32, 64, 128, 256},
		waiters:   []int{1, 10, 100, 1000, 10_000, 100_000},
		packs:     []int{1, 10, 100, 1000, 10_000},
		contended: []int{1, 10, 100, 300, 512, 700, 1000, 2000},
		parallel:  []int{1, 2, 4, 8, 16, 32, 64},
	}
	shortGrowth = growEffort{
		short: true, rounds: 1, unit: 300 * time.Millisecond,
		processes: []int{1, 4, 16, 64, 256},
		waiters:   []int{1, 100, 1000, 10_000, 100_000},
		packs:     []int{1, 100, 10_000},
		contended: []int{1, 100, 512, 2000},
		parallel:  []int{1, 2, 8, 64},
	}
)

// growing are those whose growth is measured: of those of one kind, one.
var growing = []string{contend.Packlock.Name, contend.Flock.Name, nameLockedfile, nameGofrs, nameBbolt}

// mostWaiters returns how many goroutines may wait by l in one process: where each
// takes a thread, a tenth of those at which Go ends it; where they ask again and
// again, no more than leave the processors time for something else.
func mostWaiters(l library) int {
	switch {
	case !l.cancels:
		return 1000
	case l.every > 0:
		return int(l.every / (20 * time.Microsecond))
	}
	return 1 << 30
}

// A growthPart is one kind of growth: some charts, which make a picture.
type growthPart struct {
	name    string // of the picture
	heading string
	about   string
	charts  []*chart
}

// A grower measures the parts.
type grower struct {
	effort growEffort
	dir    string // of its own, with the packs in it
	path   string // of the lock file
}

// makeGrowth makes the part about growth.
func makeGrowth(ctx context.Context, own string, short bool) (string, drawing, error) {
	effort := longGrowth
	if short {
		effort = shortGrowth
	}
	parts, err := measureGrowth(ctx, own, effort)
	if err != nil {
		return "", nil, err
	}
	return growthText(parts, effort, machine(own)), func(out string) error { return drawParts(out, parts) }, nil
}

func drawParts(out string, parts []growthPart) error {
	for _, part := range parts {
		if err := drawCharts(filepath.Join(out, part.name), part.charts); err != nil {
			return err
		}
	}
	return nil
}

// measureGrowth measures everything in dir, which is empty.
func measureGrowth(ctx context.Context, dir string, effort growEffort) ([]growthPart, error) {
	path, err := newLockFile(dir)
	if err != nil {
		return nil, err
	}
	g := &grower{effort, dir, path}
	if err := makePacks(dir, slices.Max(slices.Concat(effort.packs, effort.contended, effort.parallel))); err != nil {
		return nil, err
	}
	var parts []growthPart
	for _, measure := range []func(context.Context) (growthPart, error){g.processes, g.waiters, g.packs, g.contended, g.parallel} {
		part, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// say reports on standard error what is being measured.
func say(what string, n int) { fmt.Fprintf(os.Stderr, "%s: %s\n", what, thousands(n)) }

func ratio(x float64) string { return fmt.Sprintf("%.2f", x) }
func whole(x float64) string { return fmt.Sprintf("%.0f", x) }

// bytes formats so many bytes.
func bytes(x float64) string {
	if x < 1024 {
		return fmt.Sprintf("%.0f B", x)
	}
	return fmt.Sprintf("%.1f KB", x/1024)
}

// processes is growth of the processes that contend.
func (g *grower) processes(ctx context.Context) (growthPart, error) {
	part := growthPart{
		name:    "growth-processes",
		heading: "Processes",
		about: `Processes of one goroutine each acquire the lock, spend the section, and release it, without a pause. The more they are, the longer is a
round, so that each gets its turn. *Least share* is the operations of the process with the fewest, over an even share of all. (The *share* elsewhere is the fewest
over the most.)`,
	}
	for _, section := range []time.Duration{0, 20 * time.Microsecond} {
		name := "empty section"
		if section > 0 {
			name = contend.Duration(section) + " section"
		}
		newChart := func(title string, format func(float64) string) *chart {
			return &chart{title: title + ", " + name, x: "processes", xs: g.effort.processes, format: format}
		}
		rate, worst := newChart("Operations per second", contend.Rate), newChart("Worst wait", nanoseconds)
		least := newChart("Least share", ratio)
		least.part = true
		part.charts = append(part.charts, rate, worst, least)
		for i, n := range g.effort.processes {
			say("processes, "+name, n)
			c := contend.Comparison{
				Path: g.path, Libraries: growing, Rounds: g.effort.rounds,
				Duration: max(g.effort.unit, time.Duration(n)*g.effort.unit/50),
			}
			rounds, err := program.Compare(ctx, c, contend.Even(n, 1, section))
			if err != nil {
				return part, err
			}
			for j, library := range growing {
				f := contend.MedianFigures(rounds[j])
				rate.set(library, i, f.Rate)
				worst.set(library, i, float64(f.Worst))
				least.set(library, i, f.Least)
			}
		}
	}
	return part, nil
}

// rounds asks for a task to be done by the libraries in turn, those for which ask
// has a request, and calls reply with the replies of each.
func rounds[T any](ctx context.Context, n int, task string, ask func(library) (growRequest, bool), reply func(name string, rounds []T)) error {
	replies := make(map[string][]T)
	for range n {
		for _, name := range growing {
			r, ok := ask(libraries[indexOf(name)])
			if !ok {
				continue
			}
			var one T
			if err := program.Call(ctx, task, r, &one); err != nil {
				return fmt.Errorf("%s, %s of %d: %w", name, task, r.N, err)
			}
			replies[name] = append(replies[name], one)
		}
	}
	for _, name := range growing {
		if of := replies[name]; of != nil {
			reply(name, of)
		}
	}
	return nil
}

// median returns the median of a figure of the replies.
func median[T any](rounds []T, figure func(T) float64) float64 {
	all := make([]float64, len(rounds))
	for i, r := range rounds {
		all[i] = figure(r)
	}
	return contend.Median(all)
}

// waiters is growth of the goroutines that wait in one process.
func (g *grower) waiters(ctx context.Context) (growthPart, error) {
	xs := g.effort.waiters
	threads := &chart{title: "Threads more", x: "waiting goroutines", xs: xs, format: whole}
	memory := &chart{title: "Memory of each", x: "waiting goroutines", xs: xs, format: bytes}
	served := &chart{title: "Until all were served", x: "waiting goroutines", xs: xs, format: nanoseconds}
	part := growthPart{
		name:    "growth-waiters",
		heading: "Goroutines that wait in one process",
		about: `Goroutines wait for one lock, which is then released: threads and memory (Go's heap and stacks) that the waiting
adds, and how long it takes until each has acquired the lock and released it. Memory of fewer than 100 is left out, because the heap grows by pages.
Libraries with a thread for each waiter are not measured beyond 1,000, and pollers not beyond what the processors can keep up with.`,
		charts: []*chart{threads, memory, served},
	}
	for i, n := range xs {
		say("waiting goroutines", n)
		err := rounds(ctx, g.effort.rounds, taskServe, func(l library) (growRequest, bool) {
			return growRequest{Library: l.Name, Path: g.path, N: n}, n <= mostWaiters(l)
		}, func(name string, of []serveReply) {
			threads.set(name, i, median(of, func(r serveReply) float64 { return float64(r.Added.Threads) }))
			if n >= 100 {
				memory.set(name, i, median(of, func(r serveReply) float64 { return float64(r.Added.Memory) / float64(n) }))
			}
			served.set(name, i, median(of, func(r serveReply) float64 { return float64(r.Served) }))
		})
		if err != nil {
			return part, err
		}
	}
	return part, nil
}

// packs is growth of what one process has open.
func (g *grower) packs(ctx context.Context) (growthPart, error) {
	newChart := func(title string, format func(float64) string) *chart {
		return &chart{title: title, x: "packs", xs: g.effort.packs, format: format}
	}
	idle, held := newChart("Memory of an idle one", bytes), newChart("Memory of a held one", bytes)
	open, acquire := newChart("Time to open", nanoseconds), newChart("Time to acquire", nanoseconds)
	release, closing := newChart("Time to release", nanoseconds), newChart("Time to close", nanoseconds)
	part := growthPart{
		name:    "growth-packs",
		heading: "Packs that one process has open",
		about: `A process opens packs, acquires the lock of each, releases them, and closes them. Times are those of one pack, the mean of all. Some of
the libraries open the file when they lock it and close it when they unlock it. Memory of fewer than 1,000 is left out; a negative figure is noise of the heap.`,
		charts: []*chart{idle, held, open, acquire, release, closing},
	}
	for i, n := range g.effort.packs {
		say("packs", n)
		err := rounds(ctx, g.effort.rounds, taskPacks, func(l library) (growRequest, bool) {
			return growRequest{Library: l.Name, Path: g.dir, N: n}, true
		}, func(name string, of []packsReply) {
			set := func(c *chart, figure func(packsReply) float64) { c.set(name, i, median(of, figure)) }
			each := func(total int) float64 { return float64(total) / float64(n) }
			if n >= 1000 {
				set(idle, func(r packsReply) float64 { return each(r.Idle.Memory) })
				set(held, func(r packsReply) float64 { return each(r.Held.Memory) })
			}
			set(open, func(r packsReply) float64 { return float64(r.Open) })
			set(acquire, func(r packsReply) float64 { return float64(r.Acquire) })
			set(release, func(r packsReply) float64 { return float64(r.Release) })
			set(closing, func(r packsReply) float64 { return float64(r.Close) })
		})
		if err != nil {
			return part, err
		}
	}
	return part, nil
}

// mostParked is how many threads of a process packlock parks in the kernel.
const mostParked = 512

// contended is growth of what one process waits for.
func (g *grower) contended(ctx context.Context) (growthPart, error) {
	newChart := func(title string, format func(float64) string) *chart {
		return &chart{title: title, x: "contended packs", xs: g.effort.contended, format: format}
	}
	threads := newChart("Threads more", whole)
	middle, late99, worst := newChart("Late by, median", nanoseconds), newChart("Late by, 99th percentile", nanoseconds), newChart("Late by, worst", nanoseconds)
	part := growthPart{
		name:    "growth-contended",
		heading: "Packs that another process holds",
		about: fmt.Sprintf(`A process waits for packs, one goroutine per pack, while another process holds them all and releases one every
millisecond: the threads that the waiting adds, and how late each lock is acquired. packlock parks at most %d threads. It polls for the
packs beyond, every millisecond at first and every 50 ms in the end. These packs are released first, while the threads are still parked, and have a line of
their own.`, mostParked),
		charts: []*chart{threads, middle, late99, worst},
	}
	for i, n := range g.effort.contended {
		say("contended packs", n)
		type reply struct {
			first, beyond contend.Histogram
			threads       int
		}
		for _, name := range []string{contend.Packlock.Name, contend.Flock.Name, nameBbolt} {
			l := libraries[indexOf(name)]
			var of []reply
			for range g.effort.rounds {
				times, added, err := late(ctx, growRequest{Library: name, Path: g.dir, N: n, First: mostParked})
				if err != nil {
					return part, fmt.Errorf("%s, %d contended packs: %w", l.Name, n, err)
				}
				r := reply{threads: added.Threads}
				for i, late := range times {
					if i < mostParked || name != contend.Packlock.Name {
						r.first.Add(int64(late))
					} else {
						r.beyond.Add(int64(late))
					}
				}
				of = append(of, r)
			}
			threads.set(name, i, median(of, func(r reply) float64 { return float64(r.threads) }))
			for _, c := range []struct {
				chart    *chart
				quantile float64
			}{{middle, 0.5}, {late99, 0.99}, {worst, 1}} {
				c.chart.set(name, i, median(of, func(r reply) float64 { return float64(r.first.Quantile(c.quantile)) }))
				if n > mostParked && name == contend.Packlock.Name {
					c.chart.set(fmt.Sprintf("packlock beyond %d", mostParked), i,
						median(of, func(r reply) float64 { return float64(r.beyond.Quantile(c.quantile)) }))
				}
			}
		}
	}
	return part, nil
}

// parallel is growth of the goroutines that have a pack each.
func (g *grower) parallel(ctx context.Context) (growthPart, error) {
	xs := g.effort.parallel
	rate := &chart{title: "Operations per second, of all", x: "goroutines", xs: xs, format: contend.Rate}
	scale := &chart{title: "Times that of one goroutine", x: "goroutines", xs: xs, format: ratio}
	part := growthPart{
		name:    "growth-parallel",
		heading: "Goroutines with a pack each",
		about: `Goroutines of one process each lock a pack of their own and release it, without a pause. If nothing that they share
stands in the way, they do as many times more than one goroutine as there are processors.`,
		charts: []*chart{rate, scale},
	}
	for i, n := range xs {
		say("goroutines with a pack each", n)
		err := rounds(ctx, g.effort.rounds, taskParallel, func(l library) (growRequest, bool) {
			return growRequest{Library: l.Name, Path: g.dir, N: n, Duration: g.effort.unit / 2}, true
		}, func(name string, of []float64) {
			rate.set(name, i, contend.Median(of))
			for _, l := range rate.lines {
				if l.name == name {
					scale.set(name, i, l.ys[i]/l.ys[0])
				}
			}
		})
		if err != nil {
			return part, err
		}
	}
	return part, nil
}

// growthText returns what the page has about the parts.
func growthText(parts []growthPart, effort growEffort, machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Growth\n\nHow the cost grows as the work grows. %s\n\nThe figures are medians of %d rounds, which alternate.\n",
		measuredBy("growth", effort.short, machine), effort.rounds)
	for _, part := range parts {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n![%s](%s.svg)\n", part.heading, part.about, part.heading, part.name)
		for _, c := range part.charts {
			fmt.Fprintf(&b, "\n%s", c.table())
		}
	}
	return b.String()
}
