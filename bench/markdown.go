package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"packlock/internal/contend"
)

// markdown returns the part of the page about contention: the tables, and how they
// were measured.
func (r *results) markdown() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	p("## Contention")
	p("")
	p("%s", measuredBy("contention", r.effort.short, r.machine))
	p("")
	p("%d rounds alternate: each library once, then each again. The figures are medians of the rounds, and a worst wait is the median of the", r.effort.rounds)
	p("worst of each round. It is checked all the while that no two hold the lock at the same time. *4 × 8* is 4 processes of 8 goroutines each, all of")
	p("which acquire the lock, spend the section spinning on the clock, and release it, without a pause. The best of each row is in bold.")
	p("")
	p("![Throughput and worst wait of each library](benchmarks.svg)")
	p("")
	p("### The libraries")
	p("")
	p("| | |")
	p("|---|---|")
	for _, l := range libraries {
		p("| %s | %s |", l.Name, l.about)
	}
	p("")
	p("### Targets that were missed")
	p("")
	p("| | |")
	p("|---|---|")
	for _, t := range r.targets() {
		if !t.reached() {
			p("| %s | %s |", t.what, t.figures())
		}
	}

	p("")
	p("### Inside one process")
	p("")
	p("Time of an acquire and a release, over all goroutines.")
	p("")
	table(&b, r, libraries, inside, less, func(f contend.Figures) float64 { return 1e9 / f.Rate }, nanoseconds)
	p("")
	p("Allocations of an acquire and a release.")
	p("")
	table(&b, r, libraries, inside, less, func(f contend.Figures) float64 { return f.Mallocs }, func(x float64) string { return fmt.Sprintf("%.1f", x) })

	p("")
	p("### The limits")
	p("")
	p("The least that must be done, measured in the same rounds. Alone, that is two flock and one fstat, because a lock by path must know that the file was not deleted")
	p("meanwhile. In a process, it is a first-come-first-served semaphore whose waits can be cancelled, golang.org/x/sync/semaphore of weight 1, which locks no file. For a")
	p("wake-up, it is a goroutine in raw flock. The figures are times of an acquire and a release, or the median time to wake up; × is how many times the limit.")
	p("")
	r.limitTable(&b)

	p("")
	p("### Between processes")
	for _, t := range []struct {
		title  string
		of     []library
		best   better
		figure func(contend.Figures) float64
		format func(float64) string
	}{
		{"Throughput: operations per second, of all processes.", libraries, more, func(f contend.Figures) float64 { return f.Rate }, contend.Rate},
		{"Worst wait.", libraries, less, func(f contend.Figures) float64 { return float64(f.Worst) }, nanoseconds},
		{"99th percentile of the waits that ended. A process that is starved adds few of them, as its share shows. (Pollers are left out: they barge in, or starve.)", waiting(), less, func(f contend.Figures) float64 { return float64(f.P99) }, nanoseconds},
		{"Median of the waits. A lock that lets the releasing process barge in again has a short one, at the price of the others.", waiting(), less,
			func(f contend.Figures) float64 { return float64(f.P50) }, nanoseconds},
		{"Share: the operations of the process with the fewest, over those of the process with the most.", libraries, more,
			func(f contend.Figures) float64 { return f.Share }, func(x float64) string { return fmt.Sprintf("%.2f", x) }},
	} {
		p("")
		p("%s", t.title)
		p("")
		table(&b, r, t.of, between, t.best, t.figure, t.format)
	}

	p("")
	p("### An occasional acquire")
	p("")
	p("One process acquires and releases the lock in a tight loop, with 1 or 8 goroutines. A second one acquires it, pauses for 10 ms, and acquires it again. 99th percentile of the waits of the second.")
	p("")
	table(&b, r, libraries, asking, less, func(f contend.Figures) float64 { return float64(f.P99) }, nanoseconds)

	p("")
	p("### Waking up")
	p("")
	p("From just before another process unlocks, by raw flock, until the goroutine that has waited 1 to 21 ms holds the lock.")
	p("")
	p("| | median | 99th percentile |")
	p("|---|--:|--:|")
	for _, l := range libraries {
		f := r.of(wakeUp, l.Name)
		p("| %s | %s | %s |", l.Name, contend.Duration(f.P50), contend.Duration(f.P99))
	}

	p("")
	if r.noUsage != nil {
		p("What waits cost was not measured here: %v.", r.noUsage)
		return b.String()
	}
	p("### What waiting costs")
	p("")
	p("%d goroutines of one process wait while another process holds the lock. Threads are those of /proc/self/status. Memory is that of", r.effort.waits)
	p("Go's heap and stacks (HeapInuse and StackInuse), the goroutine itself included. Resident is the growth of VmRSS,")
	p("which includes the stacks of threads, but not what the kernel keeps for them. Of packlock's threads one is parked. Go's")
	p("runtime has one more, for all lock files, from the first time that a goroutine is locked to its thread.")
	p("")
	p("| | threads | files | memory a waiter | resident a waiter |")
	p("|---|--:|--:|--:|--:|")
	for i, l := range libraries {
		u := r.waits[i]
		p("| %s | %+d | %+d | %s | %s |", l.Name, u.Threads, u.Files, kilobytes(u.Memory, r.effort.waits), kilobytes(u.RSS, r.effort.waits))
	}
	p("")
	p("### What giving up costs")
	p("")
	p("Waits for a lock that another process holds are begun, 100 at a time, and cancelled one by one: the time from the cancellation to")
	p("the return, and what is left when all have returned. With a library that cannot give up a wait, the waiting goroutine is left")
	p("behind, as its users must do. Because it keeps its thread, and Go ends a process with 10,000 threads, there are fewer of those waits.")
	p("")
	p("| | waits | median | 99th percentile | threads left | files left | memory left |")
	p("|---|--:|--:|--:|--:|--:|--:|")
	for i, l := range libraries {
		c := r.cancels[i]
		p("| %s | %d | %s | %s | %d | %d | %s |", l.Name, c.waits, contend.Duration(c.p50), contend.Duration(c.p99),
			c.left.Threads, c.left.Files, kilobytes(c.left.Memory, 1))
	}
	return b.String()
}

