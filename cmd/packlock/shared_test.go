package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"packlock"
)

// holdShared is hold for a shared lock.
func holdShared(t *testing.T, dir string) (*child, int) {
	t.Helper()
	c := command(t, append([]string{"run", "-s", dir, "--"}, self(t, "test:wait")...)...).start()
	return c, c.ready()
}

// thatWaits starts a run, which says that it waits.
func (c *child) thatWaits() *child {
	c.t.Helper()
	c.start()
	if line := c.readLine(c.stderr); !strings.HasPrefix(line, "packlock: run: waiting for ") {
		c.t.Fatalf("%q", line)
	}
	return c
}

func TestSharedRunsRunTogether(t *testing.T) {
	dir := packs(t, "pack")[0]
	first, _ := holdShared(t, dir)
	second, _ := holdShared(t, dir)
	expect(t, 4, runs(t, 4, "-s", "-n", dir))
	expect(t, 75, runs(t, 0, "-n", dir), dir+" is busy: held ")
	first.stdin.Close()
	first.wait()
	expect(t, 75, runs(t, 0, "-n", dir), dir+" is busy: held ")
	second.stdin.Close()
	second.wait()
	hold(t, dir)
	expect(t, 75, runs(t, 0, "-s", "-n", dir), dir+" is busy: held by ")
}

func TestEachDirIsLockedAsTheFlagBeforeItSays(t *testing.T) {
	dirs := packs(t, "one", "two", "three")
	file := filepath.Join(t.TempDir(), "file")
	for _, test := range []struct {
		line   string // 1 to 3 are the packs, f is the file
		shared string // which of them are
	}{
		{"1 2 -f f", ""},
		{"-s 1 2", "1 2"},
		{"1 -s 2 3", "2 3"},
		{"-s 1 -x 2", "1"},
		{"-s 1 -x 2 -s 3", "1 3"},
		{"-s -x 1 2", ""},
		{"-s=false 1", ""},
		{"-x=false 1", "1"},
		{"--s 1 --x 2", "1"},
		{"1 -s -f f", "f"},
		{"-s -f f -x 1", "f"},
		{"-s -q 1 -timeout=1s", "1"},
	} {
		args := []string{"run"}
		paths := map[string]string{}
		for _, word := range strings.Fields(test.line) {
			switch word {
			case "1", "2", "3":
				dir := dirs[word[0]-'1']
				paths[filepath.Join(dir, packlock.FileName)] = word
				word = dir
			case "f":
				paths[file] = word
				word = file
			}
			args = append(args, word)
		}
		status, stdout, stderr := command(t, append(append(args, "--"), self(t, "test:held")...)...).output()
		var shared []string
		for _, l := range heldLines(stdout) {
			name := paths[l.path]
			if l.shared {
				shared = append(shared, name)
			}
			delete(paths, l.path)
		}
		slices.Sort(shared)
		if got := strings.Join(shared, " "); status != 0 || got != test.shared || len(paths) > 0 {
			t.Errorf("%s: exit status %d, shared %q, want %q; not held: %q; %s", test.line, status, got, test.shared, paths, stderr)
		}
	}
	// What follows "--" is a DIR, too.
	if _, stdout, _ := command(t, append([]string{"run", "-s", "--", dirs[0], dirs[1], "--"}, self(t, "test:held")...)...).output(); strings.Count(stdout, " "+sharedField+"\n") != 2 {
		t.Errorf("%q", stdout)
	}
}

func TestPacksOfBothKindsAreLockedAllOrNone(t *testing.T) {
	dirs := packs(t, "read", "written")
	both := func(flags ...string) []string {
		return runs(t, 3, append(flags, "-s", dirs[0], "-x", dirs[1])...)
	}
	reader, _ := holdShared(t, dirs[0])
	expect(t, 3, both("-n"))
	writer, _ := holdShared(t, dirs[1])
	for _, flags := range [][]string{{"-n"}, {"-timeout", "20ms"}} {
		expect(t, 75, both(flags...), dirs[1]+" is ", "busy", "held ")
	}
	waiter := command(t, both()...).thatWaits()
	reader.stdin.Close()
	reader.wait()
	expect(t, 4, runs(t, 4, "-s", "-n", dirs[0]))
	writer.stdin.Close()
	if status := waiter.wait(); status != 3 {
		t.Errorf("exit status %d", status)
	}
}

func TestPackIsNamedOnceAlsoShared(t *testing.T) {
	dir := packs(t, "pack")[0]
	for _, args := range [][]string{
		{"-s", dir, dir},
		{"-s", dir, "-x", dir},
		{dir, "-s", dir + "/."},
		{"-s", dir, "-f", filepath.Join(dir, packlock.FileName)},
	} {
		expect(t, 2, runs(t, 0, args...), "is locked by another argument already; type it once\n")
	}
}

