package main

import (
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"packlock/internal/contend"
	"packlock/locktest"
)

func TestMain(m *testing.M) {
	locktest.Child(peerLibs()...)
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		program.Work()
	}
	program.Launcher = strings.Fields(os.Getenv("TEST_EXEC"))
	// Workers would sleep for a second before they exit, for other goroutines to
	// report races.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

func TestPageOfThePeersHasEveryOneOfThem(t *testing.T) {
	var reports []locktest.Report
	for range peers {
		reports = append(reports, locktest.Report{Checks: []locktest.Result{
			{Name: "excludes", Outcome: locktest.OK},
			{Name: "no polling", Outcome: locktest.Lacks, Detail: "it asks"},
		}})
	}
	page := peersPage(t.TempDir(), reports)
	for _, p := range peers {
		for _, says := range []string{"| " + p.Name + " |", "\n## " + p.Name + "\n", withVersion(p.about)} {
			if !strings.Contains(page, says) {
				t.Errorf("no %q in:\n%s", says, page)
			}
		}
	}
	if row := "| no polling |" + strings.Repeat(" no |", len(peers)) + "\n"; !strings.Contains(page, row) {
		t.Errorf("no %q in:\n%s", row, page)
	}
}

func TestWhatPacklockClaimsIsSoByTheBenchToo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	r, err := locktest.Test(t.Context(), t.TempDir(), peers[0].Lib)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Trusted {
		t.Error(r)
	}
}

func lockFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryLibraryExcludesAsItIsUsedHere(t *testing.T) {
	for _, l := range libraries {
		_, err := program.Run(t.Context(), contend.Spec{
			Library:  l.Name,
			Path:     lockFile(t),
			Scenario: contend.Even(2, 3, 100*time.Microsecond),
			Duration: 30 * time.Millisecond,
		})
		if err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
	}
}

