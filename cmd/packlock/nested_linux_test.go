package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packlock"
)

// bare returns a command line that runs another with nothing in its environment but
// what makes it a packlock.
func bare(line ...string) []string {
	return append([]string{"env", "-i", roleVariable + "=1"}, line...)
}

func TestNestedRunWithoutTheVariableIsRefused(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("the command line of a process under an emulator is that of the emulator")
	}
	dir := packs(t, "pack")[0]
	skipUnlessListedWhenHeld(t, dir)
	lockFile := filepath.Join(dir, packlock.FileName)
	nested := bare(self(t, "run", "-timeout", "10s", dir, "--", "true")...)
	check := func(c *child, line []string, says ...string) {
		t.Helper()
		status, _, stderr := c.output()
		for _, want := range append(says, fmt.Sprintf("packlock: run: %s is already held by ", dir)) {
			if status != 75 || !strings.Contains(stderr, want) {
				t.Errorf("%q: exit status %d, %q lacks %q", line, status, stderr, want)
			}
		}
	}
	for _, outer := range [][]string{
		{"run", dir, "--"},
		{"run", "-o", dir, "--"},
		{"run", "-f", lockFile, "--"},
		{"run", dir, "--", "sh", "-c", `"$@"; exit $?`, "sh"},
	} {
		c := command(t, append(outer, nested...)...)
		c.cmd.Env = append(c.cmd.Env, "PATH="+os.Getenv("PATH"))
		// Its pid is not known before it has started.
		check(c, outer, " run ", ", which this command is part of\n")
	}

	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip("flock(1) is not installed")
	}
	for _, outer := range [][]string{{"flock", lockFile}, {"flock", "-o", lockFile}} {
		c := command(t)
		c.cmd = exec.Command(outer[0], append(outer[1:], nested...)...)
		check(c, outer, "("+outer[0]+" ", ", which this command is part of\n")
	}
	// The one that took the lock has ended.
	c := command(t)
	c.cmd = exec.Command("sh", append([]string{"-c", `exec 9<"$0"; flock 9; "$@"; exit $?`, lockFile}, nested...)...)
	check(c, c.cmd.Args[:3], "(sh -c ", "; this process inherited the lock\n")
}

func TestAncestorThatMayReleaseIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	lock, err := packlock.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	hold, err := lock.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	skipUnlessListed(t, dir)
	c := command(t, underLock(t, dir, "test:exit", "6")...).start()
	want := fmt.Sprintf("waiting for %s, held by pid %d (", dir, os.Getpid())
	if line := c.readLine(c.stderr); !strings.Contains(line, want) {
		t.Errorf("%q lacks %q", line, want)
	}
	if err := hold.Release(); err != nil {
		t.Fatal(err)
	}
	if status := c.wait(); status != 6 {
		t.Errorf("exit status %d, want that of the command, 6", status)
	}
}

func TestStatusDoesNotWaitForAnAncestorWithoutTheVariable(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("the command line of a process under an emulator is that of the emulator")
	}
	dir := packs(t, "pack")[0]
	skipUnlessListedWhenHeld(t, dir)
	c := command(t, append([]string{"run", dir, "--"}, bare(self(t, "status", "-wait", dir)...)...)...)
	status, stdout, stderr := c.output()
	want := "packlock: status: " + dir + " is held by pid "
	if status != 2 || stdout != "" || !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, partOf) {
		t.Errorf("exit status %d, %q, %q; want %q", status, stdout, stderr, want)
	}
}

func TestRunThatHasEndedIsNotConfusedWithAProcessOfItsPid(t *testing.T) {
	pid := os.Getpid()
	for _, test := range []struct {
		line      heldLine
		inherited bool
		want      string
	}{
		{heldLine{pid: pid, since: time.Now()}, true, ", which this command is part of"},
		{heldLine{pid: pid}, false, ", which this command is part of"},
		{heldLine{pid: pid, since: time.Unix(0, 0)}, true, fmt.Sprintf("pid %d, which has ended; this process inherited the lock", pid)},
		{heldLine{pid: 1 << 30, since: time.Now()}, false, "pid 1073741824, which has ended"},
	} {
		if got := runAbove(test.line, test.inherited); !strings.HasSuffix(got, test.want) || !strings.HasPrefix(got, fmt.Sprintf("pid %d", test.line.pid)) {
			t.Errorf("%+v: %q, want %q", test.line, got, test.want)
		}
	}
	// A zombie.
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	if err := unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := runAbove(heldLine{pid: c.Process.Pid, since: time.Now()}, false), fmt.Sprintf("pid %d, which has ended", c.Process.Pid); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNestedRunOfBothKindsWithoutTheVariable(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("the command line of a process under an emulator is that of the emulator")
	}
	dir := packs(t, "pack")[0]
	skipUnlessListedWhenHeld(t, dir)
	for _, test := range []struct {
		outer, inner []string
		status       int
		said         string
	}{
		{[]string{"-s", dir}, []string{"-n", "-s", dir}, 4, ""},
		{[]string{"-o", "-s", dir}, []string{"-n", "-s", dir}, 4, ""},
		{[]string{"-s", dir}, []string{dir}, 75, " is already held shared by pid "},
		{[]string{"-o", "-s", dir}, []string{dir}, 75, " is already held shared by pid "},
		{[]string{dir}, []string{"-s", dir}, 75, " is already held by pid "},
	} {
		inner := bare(self(t, runs(t, 4, test.inner...)...)...)
		// The command of the inner run has the role, too.
		args := append(append(append([]string{"run"}, test.outer...), "--"), inner...)
		expect(t, test.status, args, test.said)
	}
}

func TestStatusListsWhichWaitersAreShared(t *testing.T) {
	dir := packs(t, "pack")[0]
	hold(t, dir)
	skipUnlessListed(t, dir)
	for i, flag := range []string{"-x", "-s"} {
		c := command(t, runs(t, 0, flag, dir)...).start()
		states := statusUntil(t, func(states []packState) bool { return len(states[0].Waiters) > i }, dir)
		for _, w := range states[0].Waiters {
			if w.PID == c.cmd.Process.Pid && w.Shared != (flag == "-s") {
				t.Errorf("run %s: %+v", flag, w)
			}
		}
	}
}