func TestNestedRunsOfBothKinds(t *testing.T) {
	dirs := packs(t, "pack", "other")
	dir := dirs[0]
	nested := func(outer, inner []string) []string {
		return append(append(append([]string{"run"}, outer...), "--"), self(t, append([]string{"test:packlock"}, inner...)...)...)
	}
	shared, exclusive := []string{"-s", dir}, []string{dir}
	expect(t, 4, nested(shared, runs(t, 4, shared...)))
	expect(t, 4, nested(shared, runs(t, 4, "-n", "-s", dir, "-x", dirs[1])))
	expect(t, 75, nested(exclusive, runs(t, 0, shared...)), dir+" is already held by pid ", partOf)
	stderr := expect(t, 75, nested(shared, runs(t, 0, exclusive...)), " by pid ", partOf)
	want := dir + " is already held shared by pid "
	if runtime.GOOS == "linux" && !strings.Contains(stderr, want) {
		t.Errorf("%q lacks %q", stderr, want)
	}
}

func TestNestedSharedRunDoesNotWaitForAWriter(t *testing.T) {
	if roles["test:then"] == nil {
		t.Skip("the command that begins the nested run later, test:then, is one of Linux")
	}
	dirs := packs(t, "pack", "other")
	for _, inner := range [][]string{
		runs(t, 4, "-s", dirs[0]),
		runs(t, 4, "-s", "-n", dirs[0]),
		runs(t, 4, "-s", dirs[0], "-x", dirs[1]),
	} {
		for _, outer := range [][]string{{"run", "-s", dirs[0], "--"}, {"run", "-o", "-s", dirs[0], "--"}} {
			c := command(t, append(outer, self(t, append([]string{"test:then"}, inner...)...)...)...).start()
			c.ready()
			writer := command(t, runs(t, 6, dirs[0])...).thatWaits()
			c.stdin.Close() // and the nested run begins
			if status := c.wait(); status != 4 {
				t.Errorf("%q in %q: exit status %d", inner, outer, status)
			}
			if status := writer.wait(); status != 6 {
				t.Errorf("the writer: exit status %d", status)
			}
		}
	}
}

func TestNestedSharedRunBelowFlock(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("flock(1) is not installed")
	}
	dir := packs(t, "pack")[0]
	lockFile := filepath.Join(dir, packlock.FileName)
	for _, test := range []struct {
		flag   string
		inner  []string
		status int
	}{
		{"-s", []string{"-n", "-s", dir}, 4},
		{"-s", []string{"-n", dir}, 75},
		{"-x", []string{"-n", "-s", dir}, 75},
	} {
		c := command(t)
		c.cmd = exec.Command(flock, append([]string{test.flag, lockFile}, self(t, runs(t, 4, test.inner...)...)...)...)
		c.cmd.Env = append(os.Environ(), roleVariable+"=1")
		if status, _, stderr := c.output(); status != test.status {
			t.Errorf("run %q below flock %s: exit status %d, want %d; %s", test.inner, test.flag, status, test.status, stderr)
		}
	}
}

func TestWaitForASharedLockSaysSo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no system but Linux tells that a lock is shared")
	}
	dir := packs(t, "pack")[0]
	holder, _ := holdShared(t, dir)
	held := fmt.Sprintf("held shared by pid %d (", holder.cmd.Process.Pid)
	expect(t, 75, runs(t, 0, "-n", dir), dir+" is busy: "+held)
	expect(t, 75, runs(t, 0, "-timeout", "20ms", dir), dir+" is still busy after 20ms: "+held)
	waiter := command(t, runs(t, 3, dir)...).start()
	if line, want := waiter.readLine(waiter.stderr), "waiting for "+dir+", "+held; !strings.Contains(line, want) {
		t.Errorf("%q lacks %q", line, want)
	}
	holder.stdin.Close()
	if status := waiter.wait(); status != 3 {
		t.Errorf("exit status %d", status)
	}
}

func TestStatusOfASharedPack(t *testing.T) {
	dir := packs(t, "pack")[0]
	var pids []int
	for range 2 {
		c, command := holdShared(t, dir)
		pids = append(pids, c.cmd.Process.Pid, command)
	}
	status, stdout, stderr := command(t, "status", dir).output()
	status2, states := statusJSON(t, dir)
	if status != 1 || status2 != 1 || !states[0].Shared {
		t.Errorf("exit statuses %d, %d, %q, %+v", status, status2, stderr, states)
	}
	if runtime.GOOS != "linux" {
		if want := "held  " + dir + "  by shared holds: another process; "; !strings.HasPrefix(stdout, want) {
			t.Errorf("%q, want %q", stdout, want)
		}
		return
	}
	if want := fmt.Sprintf("held  %s  by 2 shared holds: pid ", dir); !strings.HasPrefix(stdout, want) || !strings.HasSuffix(stdout, ", and 3 more; no process waits\n") {
		t.Errorf("%q, want %q", stdout, want)
	}
	var got []int
	for _, p := range states[0].Holders {
		if !p.Shared {
			t.Errorf("pid %d does not have it shared", p.PID)
		}
		got = append(got, p.PID)
	}
	slices.Sort(got)
	slices.Sort(pids)
	if !slices.Equal(got, pids) || states[0].SharedBy != 2 || states[0].HeldSince.IsZero() {
		t.Errorf("%+v; want pids %v", states[0], pids)
	}
	exclusive := packs(t, "exclusive")[0]
	hold(t, exclusive)
	if _, states := statusJSON(t, exclusive); states[0].Shared || states[0].SharedBy != 0 || states[0].Holders[0].Shared {
		t.Errorf("exclusive: %+v", states[0])
	}
}
