package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"packlock"
	"packlock/internal/contend"
)

func init() { contenders.Launcher = strings.Fields(os.Getenv("TEST_EXEC")) }

// newFile returns the name of a file.
func newFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkEmpty checks that bench left nothing behind.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("left behind: %s", entry.Name())
	}
}

func TestBenchTakesFlagsOnBothSidesOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := command(t, "bench", "-processes", "2", "-duration", "20ms", "-rounds", "1",
		dir, "-goroutines", "3", "-section", "50us").output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s", status, stderr)
	}
	for _, want := range []string{"2 × 3, 50 µs section", contend.Packlock.Name, contend.Flock.Name, "1 round of 20ms"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	checkEmpty(t, dir)
}

func TestBenchJSON(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := command(t, "bench", "-json", "-processes", "2", "-goroutines", "1", "-duration", "20ms", "-rounds", "3", dir).output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s", status, stderr)
	}
	var report benchReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Rounds != 3 || report.Duration != 20*time.Millisecond || len(report.Scenarios) != 1 {
		t.Fatalf("%s", stdout)
	}
	results := report.Scenarios[0].Results
	if len(results) < 2 || results[0].Library != contend.Packlock.Name || results[1].Library != contend.Flock.Name {
		t.Fatalf("%s", stdout)
	}
	for _, result := range results {
		if len(result.Rounds) != 3 {
			t.Errorf("%s: %d rounds", result.Library, len(result.Rounds))
		}
		for _, figure := range []string{"operations_per_second", "wait_median_ns", "wait_p99_ns", "wait_worst_ns", "least_to_most_share"} {
			if _, ok := result.Median[figure].(float64); !ok {
				t.Errorf("%s: no %s in the medians", result.Library, figure)
			}
		}
	}
	checkEmpty(t, dir)
}

func TestBenchHasARowForEachCombination(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := command(t, "bench", "-csv", "-processes", "1,2", "-goroutines", "1", "-section", "0,50us",
		"-percentiles", "10,99.9", "-duration", "20ms", "-rounds", "2", dir).output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s", status, stderr)
	}
	lines, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const head = "scenario processes goroutines section_ns lock round operations_per_second allocations_per_operation " +
		"wait_p10_ns wait_p99.9_ns wait_worst_ns least_to_most_share"
	if got := strings.Join(lines[0], " "); got != head {
		t.Errorf("head: %s", got)
	}
	seen := make(map[string]int)
	for _, line := range lines[1:] {
		seen[strings.Join(line[1:6], " ")]++
		for i, cell := range line[6:] {
			_, err := strconv.ParseFloat(cell, 64)
			if noShare := line[1] == "1" && i == len(line)-7; noShare != (cell == "") || cell != "" && err != nil {
				t.Errorf("%s of %q: %q", lines[0][6+i], line[:6], cell)
			}
		}
	}
	locks := []string{contend.Packlock.Name, contend.Flock.Name}
	if has, err := contenders.Available(newFile(t)); err != nil || !slices.Equal(has[:2], locks) {
		t.Fatalf("available: %q, %v", has, err)
	} else {
		locks = has
	}
	rows := 0
	for _, scenario := range []string{"1 1 0", "1 1 50000", "2 1 0", "2 1 50000"} {
		for _, lock := range locks {
			for _, round := range []string{"median", "1", "2"} {
				if key := strings.Join([]string{scenario, lock, round}, " "); seen[key] != 1 {
					t.Errorf("%d lines of %s", seen[key], key)
				}
				rows++
			}
		}
	}
	if rows != len(lines)-1 {
		t.Errorf("%d lines, want %d", len(lines)-1, rows)
	}
	checkEmpty(t, dir)
}

func TestBenchPrintsThePercentilesAskedFor(t *testing.T) {
	status, stdout, stderr := command(t, "bench", "-percentiles", "50,99.99", "-processes", "2", "-goroutines", "1", "-section", "0",
		"-duration", "20ms", "-rounds", "1", t.TempDir()).output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s", status, stderr)
	}
	for line := range strings.Lines(stdout) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "ops/s" {
			if got, want := strings.Join(words, " "), "ops/s to raw median p99.99 worst worst to raw share"; got != want {
				t.Errorf("columns %s, want %s", got, want)
			}
			return
		}
	}
	t.Errorf("no head of the table in\n%s", stdout)
}