func TestWaitsAndCancelsOfEveryLibrary(t *testing.T) {
	if _, _, err := status(); err != nil {
		t.Skipf("no threads and memory of a process on %s: %v", runtime.GOOS, err)
	}
	path := lockFile(t)
	held, err := holdRaw(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	for _, l := range libraries {
		var waits usage
		if err := program.Call(t.Context(), taskWait, waitRequest{l.Name, path, 50}, &waits); err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
		var cancels cancelReply
		if err := program.Call(t.Context(), taskCancel, waitRequest{l.Name, path, 200}, &cancels); err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
		if most := cancels.Left.Threads; l.cancels == (most > 100) {
			t.Errorf("%s: %d threads left of 200 cancelled waits; gives up: %v", l.Name, most, l.cancels)
		}
	}
}

func TestSharedLocksOfEverything(t *testing.T) {
	r, err := measureShared(t.Context(), lockFile(t), sharedEffort{
		rounds: 1, inside: 20 * time.Millisecond, waits: 100, visits: 30 * time.Millisecond,
		processes: []int{1, 2}, goroutines: []int{2}, sections: []time.Duration{0, time.Millisecond}, polls: []time.Duration{time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range insideShared {
		if got, want := len(r.inside[s.Name]), len(sharers)+2; got != want {
			t.Errorf("%s: %d libraries and limits, want %d", s.Name, got, want)
		}
	}
	if r.noUsage == nil {
		// Raw flock has a descriptor for each hold, and a thread for each wait.
		for i, want := range []struct{ files, threads int }{{0, 1}, {100, 100}} {
			if h, w := r.holds[i], r.waits[i]; h.Files < want.files || h.Files > want.files+5 || w.Threads < want.threads-5 || w.Threads > want.threads+10 {
				t.Errorf("%s: holds %+v, waits %+v; want %+v", sharers[i].Name, h, w, want)
			}
		}
	}
	page := r.page()
	for _, want := range []string{
		"\n| join |", "\n| " + joinParallel.Name + " |", "\n| 64 goroutines, 1 in 100 exclusive |", "\n## A writer among readers\n",
		"\n## A reader among writers\n", "tries every 1ms,", "\n| 2 × 2, 1 ms |", "| 2 × 2, 1 ms: median wait of a writer | want ≤ 6.0 ms, got ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

func TestSharedTargetsAreNotForStrangersAndSpinners(t *testing.T) {
	for _, test := range []struct {
		visits
		want int
	}{
		{visits{own: true, processes: 1, goroutines: 1}, 5},
		{visits{own: true, processes: 1, goroutines: 1, exclusively: true}, 1},
		{visits{own: true, processes: 10 * runtime.NumCPU(), goroutines: 1, section: time.Millisecond}, 5},
		{visits{own: true, processes: 10 * runtime.NumCPU(), goroutines: 1, section: time.Microsecond}, 0},
		{visits{processes: 1, goroutines: 1}, 0},
	} {
		if got := len(test.targets()); got != test.want {
			t.Errorf("%+v: %d targets, want %d", test.visits, got, test.want)
		}
	}
}

// made returns results in which library i has i+1 times the figures of the
// first; a limit has those of the first.
func made() *results {
	r := &results{effort: shortEffort, figures: make(map[string]map[string]contend.Figures)}
	for _, s := range slices.Concat(inside, cold, between, asking, []contend.Scenario{wakeUp}) {
		r.figures[s.Name] = make(map[string]contend.Figures)
		for _, name := range measured(s) {
			times := max(indexOf(name), 0) + 1
			r.figures[s.Name][name] = contend.Figures{
				Rate: 1e6 * float64(times), P50: 1000, P99: 2000, Worst: 3000 * time.Duration(times), Share: 0.1, Mallocs: 1,
			}
		}
	}
	for i := range libraries {
		r.waits = append(r.waits, usage{Threads: i, Memory: 1 << 20})
		r.cancels = append(r.cancels, cancelCost{waits: 1})
	}
	return r
}

func TestVersionOfThePeersModule(t *testing.T) {
	for about, want := range map[string]string{
		"github.com/gofrs/flock: `Lock`":                      `^github.com/gofrs/flock v[0-9.]+: .Lock.$`,
		"github.com/rogpeppe/go-internal/lockedfile: `Mutex`": `^github.com/rogpeppe/go-internal/lockedfile v[0-9.]+: .Mutex.$`,
		"the same: waiting":                                   `^the same: waiting$`,
	} {
		if got := withVersion(about); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q: %q", about, got)
		}
	}
}

func TestPartTakesThePlaceOfTheOldOne(t *testing.T) {
	out := t.TempDir()
	write := func(name, text string) string {
		if err := (page{name: name}).write(out, text); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(filepath.Join(out, "benchmarks.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(written)
	}
	write("growth", "## Growth\n\nold\n")
	both := write("beside", "## Beside\n")
	if !strings.HasPrefix(both, pageStart) || !strings.HasSuffix(both, "\n<!-- beside -->\n\n## Beside\n\n<!-- /beside -->\n") {
		t.Errorf("got\n%s", both)
	}
	if got, want := write("growth", "## Growth\n\nnew\n"), strings.Replace(both, "old", "new", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTargetsAreRatiosToRawFlock(t *testing.T) {
	lines := make(map[string]string)
	for _, target := range made().targets() {
		lines[target.what] = target.figures() + ", " + target.verdict()
	}
	for what, want := range map[string]string{
		"alone, time of raw flock's":                                         "want ≤ 1.70, got 2.00, missed",
		"4 × 1, empty section, throughput of raw flock's":                    "want ≥ 0.60, got 0.50, missed",
		"4 × 8, 1 ms section, worst wait of raw flock's":                     "want ≤ 0.10, got 0.50, missed",
		"4 × 1, empty section, worst wait of raw flock's":                    "want ≤ 0.50, got 0.50, reached",
		"wake-up, median of raw flock's":                                     "want ≤ 1.40, got 1.00, reached",
		"alone, time of its limit":                                           "want ≤ 1.12, got 1.00, reached",
		"packlock, 1 × 8, time of raw flock's":                               "want ≤ 0.40, got 2.00, missed",
		"packlock, a Lock each, 1 × 64, from cold, time of its limit":        "want ≤ 1.20, got 1.00, reached",
		"1000 waiters, threads more":                                         "want ≤ 1, got 0, reached",
		"1000 waiters, memory of each":                                       "want ≤ 3.50 KB, got 1.02 KB, reached",
		"1 × 8 against one asking every 10 ms, 99th percentile of its waits": "want ≤ 5.00 ms, got 0.00 ms, reached",
	} {
		if lines[what] != want {
			t.Errorf("%s: %q, want %q", what, lines[what], want)
		}
	}
}

func TestTargetGoesByThePrintedFigure(t *testing.T) {
	for got, want := range map[float64]bool{1.7: true, 1.704: true, 1.706: false, math.NaN(): false} {
		if reached := (target{sign: "≤", bound: 1.7, got: got}).reached(); reached != want {
			t.Errorf("%v of 1.7 reached: %v", got, reached)
		}
	}
}

func TestTableMarksTheBest(t *testing.T) {
	text := made().markdown()
	for _, want := range []string{"| 1 M | 2 M |", "| **9 M** |", "| **3 µs** | 6 µs |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestPicture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picture")
	if err := made().draw(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path + ".png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	svg, err := os.ReadFile(path + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libraries {
		if !strings.Contains(string(svg), ">"+l.Name+"<") {
			t.Errorf("no %s in the picture", l.Name)
		}
	}
}
