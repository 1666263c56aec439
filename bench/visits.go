package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"packlock/internal/contend"
)

// visits is what was measured of one crowd and one visitor, by packlock and by raw flock.
type visits struct {
	about                 string // the visitor, the title of its table
	exclusively           bool   // the crowd locks exclusively
	own                   bool   // the visitor locks as the crowd does
	processes, goroutines int
	section               time.Duration
	ours, raw             contend.VisitFigures
}

// visitPause is how long a visitor pauses between its visits, and visitPatience how long
// it waits.
const (
	visitPause    = 50 * time.Millisecond
	visitPatience = 2 * time.Second
)

func measureVisits(ctx context.Context, path string, effort sharedEffort) (all []visits, err error) {
	type kind struct {
		about string
		visit contend.Visit
	}
	kinds := []kind{
		{"A writer among readers", contend.Visit{}},
		{"A reader among writers", contend.Visit{Exclusively: true}},
		{"A writer that waits in flock(2), as flock(1) does, among readers", contend.Visit{Library: contend.Flock.Name}},
	}
	for _, every := range effort.polls {
		kinds = append(kinds, kind{fmt.Sprintf("A writer that tries every %v, without waiting in the kernel, among readers", every), contend.Visit{Library: contend.Flock.Name, Poll: every}})
	}
	for _, k := range kinds {
		k.visit.Pause, k.visit.GiveUp = visitPause, visitPatience
		for _, section := range effort.sections {
			for _, goroutines := range effort.goroutines {
				for _, processes := range effort.processes {
					s := contend.Visited(processes, goroutines, section, k.visit)
					fmt.Fprintln(os.Stderr, s.Name)
					rounds, err := program.CompareVisits(ctx, contend.Comparison{
						Path: path, Libraries: []string{contend.Packlock.Name, contend.Flock.Name}, Rounds: 1, Duration: effort.visits,
					}, s)
					if err != nil {
						return nil, err
					}
					all = append(all, visits{
						k.about, k.visit.Exclusively, k.visit.Library == "", processes, goroutines, section,
						contend.MergeVisits(rounds[0]), contend.MergeVisits(rounds[1]),
					})
				}
			}
		}
	}
	return all, nil
}

// isJudged reports whether there are targets for v: not for a visitor that is a stranger,
// nor where more threads spin than there are processors.
func (v visits) isJudged() bool {
	processors := runtime.NumCPU()
	spins := v.section < time.Millisecond && v.processes*min(v.goroutines, processors) > processors
	return v.own && !spins
}

func (v visits) name() string {
	return fmt.Sprintf("%d × %d, %s", v.processes, v.goroutines, contend.Duration(v.section))
}

func (v visits) targets() (all []target) {
	if !v.isJudged() {
		return nil
	}
	add := func(what, sign string, bound, got float64, format string) {
		all = append(all, target{v.name() + ": " + what, sign, bound, got, format})
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	if v.exclusively {
		add("worst wait of a reader among writers", "≤", ms(v.raw.Waits.Max()), ms(v.ours.Waits.Max()), "%.1f ms")
		return all
	}
	p99 := 2*v.section + 50*time.Millisecond
	add("median wait of a writer", "≤", ms(v.section+5*time.Millisecond), ms(v.ours.Waits.Quantile(0.5)), "%.1f ms")
	add("99th percentile", "≤", ms(p99), ms(v.ours.Waits.Quantile(0.99)), "%.1f ms")
	add("worst wait", "≤", ms(p99+3*v.ours.Wakes.Max()), ms(v.ours.Waits.Max()), "%.1f ms")
	add("waits given up", "≤", 0, float64(v.ours.GaveUp), "%.0f")
	rate := 0.9
	if v.section == 0 && v.goroutines == 1 {
		rate = 0.8
	}
	add("readers' throughput of raw flock's", "≥", rate, v.ours.Rate/v.raw.Rate, "%.2f")
	return all
}

// printVisits prints a table for each kind of visitor.
func printVisits(b *strings.Builder, all []visits) {
	var about string
	for _, v := range all {
		if v.about != about {
			about = v.about
			fmt.Fprintf(b, `
## %s

A crowd of processes × goroutines locks in a tight loop and holds the lock for so long. The visitor comes every %v and gives up after %v. *In* is how
often it got in; *median* and *worst* are its waits, those included that it gave up, and one that the end cut short if it is the longest; *crowd* is the operations a second of the others,
those of packlock for one of raw flock; *woken* is the longest that a process which only sleeps was late meanwhile, in the run of packlock.

| | in | gave up | median | p99 | worst | raw: in | gave up | median | worst | crowd | of raw's | woken |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`, about, visitPause, visitPatience)
		}
		d := contend.Duration
		fmt.Fprintf(b, "| %s | %d | %d | %s | %s | %s | %d | %d | %s | %s | %s | %.2f | %s |\n", v.name(),
			v.ours.Visits, v.ours.GaveUp, d(v.ours.Waits.Quantile(0.5)), d(v.ours.Waits.Quantile(0.99)), d(v.ours.Waits.Max()),
			v.raw.Visits, v.raw.GaveUp, d(v.raw.Waits.Quantile(0.5)), d(v.raw.Waits.Max()),
			contend.Rate(v.ours.Rate), v.ours.Rate/v.raw.Rate, d(v.ours.Wakes.Max()))
	}
}