func TestBenchOfSharedLocks(t *testing.T) {
	dir := t.TempDir()
	args := []string{"bench", "-shared", "-processes", "1", "-goroutines", "1,2", "-section", "0", "-duration", "20ms", "-every", "1ms", "-percentiles", "50,99.9", dir}
	status, stdout, stderr := command(t, args...).output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s", status, stderr)
	}
	for _, want := range []string{"1 round of 20ms\n", "ops/s to raw got in gave up   median    p99.9    worst    crowd    woken\n", "1 × 1, empty section, shared ", "1 × 2, empty section, shared "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}

	status, stdout, stderr = command(t, append(args, "-csv", "-swap", "-visitor", "own,flock,2ms", "-rounds", "2")...).output()
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr: %s", status, stderr)
	}
	lines, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const head = "scenario processes goroutines section_ns lock round operations_per_second visits visits_given_up " +
		"wait_median_ns wait_p99.9_ns wait_worst_ns crowd_wait_worst_ns wake_worst_ns"
	if got := strings.Join(lines[0], " "); got != head {
		t.Errorf("head: %s", got)
	}
	seen := make(map[string]bool)
	for _, line := range lines[1:] {
		seen[strings.Join(line[:6], ";")] = true
		for i, cell := range line[6:] {
			if _, err := strconv.ParseFloat(cell, 64); err != nil {
				t.Errorf("%s of %q: %q", lines[0][6+i], line[:6], cell)
			}
		}
	}
	if want := 3 * 2 * 2 * 3; len(seen) != want || len(lines) != 1+want {
		t.Errorf("%d lines, %d different ones, want %d: visitors, goroutines, locks, rounds\n%s", len(lines)-1, len(seen), want, stdout)
	}

	status, stdout, stderr = command(t, append(args, "-json")...).output()
	var report benchReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != 0 {
		t.Fatalf("status %d, %v, stderr: %s", status, err, stderr)
	}
	if report.Rounds != 1 || len(report.Scenarios) != 2 || report.Scenarios[1].Visitor != "own" || report.Scenarios[1].Goroutines != 2 || len(report.Scenarios[1].Results) != 2 {
		t.Errorf("%s", stdout)
	}
	checkEmpty(t, dir)
}

func TestBenchOfSharedLocksHasACellForEach(t *testing.T) {
	v := newBench()
	dir := t.TempDir()
	if _, _, stderr := command(t, "bench", "-shared", "-processes", "1", dir, "-section", "4s").output(); !strings.Contains(stderr, "-section must not be longer than -duration, which is 3s") {
		t.Errorf("%q", stderr)
	}
	b := bencher{verb: v}
	b.setSharedDefaults(map[string]bool{"goroutines": true})
	if b.goroutines.values != nil || len(b.processes.values) != 4 || len(b.section.values) != 4 || b.rounds != 1 {
		t.Errorf("%+v", b)
	}
}

func TestSetOfScenariosHasEachOnce(t *testing.T) {
	b := newBench()
	if _, err := b.parse([]string{"-processes", "2,3"}); err != nil {
		t.Fatal(err)
	}
	bench := bencher{verb: b, processes: list[int]{values: []int{2, 3}}}
	count := make(map[string]int)
	for _, s := range bench.scenarios() {
		count[s.Name]++
	}
	for name, n := range count {
		if n != 1 {
			t.Errorf("%s: %d times", name, n)
		}
	}
	if want := 6; count["2 × 8, 1 ms section"] != 1 || count["3 × 1, empty section"] != 1 || len(count) != len(contend.Matrix(2))+want {
		t.Errorf("%v", count)
	}
}

func TestBenchDoesNotLockThePack(t *testing.T) {
	dir := t.TempDir()
	l, err := packlock.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, err := l.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	status, _, stderr := command(t, "bench", "-processes", "1", "-goroutines", "1", "-duration", "10ms", "-rounds", "1", dir).output()
	if status != 0 {
		t.Errorf("status %d, stderr: %s", status, stderr)
	}
}

func TestInterruptedBenchLeavesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted from a program on Windows, only from its console")
	}
	for _, s := range endings {
		dir := t.TempDir()
		c := command(t, "bench", "-duration", "1h", dir).start()
		c.readLine(c.stdout) // the head of the table
		if err := c.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if line := c.readLine(c.stderr); line != "packlock: bench: interrupted" {
			t.Errorf("%v: said %q", s, line)
		}
		if status := c.wait(); status != signalStatus(s) || killer(c.cmd.ProcessState) != s {
			t.Errorf("%v: %v", s, c.cmd.ProcessState)
		}
		checkEmpty(t, dir)
	}
}

func TestBenchSaysWhatIsWrongWithTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 2, "which directory? as in: packlock bench DIR"},
		{[]string{""}, 2, "DIR is empty; for the current directory type: packlock bench ."},
		{[]string{"-json", "--"}, 2, "which directory?"},
		{[]string{dir, dir}, 2, "one directory at a time"},
		{[]string{"-processes", "0", dir}, 2, "-processes must be from 1 to 256;"},
		{[]string{"-processes", "257", dir}, 2, "-processes must be from 1 to 256;"},
		{[]string{"-processes", "99999999999999999999", dir}, 2, "-processes must be from 1 to 256;"},
		{[]string{"-processes", "x", dir}, 2, "-processes: that is not a number, such as 3; type: packlock help bench"},
		{[]string{"-processes", "", dir}, 2, "-processes: that is not a number"},
		{[]string{"-processes", "200", "-goroutines", "5000", dir}, 2, "-processes times -goroutines must not be more than 10000"},
		{[]string{"-processes", "1,257", dir}, 2, "-processes must be from 1 to 256;"},
		{[]string{"-processes", "1,,2", dir}, 2, "-processes: that is not a number"},
		{[]string{"-processes", "1,200", "-goroutines", "1,60", dir}, 2, "-processes times -goroutines must not be more than 10000"},
		{[]string{"-goroutines", "0", dir}, 2, "-goroutines must be from 1"},
		{[]string{dir, "-goroutines", "9999"}, 2, "-goroutines must be from 1"},
		{[]string{dir, "-goroutines", "1.5"}, 2, "-goroutines: that is not a number"},
		{[]string{"-section", "-1s", dir}, 2, "-section: a time is not negative"},
		{[]string{"-section", "20", dir}, 2, "-section: a time has a unit, as in 5s; type: packlock help bench"},
		{[]string{"-section", "2s", dir}, 2, "-section must not be longer"},
		{[]string{"-section", "0,2s", dir}, 2, "-section must not be longer"},
		{[]string{"-section", "0,20", dir}, 2, "-section: a time has a unit, as in 5s"},
		{[]string{"-percentiles", "50,100", dir}, 2, "-percentiles: a percentile is a number between 0 and 100, such as 99.9"},
		{[]string{"-percentiles", "NaN", dir}, 2, "-percentiles: a percentile is a number"},
		{[]string{"-percentiles", "1" + strings.Repeat(",1", 20), dir}, 2, "no more than 20 percentiles"},
		{[]string{"-json", "-csv", dir}, 2, "-json or -csv, not both"},
		{[]string{"-duration", "0s", dir}, 2, "-duration must be from 10ms to 24h"},
		{[]string{"-duration", "25h", dir}, 2, "-duration must be from 10ms to 24h"},
		{[]string{"-duration", "1", dir}, 2, "-duration: a time has a unit, as in 5s; type: packlock help bench"},
		{[]string{"-duration", "3000000h", dir}, 2, "-duration: that is too long"},
		{[]string{"-duration", "soon", dir}, 2, "-duration: that is not a time, such as 5s"},
		{[]string{"-rounds", "0", dir}, 2, "-rounds must be from 1 to 1000;"},
		{[]string{"-rounds", "-99999999999999999999", dir}, 2, "-rounds must be from 1 to 1000;"},
		{[]string{"-rounds", "three", dir}, 2, "-rounds: that is not a number"},
		{[]string{"-rounds"}, 2, "flag needs an argument: -rounds"},
		{[]string{"-json=maybe", dir}, 2, "packlock help bench"},
		{[]string{"-frob", dir}, 2, "packlock help bench"},
		{[]string{"-swap", dir}, 2, "-swap, -visitor and -every are for -shared; type: packlock bench -shared DIR"},
		{[]string{"-visitor", "own", dir}, 2, "are for -shared"},
		{[]string{"-every", "1s", dir}, 2, "are for -shared"},
		{[]string{"-shared", "-visitor", "frob", dir}, 2, "-visitor: a visitor is own, flock, or the time between two tries, as in 10ms"},
		{[]string{"-shared", "-visitor", "own,0s", dir}, 2, "-visitor: a visitor is"},
		{[]string{"-shared", "-every", "10", dir}, 2, "-every: a time has a unit"},
		{[]string{filepath.Join(dir, "missing")}, 1, "there is no directory"},
	} {
		status, _, stderr := command(t, append([]string{"bench"}, test.args...)...).output()
		if status != test.status || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: status %d, want %d; said %q, want %q in one line", test.args, status, test.status, stderr, test.says)
		}
	}
	checkEmpty(t, dir)
}

func TestColumnsOfTheTableDiffer(t *testing.T) {
	seen := map[string]bool{"": true}
	for _, c := range newBenchTable([]float64{50, 99, 99.99, 12.3456789})[2:] {
		if seen[c.title] {
			t.Errorf("two columns %q", c.title)
		}
		if len([]rune(c.title)) > max(c.width, -c.width) {
			t.Errorf("%q is wider than its column", c.title)
		}
		seen[c.title] = true
	}
}
