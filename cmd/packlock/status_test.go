package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"packlock"
)

// packs makes directories of these names, with a sidecar each.
func packs(t *testing.T, names ...string) (dirs []string) {
	t.Helper()
	parent := t.TempDir()
	for _, name := range names {
		dir := filepath.Join(parent, name)
		lock, err := packlock.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// statusJSON runs status -json with args and returns its exit status and what
// it prints.
func statusJSON(t *testing.T, args ...string) (status int, states []packState) {
	t.Helper()
	status, stdout, stderr := command(t, append([]string{"status", "-json"}, args...)...).output()
	if err := json.Unmarshal([]byte(stdout), &states); err != nil {
		t.Fatalf("%v: %q, %q", err, stdout, stderr)
	}
	return status, states
}

func TestStatusOfFreePacks(t *testing.T) {
	dirs := packs(t, "one", "two")
	status, stdout, stderr := command(t, "status", dirs[0], dirs[1]).output()
	want := fmt.Sprintf("free  %s\nfree  %s\n", dirs[0], dirs[1])
	if status != 0 || stdout != want || stderr != "" {
		t.Errorf("exit status %d, %q, %q; want %q", status, stdout, stderr, want)
	}
}

func TestStatusOfHeldPackNamesTheHolder(t *testing.T) {
	dirs := packs(t, "free", "a longer name")
	holder, _ := hold(t, dirs[1])
	status, stdout, stderr := command(t, "status", dirs[0], dirs[1]).output()
	want := fmt.Sprintf("free  %s\nheld  %s  by ", dirs[0], dirs[1])
	said := "another process"
	if runtime.GOOS == "linux" {
		said = fmt.Sprintf("by pid %d (", holder.cmd.Process.Pid)
	}
	if status != 1 || stderr != "" || !strings.HasPrefix(stdout, want) || !strings.Contains(stdout, said) {
		t.Errorf("exit status %d, %q, %q; want %q, %q", status, stdout, stderr, want, said)
	}
}

func TestStatusIsAligned(t *testing.T) {
	dirs := packs(t, "short", "ümläut and löng")
	hold(t, dirs[0])
	hold(t, dirs[1])
	_, stdout, _ := command(t, "status", dirs[0], dirs[1]).output()
	var columns []int
	for line := range strings.Lines(stdout) {
		before, _, found := strings.Cut(line, "  by ")
		if !found {
			t.Fatalf("%q: no holder", line)
		}
		columns = append(columns, len([]rune(before)))
	}
	if len(columns) != 2 || columns[0] != columns[1] {
		t.Errorf("holders in columns %v:\n%s", columns, stdout)
	}
}

func TestStatusInJSON(t *testing.T) {
	dirs := packs(t, "free", "held")
	started := time.Now()
	holder, heir := hold(t, dirs[1])
	missing := filepath.Join(dirs[0], "missing")
	status, states := statusJSON(t, dirs[0], dirs[1], missing)
	if status != 2 || len(states) != 3 {
		t.Fatalf("exit status %d, %v", status, states)
	}
	free, held, trouble := states[0], states[1], states[2]
	if free.Dir != dirs[0] || free.State != "free" || free.HeldBy != "" || len(free.Holders) != 0 || free.Waiting == nil {
		t.Errorf("free: %+v", free)
	}
	if held.Dir != dirs[1] || held.State != "held" || held.HeldBy == "" {
		t.Errorf("held: %+v", held)
	}
	if runtime.GOOS == "linux" {
		if len(held.Holders) != 2 || held.Holders[0].PID != holder.cmd.Process.Pid || held.Holders[1].PID != heir {
			t.Fatalf("holders: %+v, want pid %d and its heir %d", held.Holders, holder.cmd.Process.Pid, heir)
		}
		first := held.Holders[0]
		if !slices.Equal(first.Args, holder.cmd.Args) || first.Name == "" || first.Command == "" || first.User == "" {
			t.Errorf("holder: %+v", first)
		}
		if first.Started.Before(started.Add(-time.Second)) || held.HeldSince.Before(started.Truncate(time.Millisecond)) || held.HeldSince.After(time.Now()) {
			t.Errorf("started %v, held since %v; the test did at %v", first.Started, held.HeldSince, started)
		}
		if held.Waiting != nil && *held.Waiting != 0 || len(held.Waiters) != 0 {
			t.Errorf("waiting: %v, %v; want 0", held.Waiting, held.Waiters)
		}
	} else if held.Waiting != nil {
		t.Errorf("%d waiting, which is not told here", *held.Waiting)
	}
	if trouble.Dir != missing || trouble.State != "trouble" || trouble.Error == "" || trouble.Waiting != nil {
		t.Errorf("trouble: %+v", trouble)
	}
}

func TestStatusCreatesNothing(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	status, stdout, _ := command(t, "status", dir, missing).output()
	if status != 2 || stdout != "free  "+dir+"\n" {
		t.Errorf("exit status %d, %q", status, stdout)
	}
	for _, path := range []string{missing, filepath.Join(dir, packlock.FileName)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestStatusLeavesThePackFree(t *testing.T) {
	dir := packs(t, "pack")[0]
	expect(t, 0, []string{"status", dir, dir})
	expect(t, 0, append([]string{"run", "-n", dir, "--"}, self(t, "test:exit", "0")...))
}

func TestStatusTroubleIsSaidAndTheRestIsShown(t *testing.T) {
	dirs := packs(t, "free", "odd")
	file := filepath.Join(dirs[0], packlock.FileName)
	sidecar := filepath.Join(dirs[1], packlock.FileName)
	if err := os.Remove(sidecar); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(sidecar, 0o777); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dirs[0], "missing")
	for _, test := range []struct{ dir, says string }{
		{missing, "there is no directory " + missing},
		{file, file + " is not a directory"},
		{dirs[1], sidecar + ": is a directory"},
	} {
		status, stdout, stderr := command(t, "status", test.dir, dirs[0]).output()
		want := "packlock: status: "
		if status != 2 || !strings.HasPrefix(stderr, want) || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit status %d, %q; want %q in one line", test.dir, status, stderr, test.says)
		}
		if !strings.HasPrefix(stdout, "free  ") || !strings.HasSuffix(stdout, dirs[0]+"\n") || strings.Count(stdout, "\n") != 1 {
			t.Errorf("%s: %q", test.dir, stdout)
		}
	}
}

func TestStatusSaysWhatIsWrongWithTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{dir, ""}, "DIR is empty; for the current directory type: packlock status ."},
		{[]string{"--", ""}, "DIR is empty"},
		{[]string{"-json=", dir}, "packlock help status"},
		{[]string{"-frob", dir}, "packlock help status"},
		{[]string{dir, "-frob"}, "packlock help status"},
		{[]string{"-json=maybe", dir}, "packlock help status"},
	} {
		status, stdout, stderr := command(t, append([]string{"status"}, test.args...)...).output()
		if status != 2 || stdout != "" || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit status %d, %q, %q; want %q in one line", test.args, status, stdout, stderr, test.says)
		}
	}
	if _, stdout, _ := command(t, "status", dir, "-json").output(); !json.Valid([]byte(stdout)) {
		t.Errorf("-json after DIR: %q", stdout)
	}
	c := command(t, "status", "--", "-json", "-x")
	c.cmd.Dir = dir
	if err := os.Mkdir(filepath.Join(dir, "-json"), 0o777); err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr := c.output(); status != 2 || stdout != "free  -json\n" || !strings.Contains(stderr, "no directory -x") {
		t.Errorf(`after "--": exit status %d, %q, %q`, status, stdout, stderr)
	}
}

