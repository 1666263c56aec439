package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"packlock/internal/contend"
)

// A besideEffort is how long is measured how other programs get in.
type besideEffort struct {
	short  bool
	rounds int
	length time.Duration
}

var (
	longBeside  = besideEffort{rounds: 3, length: 4 * time.Second}
	shortBeside = besideEffort{short: true, rounds: 1, length: time.Second}
)

// busy are the libraries of the busy process; the first is compared with the second.
var busy = []string{contend.Packlock.Name, contend.Flock.Name}

// others are what the second program does.
var others = []struct{ library, about string }{
	{nameMilli, "tries every millisecond"},
	{nameBbolt, "tries every 50 ms"},
	{contend.Flock.Name, "waits in flock(2), as flock(1) does"},
}

// besideFigures are what was measured of one scenario, medians of the rounds.
type besideFigures struct {
	in    float64 // how often a second the other got in
	worst time.Duration
	rate  float64 // of the busy one
}

// besideRow is one scenario beside each of the busy ones.
type besideRow struct {
	busy  string // how busy
	other string
	of    []besideFigures
}

// makeBeside makes the part about other programs.
func makeBeside(ctx context.Context, own string, short bool) (string, drawing, error) {
	effort := longBeside
	if short {
		effort = shortBeside
	}
	path, err := newLockFile(own)
	if err != nil {
		return "", nil, err
	}
	rows, err := measureBeside(ctx, path, effort)
	if err != nil {
		return "", nil, err
	}
	return besideText(rows, effort, machine(own)), nil, nil
}

func measureBeside(ctx context.Context, path string, effort besideEffort) ([]besideRow, error) {
	var rows []besideRow
	for _, other := range others {
		for _, goroutines := range []int{1, 8} {
			for _, section := range []time.Duration{20 * time.Microsecond, time.Millisecond, 5 * time.Millisecond} {
				s := contend.Beside(goroutines, section, other.library)
				fmt.Fprintln(os.Stderr, s.Name)
				rounds := make([][]besideFigures, len(busy))
				for range effort.rounds {
					for i, library := range busy {
						r, err := program.Run(ctx, contend.Spec{Library: library, Path: path, Scenario: s, Duration: effort.length})
						if err != nil {
							return nil, fmt.Errorf("%s, %s: %w", library, s.Name, err)
						}
						rate := func(p contend.Process) float64 { return float64(p.Operations) / p.Elapsed.Seconds() }
						tight, asking := r.Processes[0], r.Processes[1]
						rounds[i] = append(rounds[i], besideFigures{rate(asking), asking.Waits.Max(), rate(tight)})
					}
				}
				row := besideRow{busy: contend.Even(1, goroutines, section).Name, other: other.about}
				for _, of := range rounds {
					row.of = append(row.of, besideFigures{
						in:    median(of, func(f besideFigures) float64 { return f.in }),
						worst: time.Duration(median(of, func(f besideFigures) float64 { return float64(f.worst) })),
						rate:  median(of, func(f besideFigures) float64 { return f.rate }),
					})
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// besideText returns what the page has about them.
func besideText(rows []besideRow, effort besideEffort, machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `## Other programs alongside a busy one

One process acquires the lock in a tight loop, by packlock or by raw flock. A second program, which does not use packlock, waits for the lock in the
kernel, or polls until it acquires it. It releases it at once, pauses for 10 ms, and begins again. How often does it get in? %s

The figures are medians of %d rounds of %v, which alternate. *Got in* is how often per second, of 100 at most. *Worst wait* is the longest wait; one that
the end of the round cut short counts as long as it took, so no wait is longer than a round and its warm-up. *Busy* is the operations of the busy process with
packlock, over those with raw flock.
`, measuredBy("beside", effort.short, machine), effort.rounds, effort.length)
	var other string
	for _, row := range rows {
		if row.other != other {
			other = row.other
			fmt.Fprintf(&b, "\n### A program that %s\n\n| busy |", other)
			for _, what := range []string{"got in", "worst wait"} {
				for _, library := range busy {
					fmt.Fprintf(&b, " %s, %s |", what, library)
				}
			}
			b.WriteString(" busy |\n|---|--:|--:|--:|--:|--:|\n")
		}
		fmt.Fprintf(&b, "| %s |", row.busy)
		for _, f := range row.of {
			fmt.Fprintf(&b, " %.1f |", f.in)
		}
		for _, f := range row.of {
			fmt.Fprintf(&b, " %s |", contend.Duration(f.worst))
		}
		fmt.Fprintf(&b, " %.2f |\n", row.of[0].rate/row.of[1].rate)
	}
	return b.String()
}
