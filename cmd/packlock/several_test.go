package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"packlock"
)

// runs returns the arguments of packlock for run with args and a command that
// ends with a status.
func runs(t *testing.T, status int, args ...string) []string {
	t.Helper()
	args = append([]string{"run"}, args...)
	return append(append(args, "--"), self(t, "test:exit", fmt.Sprint(status))...)
}

func TestRunLocksSeveralPacks(t *testing.T) {
	dirs := packs(t, "one", "two", "three")
	c := command(t, append([]string{"run", dirs[0], "-q", dirs[1], dirs[2], "--"}, self(t, "test:wait")...)...).start()
	c.ready()
	for _, dir := range dirs {
		expect(t, 75, runs(t, 0, "-n", dir), dir+" is busy")
	}
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, dir := range dirs {
		expect(t, 4, runs(t, 4, "-n", dir))
	}
}

func TestSeveralPacksAreLockedAllOrNone(t *testing.T) {
	dirs := packs(t, "one", "two", "three")
	hold(t, dirs[1])
	for _, flags := range [][]string{{"-n"}, {"-timeout", "20ms"}} {
		expect(t, 75, runs(t, 0, append(flags, dirs...)...), dirs[1]+" is ", "busy", "held by")
		for _, dir := range []string{dirs[0], dirs[2]} {
			expect(t, 0, runs(t, 0, "-n", dir))
		}
	}
}

func TestRunsOfPacksInOppositeOrderDoNotWaitForEachOther(t *testing.T) {
	dirs := packs(t, "one", "two", "three")
	const times = 20
	ended := make(chan int)
	for i := range 2 {
		order := dirs
		if i == 1 {
			order = []string{dirs[2], dirs[1], dirs[0]}
		}
		line := runs(t, 5, order...)
		go func() {
			n := 0
			for range times {
				if status, _, _ := command(t, line...).output(); status == 5 {
					n++
				}
			}
			ended <- n
		}()
	}
	for range 2 {
		if n := <-ended; n != times {
			t.Errorf("%d of %d ran", n, times)
		}
	}
}

func TestNestedRunOfSeveralIsRefusedForTheOneThatIsHeld(t *testing.T) {
	dirs := packs(t, "one", "two", "three")
	nested := append([]string{"test:packlock"}, runs(t, 0, dirs[2], dirs[1])...)
	args := append([]string{"run", dirs[0], dirs[1], "--"}, self(t, nested...)...)
	expect(t, 75, args, dirs[1]+" is already held by pid ", partOf)
}

func init() {
	roles["test:packlock"] = execute
}

func TestWaitForSeveralNamesTheOneThatIsHeld(t *testing.T) {
	t.Parallel()
	dirs := packs(t, "one", "two")
	holder, _ := hold(t, dirs[1])
	c := command(t, runs(t, 3, dirs...)...).start()
	waited := dirs[1] + ", held by pid "
	if runtime.GOOS != "linux" {
		waited = dirs[0] + " and " + dirs[1] + ", held by another process" // no system but Linux tells which
	}
	if line := c.readLine(c.stderr); !strings.HasPrefix(line, "packlock: run: waiting for "+waited) {
		t.Errorf("%q, want it to be about %s", line, waited)
	}
	holder.stdin.Close()
	if status := c.wait(); status != 3 {
		t.Errorf("exit status %d", status)
	}
}

func TestRunLocksAFile(t *testing.T) {
	dir := packs(t, "pack")[0]
	file := filepath.Join(t.TempDir(), "file")
	expect(t, 3, runs(t, 3, "-f", file))
	expect(t, 3, append([]string{"run", "-f", file}, self(t, "test:exit", "3")...)) // without "--"
	if info, err := os.Stat(file); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
	c := command(t, append([]string{"run", "-f", file, dir, "--"}, self(t, "test:wait")...)...).start()
	c.ready()
	expect(t, 75, runs(t, 0, "-n", "-f", file), file+" is busy")
	expect(t, 75, runs(t, 0, "-n", dir), dir+" is busy")
	c.stdin.Close()
	c.wait()
	// It is the sidecar of a pack as any file.
	expect(t, 2, runs(t, 0, dir, "-f", filepath.Join(dir, packlock.FileName)), "is locked by another argument already")

	missing := filepath.Join(dir, "missing", "file")
	expect(t, 1, runs(t, 0, "-f", missing), "packlock: run: ", missing)
	switch runtime.GOOS {
	case "windows":
		expect(t, 1, runs(t, 0, "-f", dir), "packlock: run: ", "is a directory")
	case "linux", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly":
		expect(t, 3, runs(t, 3, "-f", dir))
		expect(t, 3, underLock(t, dir, runs(t, 3, "-n", "-f", dir)...)) // a different lock
	}
}

func TestRunRunsALineByTheShell(t *testing.T) {
	dir := packs(t, "pack")[0]
	for _, args := range [][]string{
		{"run", dir, "-c", "exit 5"},
		{"run", "-c", "exit 5", dir},
		{"run", "-c", "exit 5", "--", dir},
		{"run", "-f", filepath.Join(dir, "file"), "-c", "exit 5"},
	} {
		expect(t, 5, args)
	}
	if runtime.GOOS != "windows" {
		c := command(t, "run", dir, "-c", "echo one; echo $0")
		c.cmd.Env = append(c.cmd.Env, "SHELL=")
		if status, stdout, stderr := c.output(); status != 0 || stdout != "one\n/bin/sh\n" {
			t.Errorf("exit status %d, %q, %q", status, stdout, stderr)
		}
	}
}

func TestDirThatBeginsWithADash(t *testing.T) {
	parent := t.TempDir()
	six := self(t, "test:exit", "6")
	for _, args := range [][]string{
		append([]string{"run", "-n", "--", "-dash", "--"}, six...),
		append([]string{"run", "-n", "--", "-dash"}, six...),
		{"run", "-c", "exit 6", "--", "-dash"},
		append([]string{"run", "-n", "--", "-dash", "-two", "--"}, six...),
	} {
		if err := os.MkdirAll(filepath.Join(parent, "-two"), 0o777); err != nil {
			t.Fatal(err)
		}
		c := command(t, args...)
		c.cmd.Dir = parent
		if status, _, stderr := c.output(); status != 6 {
			t.Errorf("%q: exit status %d, %q", args, status, stderr)
		}
		if _, err := os.Stat(filepath.Join(parent, "-dash", packlock.FileName)); err != nil {
			t.Error(err)
		}
	}
}