func TestNamesThatPlayTricksAreQuoted(t *testing.T) {
	for dir, want := range map[string]string{
		"plain":          "plain",
		`C:\two words`:   `C:\two words`,
		"über":           "über",
		"a\nfree  b":     `"a\nfree  b"`,
		"\x1b[2Jcleared": `"\x1b[2Jcleared"`,
		"\xff":           `"\xff"`,
	} {
		if got := legible(dir); got != want {
			t.Errorf("%q: %s, want %s", dir, got, want)
		}
	}
}

func TestStatusIsOfTheWorst(t *testing.T) {
	dirs := packs(t, "free", "held")
	hold(t, dirs[1])
	missing := filepath.Join(dirs[0], "missing")
	for _, test := range []struct {
		status int
		dirs   []string
	}{
		{0, []string{dirs[0]}},
		{1, []string{dirs[0], dirs[1], dirs[0]}},
		{2, []string{missing, dirs[1]}},
		{2, []string{dirs[1], missing, dirs[0]}},
	} {
		expect(t, test.status, append([]string{"status"}, test.dirs...))
		expect(t, test.status, append([]string{"status", "-json"}, test.dirs...))
	}
}

func TestStatusIsOfTheCurrentDirectory(t *testing.T) {
	dir := packs(t, "pack")[0]
	for _, args := range [][]string{{"status"}, {"status", "--"}, {"status", "."}} {
		c := command(t, args...)
		c.cmd.Dir = dir
		if status, stdout, stderr := c.output(); status != 0 || stdout != "free  .\n" {
			t.Errorf("%q: exit status %d, %q, %q", args, status, stdout, stderr)
		}
	}
	hold(t, dir)
	c := command(t, "status")
	c.cmd.Dir = dir
	if status, stdout, _ := c.output(); status != 1 || !strings.HasPrefix(stdout, "held  .  by ") {
		t.Errorf("exit status %d, %q", status, stdout)
	}
}

