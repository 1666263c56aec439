package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"packlock"
	"packlock/internal/contend"
)

// contenders is what this executable measures, and as what its workers run.
var contenders = contend.Program{
	Args:      []string{"bench", workerArg},
	Libraries: []contend.Library{contend.Packlock, contend.Flock, contend.OFD},
}

// workerArg, alone, is how bench starts its own workers.
const workerArg = "-worker"

// bencher is the verb bench.
type bencher struct {
	verb        *verb
	processes   list[int]
	goroutines  list[int]
	section     list[time.Duration]
	percentiles list[float64]
	duration    time.Duration
	rounds      int
	json, csv   bool

	shared, swap bool
	visitors     list[visitor]
	every        time.Duration
}

func newBench() *verb {
	b := &bencher{duration: 500 * time.Millisecond, rounds: 3}
	b.processes = list[int]{parseNumber, []int{4}}
	b.goroutines = list[int]{parseNumber, []int{8}}
	b.section = list[time.Duration]{parseDuration, []time.Duration{0}}
	b.percentiles = list[float64]{parsePercentile, []float64{50, 99}}
	b.visitors = list[visitor]{parseVisitor, []visitor{ownVisitor}}
	b.every = 50 * time.Millisecond
	v := &verb{
		name:    "bench",
		args:    "[flags] DIR [flags]",
		summary: "measure how processes and goroutines contend, compared with raw flock",
		about: `Has processes and goroutines contend for a lock in DIR, alternately by packlock
and by the kernel's bare locks: flock(2), or LockFileEx, and open file description
locks (F_OFD_SETLKW), where the system has them. It prints the medians of the
rounds: operations a second; how long they waited (median, 99th percentile,
worst); and how many operations the process with the least of them had for one of
that with the most. It checks while it measures that no two hold the lock at the
same time.

Without -goroutines and -section it runs a set of scenarios that takes a minute
or two. The lock is that of a temporary directory made in DIR: it is the file
system that is of interest, and the pack DIR itself is not locked.

Lists run every combination, a row each:

	packlock bench -processes 1,4,16,64 -goroutines 1 -section 0,20us,1ms DIR

`,
		notes: `
The ratios are to raw flock: of operations, more is better, of waits less. A
section is spent spinning on the clock. Those scenarios of the set with one
process and an empty section leave out the waits, because they cost less than a
clock that measures them. What is measured, and how, stands in docs/bench-method.md.

With -shared the processes lock shared, in a tight loop. They are the crowd. One more
process, the visitor, locks exclusively, releases at once, pauses for -every, and
comes again. It gives up a wait after 2 seconds. For the crowd there are operations a
second; for the visitor, how often it got in and gave up, and how long it waited,
those waits included that it gave up, and one that the end of a round cut short if it
is the longest. "crowd" is the longest wait of the crowd, "woken" how late a process
was woken, at worst, that only sleeps meanwhile: no lock wakes its waiters sooner.
With several rounds, the waits are those of all rounds together. Shared locks are held
asleep from a millisecond on. A cell with more goroutines that are busy all the time
than there are processors shows the scheduler more than the lock.

With -shared, -processes is 1,2,4,16, -goroutines 1,8, -section 0,20us,1ms,100ms,
-duration 3s and -rounds 1 if not given otherwise. One cell takes a second or two:

	packlock bench -shared -processes 2 -goroutines 1 -section 1ms -duration 1s DIR

The visitor locks as the crowd does, or by flock(2), as flock(1) does, or it tries
flock(2) every so often without waiting in the kernel, as many programs do. To have
it each way:

	packlock bench -shared -visitor own,flock,2ms,10ms,100ms DIR

With -swap the crowd locks exclusively and the visitor shared.

With -csv there is a line for the medians of each row, and then one for each of
its rounds. A figure that means nothing there is left empty.

Exit status: 0, 1 on trouble or if two held the lock at the same time, 2 if the
command line makes no sense, 128+N if signal N ended it: 130 after Ctrl-C, 143
after SIGTERM.

A bench that was killed leaves .packlock-bench-* in DIR, which can be deleted.
`,
		run: b.run,
	}
	b.verb = v
	v.flags.Var(&b.processes, "processes", "`number` of processes, or several with commas")
	v.flags.Var(&b.goroutines, "goroutines", "`number` of goroutines in each, or several")
	v.flags.Var(&b.section, "section", "`time` for which each holds the lock, such as 20us, or several")
	v.flags.Var(&b.percentiles, "percentiles", "`numbers` of the percentiles of the waits to print")
	v.flags.Var((*duration)(&b.duration), "duration", "`time` that a round measures")
	v.flags.Var((*number)(&b.rounds), "rounds", "`number` of rounds of each of the locks")
	v.flags.BoolVar(&b.shared, "shared", false, "measure shared locks and one exclusive visitor")
	v.flags.BoolVar(&b.swap, "swap", false, "with -shared: exclusive locks and one shared visitor")
	v.flags.Var(&b.visitors, "visitor", "with -shared: `how` the visitor locks: own, flock or the time\nbetween two tries, such as 10ms, or several")
	v.flags.Var((*duration)(&b.every), "every", "with -shared: `time` that the visitor pauses between two visits")
	v.flags.BoolVar(&b.json, "json", false, "print JSON, times in nanoseconds")
	v.flags.BoolVar(&b.csv, "csv", false, "print CSV, times in nanoseconds")
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
	ctx, stop := interruptible(slices.Concat(endings, brokenPipe)...)
	defer stop()
	err = b.bench(ctx, dir)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (b *bencher) parse(args []string) (dir string, err error) {
	if dir, err = b.verb.oneDir(args); err != nil {
		return "", err
	}
	const (
		mostProcesses   = 256  // of some 10 MB each
		mostGoroutines  = 5000 // Go gives up at 10,000 threads, and raw flock takes one for each
		mostThreads     = 10000
		mostPercentiles = 20
		mostRounds      = 1000
		shortest        = 10 * time.Millisecond
		longest         = 24 * time.Hour
	)
	given := make(map[string]bool)
	b.verb.flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if b.shared {
		b.setSharedDefaults(given)
	}
	switch {
	case !b.shared && (given["swap"] || given["visitor"] || given["every"]):
		return "", usageError("-swap, -visitor and -every are for -shared; type: packlock bench -shared DIR")
	case b.json && b.csv:
		return "", usageError("-json or -csv, not both")
	case slices.Min(b.processes.values) < 1 || slices.Max(b.processes.values) > mostProcesses:
		return "", usageError("-processes must be from 1 to %d; type: packlock help bench", mostProcesses)
	case slices.Min(b.goroutines.values) < 1 || slices.Max(b.goroutines.values) > mostGoroutines:
		return "", usageError("-goroutines must be from 1 to %d; type: packlock help bench", mostGoroutines)
	case slices.Max(b.processes.values)*slices.Max(b.goroutines.values) > mostThreads:
		return "", usageError("-processes times -goroutines must not be more than %d, for which many systems have no threads", mostThreads)
	case b.duration < shortest || b.duration > longest:
		return "", usageError("-duration must be from 10ms to 24h; type: packlock help bench")
	case slices.Max(b.section.values) > b.duration:
		return "", usageError("-section must not be longer than -duration, which is %v", b.duration)
	case len(b.percentiles.values) > mostPercentiles:
		return "", usageError("no more than %d percentiles at a time", mostPercentiles)
	case b.rounds < 1 || b.rounds > mostRounds:
		return "", usageError("-rounds must be from 1 to %d; type: packlock help bench", mostRounds)
	}
	return dir, nil
}

// scenarios returns what is to be run.
func (b *bencher) scenarios() (set []contend.Scenario) {
	chosen := false
	b.verb.flags.Visit(func(f *flag.Flag) {
		chosen = chosen || f.Name == "goroutines" || f.Name == "section"
	})
	seen := make(map[string]bool)
	add := func(s contend.Scenario) {
		if !seen[s.Name] { // in the set, not all are of more than one process
			seen[s.Name] = true
			set = append(set, s)
		}
	}
	for _, processes := range b.processes.values {
		if !chosen {
			for _, s := range contend.Matrix(processes) {
				add(s)
			}
			continue
		}
		for _, goroutines := range b.goroutines.values {
			for _, section := range b.section.values {
				add(contend.Even(processes, goroutines, section))
			}
		}
	}
	return set
}

func (b *bencher) bench(ctx context.Context, dir string) error {
	own, err := os.MkdirTemp(dir, ".packlock-bench-")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; create it first", noDirectory(dir))
	case err != nil:
		return fmt.Errorf("a temporary directory is needed there: %w", err)
	}
	defer os.RemoveAll(own)
	sidecar := filepath.Join(own, packlock.FileName)
	if err := os.WriteFile(sidecar, nil, 0o666); err != nil {
		return err
	}

	c := contend.Comparison{Path: sidecar, Rounds: b.rounds, Duration: b.duration}
	if c.Libraries, err = contenders.Available(sidecar); err != nil {
		return err
	}
	for _, needed := range []contend.Library{contend.Packlock, contend.Flock} {
		if !slices.Contains(c.Libraries, needed.Name) {
			return fmt.Errorf("%s: %w", needed.Name, errors.ErrUnsupported)
		}
	}
	if b.shared {
		c.Libraries = c.Libraries[:2]
		return b.benchShared(ctx, c)
	}
	set := b.scenarios()
	clear := b.showProgress(&c, len(set))
	defer clear()

	report := b.newReport()
	table := newBenchTable(b.percentiles.values)
	switch {
	case b.csv:
		printCSVHeader(&stdout, csvFigures(b.percentiles.values))
	case !b.json:
		report.printHeading(&stdout)
		table.printHeader(&stdout)
	}
	for _, s := range set {
		rounds, err := contenders.Compare(ctx, c, s)
		if err != nil {
			return err
		}
		clear()
		row := newBenchRow(s, c.Libraries, rounds, b.percentiles.values)
		report.Scenarios = append(report.Scenarios, row)
		switch {
		case b.csv:
			printCSV(&stdout, row, csvFigures(b.percentiles.values))
		case !b.json:
			table.printRow(&stdout, row)
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

// newReport returns the report without what is measured.
func (b *bencher) newReport() benchReport {
	return benchReport{
		System:     runtime.GOOS + "/" + runtime.GOARCH,
		Go:         runtime.Version(),
		Processors: runtime.NumCPU(),
		Rounds:     b.rounds,
		Duration:   b.duration,
	}
}

// showProgress has c show on a terminal which round of that many scenarios it runs, and
// returns what clears the line.
func (b *bencher) showProgress(c *contend.Comparison, scenarios int) (clear func()) {
	if !isTerminal(os.Stderr) {
		return func() {}
	}
	n, total := 0, scenarios*b.rounds*len(c.Libraries)
	c.Before = func(s contend.Scenario, library string, round int) {
		n++
		fmt.Fprintf(os.Stderr, "\r\x1b[K%d of %d: %s, %s", n, total, s.Name, library)
	}
	return func() { fmt.Fprint(os.Stderr, "\r\x1b[K") }
}
