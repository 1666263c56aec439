package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"packlock"
	"packlock/internal/contend"
)

func init() { contenders.Launcher = strings.Fields(os.Getenv("TEST_EXEC")) }

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
	if len(results) != 2 || results[0].Library != contend.Packlock.Name || results[1].Library != contend.Flock.Name {
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
		{[]string{"-processes", "0", dir}, 2, "-processes must be from 1 to 200;"},
		{[]string{"-processes", "201", dir}, 2, "-processes must be from 1 to 200;"},
		{[]string{"-processes", "99999999999999999999", dir}, 2, "-processes must be from 1 to 200;"},
		{[]string{"-processes", "x", dir}, 2, "-processes: that is not a number, such as 3; type: packlock help bench"},
		{[]string{"-processes", "", dir}, 2, "-processes: that is not a number"},
		{[]string{"-processes", "200", "-goroutines", "5000", dir}, 2, "-processes times -goroutines must not be more than 10000"},
		{[]string{"-goroutines", "0", dir}, 2, "-goroutines must be from 1"},
		{[]string{dir, "-goroutines", "9999"}, 2, "-goroutines must be from 1"},
		{[]string{dir, "-goroutines", "1.5"}, 2, "-goroutines: that is not a number"},
		{[]string{"-section", "-1s", dir}, 2, "-section: a time is not negative"},
		{[]string{"-section", "20", dir}, 2, "-section: a time has a unit, as in 5s; type: packlock help bench"},
		{[]string{"-section", "2s", dir}, 2, "-section must not be longer"},
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
	for _, c := range columns[2:] {
		if seen[c.title] {
			t.Errorf("two columns %q", c.title)
		}
		if len([]rune(c.title)) > max(c.width, -c.width) {
			t.Errorf("%q is wider than its column", c.title)
		}
		seen[c.title] = true
	}
}