func TestStatusWaitsUntilAllAreFree(t *testing.T) {
	t.Parallel()
	dirs := packs(t, "one", "two", "three")
	one, _ := hold(t, dirs[0])
	three, _ := hold(t, dirs[2])
	waiter := command(t, append([]string{"status", "-wait"}, dirs...)...).start()
	if line := waiter.readLine(waiter.stderr); !strings.HasPrefix(line, "packlock: status: waiting for "+dirs[0]+", held by ") {
		t.Errorf("%q", line)
	}
	one.stdin.Close()
	one.wait()
	three.stdin.Close()
	for _, dir := range dirs {
		if line := waiter.readLine(waiter.stdout); line != "free  "+dir {
			t.Errorf("%q, want %s to be free", line, dir)
		}
	}
	if status := waiter.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	expect(t, 0, append([]string{"run", "-n", dirs[0], "--"}, self(t, "test:exit", "0")...)) // it keeps nothing
	expect(t, 0, append([]string{"status", "-wait"}, dirs...))
	expect(t, 2, []string{"status", "-wait", filepath.Join(dirs[0], "missing"), dirs[1]}, "no directory")
}

func TestStatusDoesNotWaitForARunThatItIsPartOf(t *testing.T) {
	dirs := packs(t, "held", "free", "other")
	hold(t, dirs[2])
	for _, args := range [][]string{{dirs[0]}, {dirs[1], dirs[0]}, {"-json", dirs[0]}, {dirs[2], dirs[0]}} {
		c := command(t, underLock(t, dirs[0], append([]string{"status", "-wait"}, args...)...)...)
		status, stdout, stderr := c.output()
		want := fmt.Sprintf("packlock: status: %s is held by pid %d", dirs[0], c.cmd.Process.Pid)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, partOf) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit status %d, %q, %q; want %q", args, status, stdout, stderr, want)
		}
	}
	// Without -wait it reports the holder.
	expect(t, 1, underLock(t, dirs[0], "status", dirs[0]))
}
