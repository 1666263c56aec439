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
	dir := t.TempDir()
	c := command(t, "bench", "-duration", "1h", dir).start()
	c.readLine(c.stdout) // the head of the table
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if line := c.readLine(c.stderr); line != "packlock: bench: interrupted" {
		t.Errorf("said %q", line)
	}
	if status := c.wait(); status != 130 {
		t.Errorf("status %d, want 130", status)
	}
	checkEmpty(t, dir)
}

func TestBenchSaysWhatIsWrongWithTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 2, "which directory?"},
		{[]string{dir, dir}, 2, "one directory at a time"},
		{[]string{"-processes", "0", dir}, 2, "-processes must be at least 1"},
		{[]string{"-goroutines", "0", dir}, 2, "-goroutines must be from 1"},
		{[]string{dir, "-goroutines", "9999"}, 2, "-goroutines must be from 1"},
		{[]string{"-section", "-1s", dir}, 2, "-section must not be negative"},
		{[]string{"-section", "2s", dir}, 2, "-section must not be longer"},
		{[]string{"-duration", "0s", dir}, 2, "-duration must be at least 10ms"},
		{[]string{"-rounds", "0", dir}, 2, "-rounds must be at least 1"},
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
