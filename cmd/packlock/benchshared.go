package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"packlock/internal/contend"
)

// A visitor is how the one process of bench -shared locks that is not of the crowd.
type visitor struct {
	name string
	poll time.Duration // between tries, zero if it waits
}

// ownVisitor locks as the crowd does, flockVisitor by flock(2).
var (
	ownVisitor   = visitor{name: "own"}
	flockVisitor = visitor{name: "flock"}
)

func (v visitor) String() string { return v.name }

func parseVisitor(s string) (visitor, error) {
	for _, v := range []visitor{ownVisitor, flockVisitor} {
		if s == v.name {
			return v, nil
		}
	}
	every, err := parseDuration(s)
	if err != nil || every == 0 {
		return visitor{}, fmt.Errorf("a visitor is own, flock, or the time between two tries, as in 10ms")
	}
	return visitor{s, every}, nil
}

// giveUp is how long a visitor waits.
const giveUp = 2 * time.Second

// setSharedDefaults sets what is not given for -shared.
func (b *bencher) setSharedDefaults(given map[string]bool) {
	if !given["processes"] {
		b.processes.values = []int{1, 2, 4, 16}
	}
	if !given["goroutines"] {
		b.goroutines.values = []int{1, 8}
	}
	if !given["section"] {
		b.section.values = []time.Duration{0, 20 * time.Microsecond, time.Millisecond, 100 * time.Millisecond}
	}
	if !given["duration"] {
		b.duration = 3 * time.Second
	}
	if !given["rounds"] {
		b.rounds = 1
	}
}

// A visited is a row of bench -shared.
type visited struct {
	row      benchRow
	scenario contend.Scenario
}

// visits returns what is to be run.
func (b *bencher) visits() (set []visited) {
	for _, v := range b.visitors.values {
		visit := contend.Visit{Exclusively: b.swap, Pause: b.every, GiveUp: giveUp, Poll: v.poll}
		if v != ownVisitor {
			visit.Library = contend.Flock.Name
		}
		for _, section := range b.section.values {
			for _, goroutines := range b.goroutines.values {
				for _, processes := range b.processes.values {
					s := contend.Visited(processes, goroutines, section, visit)
					set = append(set, visited{benchRow{Name: s.Name, Processes: processes, Goroutines: goroutines, Section: section, Visitor: v.name}, s})
				}
			}
		}
	}
	return set
}

// visitFigures are the names of the figures of a line of CSV, in their order.
func visitFigures(percentiles []float64) []string {
	names := []string{"operations_per_second", "visits", "visits_given_up"}
	for _, p := range percentiles {
		names = append(names, waitKey(p))
	}
	return append(names, "wait_worst_ns", "crowd_wait_worst_ns", "wake_worst_ns")
}

func figuresOfVisits(f contend.VisitFigures, percentiles []float64) benchFigures {
	figures := benchFigures{
		"operations_per_second": f.Rate,
		"visits":                f.Visits,
		"visits_given_up":       f.GaveUp,
		"wait_worst_ns":         f.Waits.Max(),
		"crowd_wait_worst_ns":   f.Crowd.Max(),
		"wake_worst_ns":         f.Wakes.Max(),
	}
	for _, p := range percentiles {
		figures[waitKey(p)] = f.Waits.Quantile(p / 100)
	}
	return figures
}

// benchShared is bench with -shared.
func (b *bencher) benchShared(ctx context.Context, c contend.Comparison) error {
	set := b.visits()
	clear := b.showProgress(&c, len(set))
	defer clear()
	percentiles := b.percentiles.values
	report := b.newReport()
	table := newVisitTable(percentiles)
	switch {
	case b.csv:
		printCSVHeader(&stdout, visitFigures(percentiles))
	case !b.json:
		report.printHeading(&stdout)
		table.printHeader(&stdout)
	}
	for _, v := range set {
		rounds, err := contenders.CompareVisits(ctx, c, v.scenario)
		if err != nil {
			return err
		}
		clear()
		var merged []contend.VisitFigures
		for i, library := range c.Libraries {
			merged = append(merged, contend.MergeVisits(rounds[i]))
			result := benchResult{Library: library, Median: figuresOfVisits(merged[i], percentiles)}
			for _, f := range rounds[i] {
				result.Rounds = append(result.Rounds, figuresOfVisits(f, percentiles))
			}
			v.row.Results = append(v.row.Results, result)
		}
		report.Scenarios = append(report.Scenarios, v.row)
		switch {
		case b.csv:
			printCSV(&stdout, v.row, visitFigures(percentiles))
		case !b.json:
			table.printVisits(&stdout, v.row, merged, percentiles)
		}
		if stdout.err != nil {
			return stdout.err
		}
	}
	if b.json {
		return printJSON(report)
	}
	return nil
}

func newVisitTable(percentiles []float64) benchTable {
	t := benchTable{{"", -44}, {"", -10}, {"ops/s", 8}, {"to raw", 6}, {"got in", 6}, {"gave up", 7}}
	for _, p := range percentiles {
		t = t.withWait(p)
	}
	return append(t, benchTable{{"worst", 8}, {"crowd", 8}, {"woken", 8}}...)
}

// printVisits prints a line for each library.
func (t benchTable) printVisits(w io.Writer, row benchRow, results []contend.VisitFigures, percentiles []float64) {
	for i, f := range results {
		cells := []string{"", row.Results[i].Library, contend.Rate(f.Rate), "", fmt.Sprint(f.Visits), fmt.Sprint(f.GaveUp)}
		if i == 0 {
			cells[0] = row.Name
			cells[3] = fmt.Sprintf("%.2f", f.Rate/results[1].Rate)
		}
		for _, p := range percentiles {
			cells = append(cells, contend.Duration(f.Waits.Quantile(p/100)))
		}
		cells = append(cells, contend.Duration(f.Waits.Max()), contend.Duration(f.Crowd.Max()), contend.Duration(f.Wakes.Max()))
		t.printLine(w, cells)
	}
}
