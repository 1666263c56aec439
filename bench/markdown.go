package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"packlock/internal/contend"
)

// markdown returns the tables and how they came about.
func (r *results) markdown() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	p("# Benchmarks")
	p("")
	p("Written by `go -C bench run . -out ../docs`, on %s.", r.machine)
	p("")
	if r.effort.short {
		p("**This was a short run (`-short`): a first look, and no more.**")
		p("")
	}
	p("Rounds of it: %d, alternating: each library once, then each again, and so", r.effort.rounds)
	p("on. The figures are medians of the rounds; a worst wait is the median of the worst of each round. That no two")
	p("hold the lock at the same time is checked all the while. *4 × 8* is 4 processes of 8 goroutines each, all of")
	p("which take the lock, spend the section spinning on the clock, and release it, without pause. The best of each row is in bold.")
	p("")
	p("![Throughput and worst wait of each library](benchmarks.svg)")
	p("")
	p("## The libraries")
	p("")
	p("| | |")
	p("|---|---|")
	for _, l := range libraries {
		p("| %s | %s |", l.Name, l.about)
	}
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
	p("Time of an acquire and a release, over all goroutines.")
	p("")
	r.table(&b, inside, less, func(f contend.Figures) float64 { return 1e9 / f.Rate }, nanoseconds)
	p("")
	p("Allocations of it.")
	p("")
	r.table(&b, inside, less, func(f contend.Figures) float64 { return f.Mallocs }, func(x float64) string { return fmt.Sprintf("%.1f", x) })

	p("")
	p("## The limits")
	p("")
	p("What does the least that has to be done, measured in the same rounds. Alone, that is two flock and one fstat: who locks a file by its path has to know")
	p("that it was not deleted meanwhile. In a process, it is a first-come-first-served semaphore whose waits can be cancelled, golang.org/x/sync/semaphore of weight 1, which locks no file. To")
	p("be woken, it is a goroutine in raw flock. *From cold* is a run of %v from the start of a process. The figures are times of an acquire and a release, or", coldTime)
	p("the median until awake; × is how many times the limit.")
	p("")
	r.limitTable(&b)

	p("")
	p("## Between processes")
	for _, t := range []struct {
		title  string
		best   better
		figure func(contend.Figures) float64
		format func(float64) string
	}{
		{"Throughput: operations a second, of all processes.", more, func(f contend.Figures) float64 { return f.Rate }, contend.Rate},
		{"Worst wait.", less, func(f contend.Figures) float64 { return float64(f.Worst) }, nanoseconds},
		{"99th percentile of the waits. It is that of all waits that ended: a process that is starved adds few of them, as its share shows.", less, func(f contend.Figures) float64 { return float64(f.P99) }, nanoseconds},
		{"Median of the waits. A lock that lets whoever released it barge in again has a short one, at the price of the others.", less,
			func(f contend.Figures) float64 { return float64(f.P50) }, nanoseconds},
		{"Share: the operations of the process that had the least of them for one of the process that had the most.", more,
			func(f contend.Figures) float64 { return f.Share }, func(x float64) string { return fmt.Sprintf("%.2f", x) }},
	} {
		p("")
		p("%s", t.title)
		p("")
		r.table(&b, between, t.best, t.figure, t.format)
	}

	p("")
	p("## One that asks now and then")
	p("")
	p("One process takes and releases the lock in a tight loop, with 1 or 8 goroutines; another asks for it, pauses for 10 ms, and asks again. 99th percentile of the waits of the latter.")
	p("")
	r.table(&b, asking, less, func(f contend.Figures) float64 { return float64(f.P99) }, nanoseconds)

	p("")
	p("## Waking up")
	p("")
	p("From just before another process unlocks, by raw flock, to the goroutine that has waited 1 to 21 ms having the lock.")
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
	p("## What waiting costs")
	p("")
	p("%d goroutines of one process wait while another process has the lock. Threads are those of /proc/self/status; memory is that of", r.effort.waits)
	p("Go's heap and stacks (HeapInuse and StackInuse), the goroutine itself included; resident is the growth of VmRSS,")
	p("which has the stacks of threads too, but not what the kernel keeps of them. Of packlock's threads one is parked; Go's")
	p("runtime has another, for all packs, from the first time that a goroutine is locked to its thread.")
	p("")
	p("| | threads | files | memory a waiter | resident a waiter |")
	p("|---|--:|--:|--:|--:|")
	for i, l := range libraries {
		u := r.waits[i]
		p("| %s | %+d | %+d | %s | %s |", l.Name, u.Threads, u.Files, kilobytes(u.Memory, r.effort.waits), kilobytes(u.RSS, r.effort.waits))
	}
	p("")
	p("## What giving up costs")
	p("")
	p("Waits for a lock that another process has are begun, 100 at a time, and cancelled one by one: the time from the cancelling to")
	p("the return, and what is left when all have returned. A library that cannot give up a wait is used as its users have to:")
	p("the goroutine that waits is left behind. Because it keeps its thread, and Go ends a process that comes to 10,000 threads, there")
	p("are fewer of those waits.")
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

// table has a row for each scenario and a column for each library.
func (r *results) table(b *strings.Builder, rows []contend.Scenario, best better, figure func(contend.Figures) float64, format func(float64) string) {
	b.WriteString("| |")
	for _, l := range libraries {
		fmt.Fprintf(b, " %s |", l.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(libraries)) + "\n")
	for _, s := range rows {
		cells := make([]string, len(libraries))
		bestCell := ""
		bestFigure := 0.0
		for i, l := range libraries {
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
	columns := []string{contend.Packlock.Name, contend.PacklockEach.Name, contend.Flock.Name}
	fmt.Fprintf(b, "| | limit | |")
	for _, library := range columns {
		fmt.Fprintf(b, " %s | × |", library)
	}
	b.WriteString("\n|---|---|--:|" + strings.Repeat("--:|--:|", len(columns)) + "\n")
	for _, s := range slices.Concat(inside, cold, []contend.Scenario{wakeUp}) {
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
			if !slices.Contains(measured(s), library) {
				b.WriteString(" | |")
				continue
			}
			fmt.Fprintf(b, " %s | %.2f |", nanoseconds(cost(library)), cost(library)/cost(limit))
		}
		b.WriteString("\n")
	}
}
