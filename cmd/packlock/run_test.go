package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"packlock"
)

func TestStatusOfCommandIsPassedOn(t *testing.T) {
	dir := t.TempDir()
	for _, status := range []int{0, 3, 255} {
		expect(t, status, underLock(t, dir, "test:exit", strconv.Itoa(status)))
	}
}

func TestFlagsMayFollowDir(t *testing.T) {
	dir := t.TempDir()
	four := self(t, "test:exit", "4")
	expect(t, 4, append([]string{"run", "-n", dir, "-E", "9", "--"}, four...))
	hold(t, dir)
	expect(t, 9, append([]string{"run", "-n", dir, "-E", "9", "--"}, four...))
}

func TestDashesMayBeLeftOut(t *testing.T) {
	// What follows COMMAND is not run's: "test:exit -n" exits with 0.
	expect(t, 0, append([]string{"run", "-n", t.TempDir()}, self(t, "test:exit", "-n")...))
}

func TestCommandThatCannotBeRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("not a program"), 0o666); err != nil {
		t.Fatal(err)
	}
	expect(t, 127, []string{"run", dir, "--", "no-such-command-anywhere"}, "packlock: run: no-such-command-anywhere: command not found\n")
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("qemu-user: a forked child whose exec fails may hang at its exit, on a mutex of the emulator that another thread had locked at the fork")
	}
	none := filepath.Join(dir, "none")
	expect(t, 127, []string{"run", dir, "--", none}, "packlock: run: "+none+": ")
	if runtime.GOOS == "windows" {
		t.Skip("Windows: which file can be executed is said by its name, so there is nothing between found and not")
	}
	expect(t, 126, []string{"run", dir, "--", file}, "packlock: run: "+file+": permission denied\n")
	expect(t, 126, []string{"run", dir, "--", dir}, "packlock: run: "+dir+": is a directory\n")
}

func TestEmptyCommandIsCalledThat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	for _, args := range [][]string{{dir, "--", ""}, {dir, ""}, {"--", dir, "--", "", "x"}, {"-f", dir, "--", ""}} {
		const says = "packlock: run: COMMAND is empty; type: " + synopsis + "\n"
		if stderr := expect(t, 127, append([]string{"run"}, args...)); stderr != says {
			t.Errorf("%q: %q, want %q", args, stderr, says)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: created what it was to lock", args)
		}
	}
}

func TestTroubleWithTheLockExits1(t *testing.T) {
	dir := t.TempDir()
	exit0 := self(t, "test:exit", "0")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	expect(t, 1, append([]string{"run", file, "--"}, exit0...), "packlock: run: ", file)
}

func TestLinkToNothingIsCalledThat(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not every user of Windows may make a symbolic link, and Wine shows one to nothing as something else")
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nothing"), link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	says := link + " is a symbolic link to nothing"
	exit0 := self(t, "test:exit", "0")
	for _, dir := range []string{link, link + string(filepath.Separator), filepath.Join(link, "pack")} {
		expect(t, 1, append([]string{"run", dir, "--"}, exit0...), "packlock: run: "+says)
		expect(t, 2, []string{"status", dir}, "packlock: status: "+says)
		expect(t, 1, []string{"bench", dir}, "packlock: bench: "+says)
	}
}

func TestRunSaysWhatIsWrongWithAFlag(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ flag, value, says string }{
		{"-timeout", "2562048h", "that is too long, the longest time is 2562047h"},
		{"-timeout", "99999999999999999999s", "that is too long"},
		{"-timeout", "-5s", "a time is not negative"},
		{"-timeout", "-2562048h", "a time is not negative"},
		{"-timeout", "1e3s", "that is not a time, such as 5s"},
		{"-timeout", "s", "that is not a time"},
		{"-timeout", "", "that is not a time"},
		{"-timeout", "5 s", "that is not a time"},
		{"-timeout", "1e3", "a time has a unit"},
		{"-E", "256", "a status is a number from 0 to 255"},
		{"-E", "-1", "a status is a number"},
		{"-E", "busy", "a status is a number"},
		{"-E", "", "a status is a number"},
		{"-n", "maybe", `invalid boolean value "maybe" for -n`},
		{"-q", "", `invalid boolean value "" for -q`},
		{"-o", "2", `invalid boolean value "2" for -o`},
	} {
		args := append([]string{"run", test.flag + "=" + test.value, dir, "--"}, self(t, "test:exit", "0")...)
		stderr := expect(t, 2, args, "packlock: run: ", test.says, "; type: packlock help run")
		if strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: not one line: %q", args, stderr)
		}
	}
	for _, flag := range []string{"-timeout", "-E"} {
		expect(t, 2, []string{"run", dir, flag}, "flag needs an argument: "+flag)
	}
}

