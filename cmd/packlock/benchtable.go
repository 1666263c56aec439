package main

import (
	"fmt"
	"io"
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

// benchRow is what was measured of one scenario.
type benchRow struct {
	Name    string        `json:"name"`
	Section time.Duration `json:"section_ns"`
	Results []benchResult `json:"results"` // packlock first

	scenario contend.Scenario
}

// benchResult is what was measured of one library.
type benchResult struct {
	Library string         `json:"lock"`
	Median  benchFigures   `json:"median"`
	Rounds  []benchFigures `json:"rounds"`

	median contend.Figures
}

// benchFigures are the figures that mean anything, by name.
type benchFigures map[string]any

func newBenchRow(s contend.Scenario, libraries []string, rounds [][]contend.Figures) benchRow {
	row := benchRow{Name: s.Name, Section: s.Section, scenario: s}
	for i, library := range libraries {
		result := benchResult{Library: library, median: contend.MedianFigures(rounds[i])}
		result.Median = figuresOf(s, result.median)
		for _, f := range rounds[i] {
			result.Rounds = append(result.Rounds, figuresOf(s, f))
		}
		row.Results = append(row.Results, result)
	}
	return row
}

func figuresOf(s contend.Scenario, f contend.Figures) benchFigures {
	figures := benchFigures{}
	if s.HasRate() {
		figures["operations_per_second"] = f.Rate
		figures["allocations_per_operation"] = f.Mallocs
	}
	if s.HasWaits() {
		figures["wait_median_ns"] = f.P50
		figures["wait_p99_ns"] = f.P99
		figures["wait_worst_ns"] = f.Worst
	}
	if s.HasShare() {
		figures["least_to_most_share"] = f.Share
	}
	return figures
}

// columns are those of the table. A row is printed when it is measured, so
// their widths are known before what is in them.
var columns = []struct {
	title string
	width int // negative: from the left
}{
	{"", -36}, {"", -10}, {"ops/s", 8}, {"to raw", 6},
	{"median", 8}, {"p99", 8}, {"worst", 8}, {"worst to raw", 12}, {"share", 6},
}

func printHeader(w io.Writer) {
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	printLine(w, titles)
}

func printLine(w io.Writer, cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		fmt.Fprintf(&line, "%*s ", columns[i].width, cell) // counts runes
	}
	fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
}

// printRow prints a line for each library; the ratios are on that of packlock.
func printRow(w io.Writer, row benchRow) {
	s := row.scenario
	ours, theirs := row.Results[0].median, row.Results[1].median
	for i, result := range row.Results {
		f := result.median
		cells := make([]string, len(columns))
		cells[1] = result.Library
		if i == 0 {
			cells[0] = row.Name
		}
		if s.HasRate() {
			cells[2] = contend.Rate(f.Rate)
			if i == 0 {
				cells[3] = fmt.Sprintf("%.2f", ours.Rate/theirs.Rate)
			}
		}
		if s.HasWaits() {
			cells[4], cells[5], cells[6] = contend.Duration(f.P50), contend.Duration(f.P99), contend.Duration(f.Worst)
			if i == 0 {
				cells[7] = fmt.Sprintf("%.2f", float64(ours.Worst)/float64(theirs.Worst))
			}
		}
		if s.HasShare() {
			cells[8] = fmt.Sprintf("%.2f", f.Share)
		}
		printLine(w, cells)
	}
}