type better bool

const (
	less better = false
	more better = true
)

// waiting returns the libraries that wait in the kernel, and do not poll.
func waiting() (of []library) {
	for _, l := range libraries {
		if l.every == 0 {
			of = append(of, l)
		}
	}
	return of
}

// table has a row for each scenario and a column for each of the libraries.
func table(b *strings.Builder, r *results, columns []library, rows []contend.Scenario, best better, figure func(contend.Figures) float64, format func(float64) string) {
	b.WriteString("| |")
	for _, l := range columns {
		fmt.Fprintf(b, " %s |", l.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(columns)) + "\n")
	for _, s := range rows {
		cells := make([]string, len(columns))
		bestCell := ""
		bestFigure := 0.0
		for i, l := range columns {
			x := figure(r.of(s, l.Name))
			cells[i] = format(x)
			if i == 0 || (x > bestFigure) == bool(best) {
				bestCell, bestFigure = cells[i], x
			}
		}
		fmt.Fprintf(b, "| %s |", s.Name)
		for _, cell := range cells {
			if cell == bestCell {
				cell = "**" + cell + "**"
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
}

func nanoseconds(ns float64) string { return contend.Duration(time.Duration(ns)) }

// kilobytes formats each of n parts of so many bytes.
func kilobytes(bytes, n int) string { return fmt.Sprintf("%.1f KB", float64(bytes)/1024/float64(n)) }

// limitTable has a row for each scenario that has a limit.
func (r *results) limitTable(b *strings.Builder) {
	columns := []string{contend.Packlock.Name, contend.Flock.Name}
	fmt.Fprintf(b, "| | limit | |")
	for _, library := range columns {
		fmt.Fprintf(b, " %s | × |", library)
	}
	b.WriteString("\n|---|---|--:|" + strings.Repeat("--:|--:|", len(columns)) + "\n")
	for _, s := range append(slices.Clone(inside), wakeUp) {
		limit := limits[s.Name].Name
		cost := func(library string) float64 {
			f := r.of(s, library)
			if s.HasRate() {
				return 1e9 / f.Rate
			}
			return float64(f.P50)
		}
		fmt.Fprintf(b, "| %s | %s | %s |", s.Name, limit, nanoseconds(cost(limit)))
		for _, library := range columns {
			fmt.Fprintf(b, " %s | %.2f |", nanoseconds(cost(library)), cost(library)/cost(limit))
		}
		b.WriteString("\n")
	}
}
