package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"packlock/internal/contend"
)

// benchReport is what bench -json prints.
type benchReport struct {
	System     string        `json:"system"`
	Go         string        `json:"go"`
	Processors int           `json:"processors"`
	Rounds     int           `json:"rounds"`
	Duration   time.Duration `json:"duration_ns"`
	Scenarios  []benchRow    `json:"scenarios"`
}

// printHeading prints where and how long it is measured.
func (r benchReport) printHeading(w io.Writer) {
	of := fmt.Sprintf("medians of %d rounds", r.Rounds)
	if r.Rounds == 1 {
		of = "1 round"
	}
	fmt.Fprintf(w, "%s, %s, %d processors; %s of %v\n\n", r.System, r.Go, r.Processors, of, r.Duration)
}

// benchRow is what was measured of one scenario.
type benchRow struct {
	Name       string        `json:"name"`
	Processes  int           `json:"processes"`
	Goroutines int           `json:"goroutines"` // of each process, or of that in a tight loop
	Section    time.Duration `json:"section_ns"`
	Visitor    string        `json:"visitor,omitempty"` // of -shared, and how it locks
	Results    []benchResult `json:"results"`           // packlock first, raw flock second

	scenario contend.Scenario
}

// benchResult is what was measured of one library.
type benchResult struct {
	Library string         `json:"lock"`
	Median  benchFigures   `json:"median"`
	Rounds  []benchFigures `json:"rounds"`

	median contend.Figures
	waits  []time.Duration // the percentiles that were asked for
}

// benchFigures are the figures that mean anything, by name.
type benchFigures map[string]any

func newBenchRow(s contend.Scenario, libraries []string, rounds [][]contend.Figures, percentiles []float64) benchRow {
	row := benchRow{Name: s.Name, Processes: 2, Goroutines: 1, Section: s.Section, scenario: s}
	if len(s.Processes) > 0 { // else one process wakes another
		row.Processes, row.Goroutines = len(s.Processes), s.Processes[0].Goroutines
	}
	for i, library := range libraries {
		result := benchResult{Library: library, median: contend.MedianFigures(rounds[i])}
		for _, p := range percentiles {
			result.waits = append(result.waits, contend.MedianQuantile(rounds[i], p/100))
		}
		result.Median = figuresOf(s, result.median, percentiles, result.waits)
		for _, f := range rounds[i] {
			var waits []time.Duration
			for _, p := range percentiles {
				waits = append(waits, f.Waits.Quantile(p/100))
			}
			result.Rounds = append(result.Rounds, figuresOf(s, f, percentiles, waits))
		}
		row.Results = append(row.Results, result)
	}
	return row
}

func figuresOf(s contend.Scenario, f contend.Figures, percentiles []float64, waits []time.Duration) benchFigures {
	figures := benchFigures{}
	if s.HasRate() {
		figures["operations_per_second"] = f.Rate
		figures["allocations_per_operation"] = f.Mallocs
	}
	if s.HasWaits() {
		for i, p := range percentiles {
			figures[waitKey(p)] = waits[i]
		}
		figures["wait_median_ns"] = f.P50
		figures["wait_p99_ns"] = f.P99
		figures["wait_worst_ns"] = f.Worst
	}
	if s.HasShare() {
		figures["least_to_most_share"] = f.Share
	}
	return figures
}

func percentile(p float64) string { return "p" + strconv.FormatFloat(p, 'f', -1, 64) }

// waitKey is the name of the percentile p of the waits.
func waitKey(p float64) string {
	if p == 50 {
		return "wait_median_ns"
	}
	return "wait_" + percentile(p) + "_ns"
}

// csvFigures are the names of the figures of a line of CSV, in their order.
func csvFigures(percentiles []float64) []string {
	names := []string{"operations_per_second", "allocations_per_operation"}
	for _, p := range percentiles {
		names = append(names, waitKey(p))
	}
	return append(names, "wait_worst_ns", "least_to_most_share")
}

func printCSVHeader(w io.Writer, names []string) {
	c := csv.NewWriter(w)
	c.Write(append([]string{"scenario", "processes", "goroutines", "section_ns", "lock", "round"}, names...))
	c.Flush()
}

// printCSV prints, for each library, a line of the medians and one of each round,
// which count from 1. It has the figures of those names.
func printCSV(w io.Writer, row benchRow, names []string) {
	c := csv.NewWriter(w)
	for _, result := range row.Results {
		for i, figures := range append([]benchFigures{result.Median}, result.Rounds...) {
			round := "median"
			if i > 0 {
				round = strconv.Itoa(i)
			}
			cells := []string{
				row.Name, strconv.Itoa(row.Processes), strconv.Itoa(row.Goroutines),
				strconv.FormatInt(int64(row.Section), 10), result.Library, round,
			}
			for _, name := range names {
				cell := ""
				switch x := figures[name].(type) {
				case float64:
					cell = strconv.FormatFloat(x, 'f', -1, 64)
				case time.Duration:
					cell = strconv.FormatInt(int64(x), 10)
				case uint64:
					cell = strconv.FormatUint(x, 10)
				}
				cells = append(cells, cell)
			}
			c.Write(cells)
		}
	}
	c.Flush()
}

// A benchTable is for people. A row is printed when it is measured, so the widths
// of the columns are known before what is in them.
type benchTable []struct {
	title string
	width int // negative: from the left
}

func newBenchTable(percentiles []float64) benchTable {
	t := benchTable{{"", -36}, {"", -10}, {"ops/s", 8}, {"to raw", 6}}
	for _, p := range percentiles {
		t = t.withWait(p)
	}
	return append(t, benchTable{{"worst", 8}, {"worst to raw", 12}, {"share", 6}}...)
}

// withWait returns t with a column for the percentile p of the waits.
func (t benchTable) withWait(p float64) benchTable {
	title := percentile(p)
	if p == 50 {
		title = "median"
	}
	return append(t, benchTable{{title, max(8, len(title))}}...)
}

func (t benchTable) printHeader(w io.Writer) {
	titles := make([]string, len(t))
	for i, c := range t {
		titles[i] = c.title
	}
	t.printLine(w, titles)
}

func (t benchTable) printLine(w io.Writer, cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		fmt.Fprintf(&line, "%*s ", t[i].width, cell) // counts runes
	}
	fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
}

// printRow prints a line for each library; the ratios are on those that are not
// raw flock.
func (t benchTable) printRow(w io.Writer, row benchRow) {
	s := row.scenario
	raw := row.Results[1].median
	for i, result := range row.Results {
		f := result.median
		var cells []string
		add := func(has bool, cell string) {
			if !has {
				cell = ""
			}
			cells = append(cells, cell)
		}
		add(i == 0, row.Name)
		add(true, result.Library)
		add(s.HasRate(), contend.Rate(f.Rate))
		add(s.HasRate() && i != 1, fmt.Sprintf("%.2f", f.Rate/raw.Rate))
		for _, wait := range result.waits {
			add(s.HasWaits(), contend.Duration(wait))
		}
		add(s.HasWaits(), contend.Duration(f.Worst))
		add(s.HasWaits() && i != 1, fmt.Sprintf("%.2f", float64(f.Worst)/float64(raw.Worst)))
		add(s.HasShare(), fmt.Sprintf("%.2f", f.Share))
		t.printLine(w, cells)
	}
}
