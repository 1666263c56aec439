package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"packlock"
	"packlock/internal/contend"
)

// contenders is what this executable measures, and as what its workers run.
var contenders = contend.Program{
	Args:      []string{"bench", workerArg},
	Libraries: []contend.Library{contend.Packlock, contend.Flock},
}

// workerArg, alone, is how bench starts its own workers.
const workerArg = "-worker"

// bencher is the verb bench.
type bencher struct {
	verb       *verb
	processes  int
	goroutines int
	section    time.Duration
	duration   time.Duration
	rounds     int
	json       bool
}

func newBench() *verb {
	b := &bencher{}
	v := &verb{
		name:    "bench",
		args:    "[flags] DIR [flags]",
		summary: "measure how processes and goroutines contend, beside raw flock",
		about: `Has processes and goroutines contend for a lock in DIR, alternately by packlock
and by the kernel's bare lock, and prints the medians of the rounds: operations
a second; how long they waited (median, 99th percentile, worst); and how many
operations the process with the least of them had for one of that with the
most. It checks while it measures that no two hold the lock at the same time.

Without -goroutines and -section it runs a set of scenarios that takes less than
a minute. The lock is that of a temporary directory made in DIR: it is the
file system that is of interest, and the pack DIR itself is not locked.

`,
		notes: `
The ratios are packlock to raw flock: of operations, more is better, of waits
less. A section is spent spinning on the clock. The scenarios with one process
and an empty section leave out the waits, because they cost less than a clock
that measures them.

Exit status: 0, 1 on trouble or if two held the lock at the same time, 2 if the
command line makes no sense, 130 after Ctrl-C.
`,
		run: b.run,
	}
	b.verb = v
	v.flags.IntVar(&b.processes, "processes", 4, "`number` of processes")
	v.flags.IntVar(&b.goroutines, "goroutines", 8, "`number` of goroutines in each")
	v.flags.DurationVar(&b.section, "section", 0, "`time` for which each holds the lock, such as 20us")
	v.flags.DurationVar(&b.duration, "duration", 500*time.Millisecond, "`time` that a round measures")
	v.flags.IntVar(&b.rounds, "rounds", 3, "`number` of rounds of each of the two")
	v.flags.BoolVar(&b.json, "json", false, "print JSON, times in nanoseconds")
	return v
}

func (b *bencher) run(args []string) error {
	if len(args) == 1 && args[0] == workerArg {
		contenders.Work()
	}
	dir, err := b.parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = b.bench(ctx, dir)
	if ctx.Err() != nil {
		return exit{130, errors.New("interrupted")}
	}
	return err
}

func (b *bencher) parse(args []string) (dir string, err error) {
	for dirs := 0; ; dirs++ {
		if args, err = b.verb.parse(args); err != nil {
			return "", err
		}
		switch {
		case len(args) > 0 && dirs > 0:
			return "", usageError("one directory at a time, not also %q; type: packlock help bench", args[0])
		case len(args) > 0:
			dir, args = args[0], args[1:]
			continue
		case dirs == 0:
			return "", usageError("which directory? as in: packlock bench DIR")
		}
		break
	}
	const threads = 5000 // Go gives up at 10,000, and raw flock takes one for each goroutine
	switch {
	case b.processes < 1:
		return "", usageError("-processes must be at least 1")
	case b.goroutines < 1 || b.goroutines > threads:
		return "", usageError("-goroutines must be from 1 to %d", threads)
	case b.section < 0:
		return "", usageError("-section must not be negative")
	case b.duration < 10*time.Millisecond:
		return "", usageError("-duration must be at least 10ms")
	case b.section > b.duration:
		return "", usageError("-section must not be longer than -duration, which is %v", b.duration)
	case b.rounds < 1:
		return "", usageError("-rounds must be at least 1")
	}
	return dir, nil
}

// scenarios returns what is to be run.
func (b *bencher) scenarios() []contend.Scenario {
	one := false
	b.verb.flags.Visit(func(f *flag.Flag) {
		one = one || f.Name == "goroutines" || f.Name == "section"
	})
	if one {
		return []contend.Scenario{contend.Even(b.processes, b.goroutines, b.section)}
	}
	return contend.Matrix(b.processes)
}

func (b *bencher) bench(ctx context.Context, dir string) error {
	own, err := os.MkdirTemp(dir, ".packlock-bench-")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s; create it first", dir)
	case err != nil:
		return fmt.Errorf("a temporary directory is needed there: %w", err)
	}
	defer os.RemoveAll(own)
	sidecar := filepath.Join(own, packlock.FileName)
	if err := os.WriteFile(sidecar, nil, 0o666); err != nil {
		return err
	}

	c := contend.Comparison{Path: sidecar, Rounds: b.rounds, Duration: b.duration}
	for _, library := range contenders.Libraries {
		c.Libraries = append(c.Libraries, library.Name)
	}
	set := b.scenarios()
	clear := func() {}
	if isTerminal(os.Stderr) {
		n, total := 0, len(set)*b.rounds*len(c.Libraries)
		c.Before = func(s contend.Scenario, library string, round int) {
			n++
			fmt.Fprintf(os.Stderr, "\r\x1b[K%d of %d: %s, %s", n, total, s.Name, library)
		}
		clear = func() { fmt.Fprint(os.Stderr, "\r\x1b[K") }
		defer clear()
	}

	report := benchReport{
		System:     runtime.GOOS + "/" + runtime.GOARCH,
		Go:         runtime.Version(),
		Processors: runtime.NumCPU(),
		Rounds:     b.rounds,
		Duration:   b.duration,
	}
	if !b.json {
		of := fmt.Sprintf("medians of %d rounds", b.rounds)
		if b.rounds == 1 {
			of = "1 round"
		}
		fmt.Printf("%s, %s, %d processors; %s of %v\n\n", report.System, report.Go, report.Processors, of, b.duration)
		printHeader(os.Stdout)
	}
	for _, s := range set {
		rounds, err := contenders.Compare(ctx, c, s)
		if err != nil {
			return err
		}
		clear()
		row := newBenchRow(s, c.Libraries, rounds)
		report.Scenarios = append(report.Scenarios, row)
		if !b.json {
			printRow(os.Stdout, row)
		}
	}
	if b.json {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(report)
	}
	return nil
}

// isTerminal reports whether somebody may be looking at f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