func TestMissingDirIsCreated(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing", "pack")
	run := append([]string{"run", missing, "--"}, self(t, "test:exit", "0")...)
	expect(t, 0, run, "packlock: run: created the directory "+missing+"\n")
	if _, err := os.Stat(filepath.Join(missing, packlock.FileName)); err != nil {
		t.Error(err)
	}
	if stderr := expect(t, 0, run); stderr != "" {
		t.Errorf("said %q of a directory that is there", stderr)
	}
	run[1] = filepath.Join(missing, "another")
	if stderr := expect(t, 0, slices.Insert(run, 1, "-q")); stderr != "" {
		t.Errorf("said %q", stderr)
	}
}

func TestBusyStatus(t *testing.T) {
	dir := t.TempDir()
	hold(t, dir)
	exit0 := append([]string{dir, "--"}, self(t, "test:exit", "0")...)
	for _, test := range []struct {
		status int
		flags  []string
		said   string
	}{
		{75, []string{"-n"}, "is busy"},
		{75, []string{"-timeout", "0s"}, "is busy"},
		{75, []string{"-timeout", "1ms"}, "still busy after 1ms"},
		{75, []string{"-timeout", "0.05"}, "still busy after 50ms"},
		{75, []string{"-timeout", "0"}, "is busy"},
		{0, []string{"-n", "-E", "0"}, "is busy"},
		{255, []string{"-timeout", "1ms", "-E", "255"}, "still busy"},
	} {
		args := append(append([]string{"run"}, test.flags...), exit0...)
		expect(t, test.status, args, "packlock: run: ", dir, test.said, "held by")
	}
	for _, flags := range [][]string{{"-q", "-n"}, {"-q", "-timeout", "1ms"}} {
		if stderr := expect(t, 75, append(append([]string{"run"}, flags...), exit0...)); stderr != "" {
			t.Errorf("%q: said %q", flags, stderr)
		}
	}
}

func TestWaitIsAnnouncedAndThenTheCommandRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holder, _ := hold(t, dir)
	waiter := command(t, underLock(t, dir, "test:exit", "6")...).start()
	line := waiter.readLine(waiter.stderr)
	want := []string{"packlock: run: ", "waiting for " + dir, "held by "}
	if runtime.GOOS == "linux" {
		want = append(want, fmt.Sprintf("pid %d (", holder.cmd.Process.Pid))
	}
	for _, s := range want {
		if !strings.Contains(line, s) {
			t.Errorf("%q lacks %q", line, s)
		}
	}
	holder.stdin.Close()
	if status := holder.wait(); status != 0 {
		t.Errorf("holder: exit status %d", status)
	}
	if line := waiter.readLine(waiter.stderr); !strings.HasPrefix(line, "packlock: run: got "+dir+" after ") {
		t.Errorf("%q does not say that the wait is over", line)
	}
	if status := waiter.wait(); status != 6 {
		t.Errorf("waiter: exit status %d", status)
	}
}

func TestNoticesBecomeRare(t *testing.T) {
	want := []time.Duration{time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second,
		160 * time.Second, 320 * time.Second, 10 * time.Minute, 10 * time.Minute}
	for n, d := range want {
		if got := untilNotice(n); got != d {
			t.Errorf("notice %d after %v, want %v", n, got, d)
		}
	}
	if got := untilNotice(1000); got != 10*time.Minute {
		t.Errorf("notice 1000 after %v", got)
	}
}

func TestQuietWaitSaysNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hold(t, dir)
	// More than a second, so that there would be something to say.
	args := append([]string{"run", "-q", "-timeout", "1100ms", dir, "--"}, self(t, "test:exit", "0")...)
	if stderr := expect(t, 75, args); stderr != "" {
		t.Errorf("said %q", stderr)
	}
}

func TestCommandIsToldWhatIsHeld(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	outer := command(t, underLock(t, one, underLock(t, two, "test:held")...)...)
	status, stdout, stderr := outer.output()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if status != 0 || len(lines) != 2 {
		t.Fatalf("exit status %d, %q, %q", status, stdout, stderr)
	}
	for i, dir := range []string{one, two} {
		var pid int
		var path string
		if _, err := fmt.Sscanf(lines[i], "%d %q", &pid, &path); err != nil {
			t.Fatalf("%q: %v", lines[i], err)
		}
		if path != filepath.Join(dir, packlock.FileName) {
			t.Errorf("sidecar %s, want that of %s", path, dir)
		}
		if i == 0 && pid != outer.cmd.Process.Pid {
			t.Errorf("pid %d, want %d", pid, outer.cmd.Process.Pid)
		}
	}
}

func TestNestedRunIsRefused(t *testing.T) {
	dir := t.TempDir()
	other := dir + string(filepath.Separator) + ".." + string(filepath.Separator) + filepath.Base(dir)
	nested := underLock(t, other, "test:exit", "0")
	c := command(t, underLock(t, dir, nested...)...)
	status, _, stderr := c.output()
	want := fmt.Sprintf("already held by pid %d", c.cmd.Process.Pid)
	if status != 75 || !strings.Contains(stderr, want) || !strings.HasSuffix(stderr, partOf) {
		t.Errorf("exit status %d, %q", status, stderr)
	}

	nested = append([]string{"run", "-E", "8", dir, "--"}, self(t, "test:exit", "0")...)
	expect(t, 8, underLock(t, dir, nested...), partOf)
}

// partOf is the end of a message about the lock of a run above.
const partOf = ", which this command is part of\n"

func TestRunBelowAnotherRunNamesTheOneThatHoldsTheLock(t *testing.T) {
	dirs := packs(t, "one", "two")
	c := command(t, underLock(t, dirs[0], underLock(t, dirs[1], runs(t, 0, dirs[0])...)...)...)
	status, _, stderr := c.output()
	want := fmt.Sprintf("packlock: run: %s is already held by pid %d", dirs[0], c.cmd.Process.Pid)
	if status != 75 || !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, partOf) {
		t.Errorf("exit status %d, %q; want %q", status, stderr, want)
	}
}

func TestHeldVariableIsNotBelievedWhileTheLockIsFree(t *testing.T) {
	dir := t.TempDir()
	c := command(t, underLock(t, dir, "test:exit", "5")...)
	c.cmd.Env = append(c.cmd.Env, heldAlso(heldLine{pid: os.Getpid(), path: filepath.Join(dir, packlock.FileName), since: time.Now()}))
	if status, _, stderr := c.output(); status != 5 {
		t.Errorf("exit status %d, %q", status, stderr)
	}
}

func TestLinesOfTheHeldVariable(t *testing.T) {
	const value = `10 "/a" 1700000000123` + "\n" + `20 "/b c\n\""` + "\n" + `x "/d" 1` + "\n30\n\n" + `40 /e 1` +
		"\n" + `50 "/f" 1700000000123 shared` + "\n" + `60 "/g" 1700000000123 frob` + "\n"
	var got []string
	for _, l := range heldLines(value) {
		got = append(got, fmt.Sprintf("%d %s %v %v", l.pid, l.path, l.since.IsZero(), l.shared))
	}
	if want := []string{"10 /a false false", "20 /b c\n\" true false", "50 /f false true", "60 /g false false"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	line := heldLine{70, "/h \"i\"", time.UnixMilli(1700000000123), true}
	if got := heldLines(strings.TrimPrefix(heldAlso(line), heldVariable+"=")); len(got) != 1 || got[0] != line {
		t.Errorf("%+v, want %+v", got, line)
	}
}
