//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"packlock"
)

// Under nohup, too, the commands of the tests are to get a SIGHUP: what this process
// ignores, they would ignore.
func init() {
	if os.Getenv(roleVariable) == "" {
		signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	}
}

func init() {
	roles["test:kill"] = func(args []string) int {
		n, _ := strconv.Atoi(args[0])
		byDefault(syscall.Signal(n))
		unix.Kill(os.Getpid(), syscall.Signal(n))
		select {}
	}
	// Says which signals it gets, until its standard input ends. With an
	// argument it does so in a process group of its own.
	roles["test:signals"] = func(args []string) int {
		if len(args) > 0 {
			unix.Setpgid(0, 0)
		}
		c := make(chan os.Signal, 16)
		notifyRunning(c)
		fmt.Println("ready", os.Getpid())
		go func() {
			for s := range c {
				fmt.Println(s)
			}
		}()
		io.Copy(io.Discard, os.Stdin)
		return 0
	}
	roles["test:ignored"] = func([]string) int {
		fmt.Println(signal.Ignored(unix.SIGHUP), signal.Ignored(unix.SIGINT))
		return 0
	}
	roles["test:read3"] = func([]string) int {
		io.Copy(os.Stdout, os.NewFile(3, "3"))
		return 0
	}
	// Is stopped in a process group of its own, as a shell that suspends itself.
	roles["test:suspend"] = func([]string) int {
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGCONT)
		unix.Setpgid(0, 0)
		unix.Kill(os.Getpid(), unix.SIGSTOP)
		<-c
		return 4
	}
	// Leaves a process behind.
	roles["test:leave"] = func([]string) int {
		exe, _ := os.Executable()
		line := append(strings.Fields(os.Getenv("TEST_EXEC")), exe, "test:wait")
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
}

// killer returns the signal that ended a process, nil if none did.
func killer(p *os.ProcessState) os.Signal {
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal()
	}
	return nil
}

func TestCommandKilledBySignalGives128AndMore(t *testing.T) {
	dir := t.TempDir()
	for _, s := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGINT} {
		expect(t, 128+int(s), underLock(t, dir, "test:kill", strconv.Itoa(int(s))))
	}
}

func TestRunDiesOfTheSignalThatKilledTheCommand(t *testing.T) {
	dir := t.TempDir()
	signals := []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGKILL}
	if runtime.GOOS == "linux" && os.Getenv("TEST_EXEC") == "" {
		signals = append(signals, unix.SIGQUIT, unix.SIGUSR1, unix.SIGPIPE, unix.SIGALRM, unix.SIGABRT, unix.SIGSEGV, 34, 40)
	}
	for _, s := range signals {
		c := command(t, underLock(t, dir, "test:kill", strconv.Itoa(int(s)))...)
		_, stdout, stderr := c.output()
		if got := killer(c.cmd.ProcessState); got != s || stdout != "" || stderr != "" {
			t.Errorf("%v: run was killed by %v, want the same; %q, %q", s, got, stdout, stderr)
		}
		if c.cmd.ProcessState.Sys().(syscall.WaitStatus).CoreDump() {
			t.Errorf("%v: run has left a core", s)
		}
		if !tryLock(t, dir) {
			t.Errorf("%v: busy", s)
		}
	}
}

// started waits until the start of the command, a test:signals, is over for
// run: a signal passed on shows it. One that comes during the start may be
// passed on twice, or although it was typed.
func (c *child) started() {
	c.t.Helper()
	c.cmd.Process.Signal(unix.SIGUSR1)
	if got := c.readLine(c.stdout); got != unix.SIGUSR1.String() {
		c.t.Fatalf("command got %q, want %v", got, unix.SIGUSR1)
	}
}

// nextSignal returns the next signal, after started, that the command says.
func (c *child) nextSignal() string {
	c.t.Helper()
	for {
		if got := c.readLine(c.stdout); got != unix.SIGUSR1.String() {
			return got
		}
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	c := command(t, underLock(t, t.TempDir(), "test:signals")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // in the foreground of no terminal
	c.start().ready()
	c.started()
	for _, s := range append([]os.Signal{unix.SIGWINCH}, passedOn...) {
		if s == unix.SIGUSR1 {
			continue // started has shown it
		}
		c.cmd.Process.Signal(s)
		if got := c.nextSignal(); got != s.String() {
			t.Errorf("command got %q, want %v", got, s)
		}
	}
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestSignalEndsTheWait(t *testing.T) {
	dir := t.TempDir()
	hold(t, dir)
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			c := command(t, underLock(t, dir, "test:exit", "0")...).start()
			if line := c.readLine(c.stderr); !strings.Contains(line, "waiting") {
				t.Fatal(line)
			}
			if err := c.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if status := c.wait(); status != 128+int(s) {
				t.Errorf("exit status %d, want %d", status, 128+int(s))
			}
			if got := killer(c.cmd.ProcessState); got != s {
				t.Errorf("died of %v, want %v", got, s)
			}
		})
	}
}

func TestRunIsStoppedAndContinuedWithTheCommand(t *testing.T) {
	c := command(t, underLock(t, t.TempDir(), "test:suspend")...)
	// A group with its parent outside, the test, as that of a shell's job.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.start()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(c.cmd.Process.Pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("run was not stopped: %#x, %v", ws, err)
	}
	c.cmd.Process.Signal(unix.SIGCONT)
	if status := c.wait(); status != 4 {
		t.Errorf("exit status %d, want that of the continued command, 4", status)
	}
}

func TestIgnoredSignalsStayIgnored(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator catches the ignored signals itself, and so resets them when it executes a command")
	}
	c := command(t, underLock(t, t.TempDir(), "test:ignored")...)
	c.cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}, c.cmd.Args...)
	c.cmd.Path = "/bin/sh"
	if status, stdout, stderr := c.output(); status != 0 || stdout != "true false\n" {
		t.Errorf("exit status %d, %q, %q", status, stdout, stderr)
	}
}

// tryLock reports whether the lock of dir is free.
func tryLock(t *testing.T, dir string) bool {
	t.Helper()
	lock, err := packlock.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	hold, err := lock.TryAcquire()
	if err == nil {
		err = hold.Release()
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
	return false
}

func TestPackStaysLockedWhenRunIsKilled(t *testing.T) {
	dir := t.TempDir()
	c, _ := hold(t, dir)
	c.cmd.Process.Kill()
	// Not wait: that would close stdin, and end the command.
	if _, err := c.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	c.waited = true
	if tryLock(t, dir) {
		t.Error("free while the command runs on")
	}
	c.stdin.Close()
	lock, err := packlock.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	hold, err := lock.Acquire(context.Background()) // when the command ends
	if err != nil {
		t.Fatal(err)
	}
	hold.Release()
}

func TestDescriptorIsKeptFromTheCommand(t *testing.T) {
	dir := t.TempDir()
	args := append([]string{"run", "-o", dir, "--"}, self(t, "test:wait")...)
	c := command(t, args...).start()
	c.ready()
	if tryLock(t, dir) {
		t.Error("free while the run holds it")
	}
	c.cmd.Process.Kill()
	if _, err := c.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	c.waited = true
	if !tryLock(t, dir) {
		t.Error("busy although the run, which alone had the descriptor, was killed")
	}
}

func TestLockIsLetGoWhenTheCommandEnds(t *testing.T) {
	dir := t.TempDir()
	c := command(t, underLock(t, dir, "test:leave")...).start()
	c.ready() // the process left behind
	if _, err := c.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	c.waited = true
	if !tryLock(t, dir) {
		t.Error("busy because of what the command left behind")
	}
}

func TestInheritedDescriptorsKeepTheirNumbers(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "through descriptor 3")
	w.Close()
	c := command(t, underLock(t, t.TempDir(), "test:read3")...)
	c.cmd.ExtraFiles = []*os.File{r}
	status, stdout, stderr := c.output()
	r.Close()
	if status != 0 || stdout != "through descriptor 3" {
		t.Errorf("exit status %d, %q, %q", status, stdout, stderr)
	}
}

func TestNamesInMessagesAreQuoted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a\n\x1b[2Jb")
	sub := filepath.Join(dir, packlock.FileName) // not a directory
	exit0 := self(t, "test:exit", "0")
	run := func(dir string, flags ...string) []string {
		return append(append(append([]string{"run"}, flags...), dir, "--"), exit0...)
	}
	expect(t, 0, run(dir))
	expect(t, 1, run(sub), `a\n\x1b[2Jb/`)
	expect(t, 1, []string{"bench", sub}, `a\n\x1b[2Jb/`)
	expect(t, 1, []string{"bench", dir + "c"}, `there is no directory "`, `a\n\x1b[2Jbc"; create`)
	expect(t, 2, []string{"status", filepath.Join(sub, "c")}, `a\n\x1b[2Jb/`)
	expect(t, 75, underLock(t, dir, run(dir)...), `a\n\x1b[2Jb" is already held`)
	hold(t, dir)
	for _, args := range [][]string{run(dir, "-n"), run(dir, "-timeout", "1s10ms")} {
		stderr := expect(t, 75, args, `a\n\x1b[2Jb" is `, "busy")
		if strings.ContainsRune(stderr, '\x1b') {
			t.Errorf("%q: %q", args, stderr)
		}
	}
}

func TestExcludesFlockCommand(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("flock(1) is not installed")
	}
	dir := t.TempDir()
	sidecar := filepath.Join(dir, packlock.FileName)
	runs := func() bool { return exec.Command(flock, "-n", sidecar, "true").Run() == nil }
	if !runs() {
		t.Fatal("flock(1) does not work here")
	}
	c, _ := hold(t, dir)
	if runs() {
		t.Error("flock(1) got the lock that a run holds")
	}
	c.stdin.Close()
	c.wait()

	third := exec.Command(flock, sidecar, "sh", "-c", "echo ready; cat")
	stdin, err := third.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := third.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"run", "-n", dir, "--"}, self(t, "test:exit", "0")...)
	expect(t, 75, args, "is busy")
	stdin.Close()
	if err := third.Wait(); err != nil {
		t.Error(err)
	}
	expect(t, 0, args)
}

func TestSignalEndsTheWaitOfStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hold(t, dir)
	c := command(t, "status", "-wait", dir).start()
	c.readLine(c.stderr) // that it waits
	c.cmd.Process.Signal(unix.SIGTERM)
	if status := c.wait(); status != 128+int(unix.SIGTERM) {
		t.Errorf("exit status %d", status)
	}
}

func TestScriptWithoutInterpreterIsRunByTheShell(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("echo \"$0\" \"$@\"; exit 7\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := command(t, "run", dir, "--", script, "two words", "").output()
	if status != 7 || stdout != script+" two words \n" {
		t.Errorf("exit status %d, %q, %q", status, stdout, stderr)
	}
}

func TestCommandIsFoundWithoutPath(t *testing.T) {
	c := command(t, "run", t.TempDir(), "--", "env")
	c.cmd.Env = []string{roleVariable + "=1"}
	status, stdout, stderr := c.output()
	if status != 0 || strings.Contains(stdout, "PATH=") || !strings.Contains(stdout, heldVariable) {
		t.Errorf("exit status %d, %q, %q; want no PATH in the command's environment", status, stdout, stderr)
	}
}

func TestCommandIsFoundByRelativeEntriesOfPath(t *testing.T) {
	dir, here := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(here, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, file, name string }{
		{"./bin:/bin", "bin/tool", "tool"},
		{"bin:/bin", "bin/tool", "tool"},
		{":/bin", "tool2", "tool2"},
		{"/bin:.", "tool2", "tool2"},
		{"bin", "bin/-tool", "-tool"},
		{".", "-tool2", "-tool2"},
		{"", "tool2", "tool2"},
	} {
		// Without "#!", so that the shell is given the path that was found.
		if err := os.WriteFile(filepath.Join(here, test.file), []byte("exit 7\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		c := command(t, "run", dir, "--", test.name)
		c.cmd.Dir = here
		c.cmd.Env = append(c.cmd.Env, "PATH="+test.path)
		if status, _, stderr := c.output(); status != 7 {
			t.Errorf("PATH=%s: %s: exit status %d, %q", test.path, test.name, status, stderr)
		}
	}
}

func TestMissingInterpreterIsNamed(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("qemu-user: a forked child whose exec fails may hang at its exit, on a mutex of the emulator that another thread had locked at the fork")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	for content, says := range map[string]string{
		"#!/no/such/sh -e\n":            "its interpreter /no/such/sh is missing",
		"#! /no/such/sh":                "its interpreter /no/such/sh is missing",
		"#!" + strings.Repeat("/x", 60): "its interpreter /x/x",
	} {
		if err := os.WriteFile(script, []byte(content), 0o777); err != nil {
			t.Fatal(err)
		}
		expect(t, 126, []string{"run", dir, "--", script}, "packlock: run: "+script+": "+says)
	}
}

func TestDeletedCurrentDirectoryIsCalledThat(t *testing.T) {
	const says = "the current directory has been deleted"
	for _, test := range []struct {
		status int
		args   []string
	}{
		{2, []string{"status"}},
		{2, []string{"status", "."}},
		{1, runs(t, 0, ".")},
		{1, runs(t, 0, "pack")},
		{1, runs(t, 0, "-f", "file")},
		{1, []string{"bench", "."}},
		{1, []string{"doctor", "."}},
	} {
		dir := filepath.Join(t.TempDir(), "deleted")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		c := command(t, test.args...)
		c.cmd.Args = append([]string{"sh", "-c", `cd "$0" && rmdir "$0" && exec "$@"`, dir}, c.cmd.Args...)
		c.cmd.Path = "/bin/sh"
		if status, stdout, stderr := c.output(); status != test.status || stdout != "" || !strings.HasPrefix(stderr, "packlock: "+test.args[0]+": "+says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit status %d, %q, %q", test.args, status, stdout, stderr)
		}
	}
}

func TestClosedPipeLeavesNothingBehind(t *testing.T) {
	for _, verb := range [][]string{
		{"bench", "-processes", "1", "-goroutines", "1", "-duration", "10ms", "-rounds", "1"},
		{"doctor"},
	} {
		dir := t.TempDir()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		c := command(t, append(verb, dir)...)
		var stderr strings.Builder
		c.cmd.Stdout, c.cmd.Stderr = w, &stderr
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if status := c.wait(); status != 128+int(unix.SIGPIPE) || stderr.Len() > 0 {
			t.Errorf("%s: exit status %d, %q", verb[0], status, &stderr)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s left %v, %v", verb[0], left, err)
		}
	}
}

func TestLockLostUnderTheCommandIsSaid(t *testing.T) {
	dirs := packs(t, "one", "two")
	for _, args := range [][]string{
		{"run", dirs[0], dirs[1], "--", "rm", filepath.Join(dirs[1], packlock.FileName)},
		{"run", dirs[1], "-c", "mv .grex-lock old; : >.grex-lock"},
	} {
		c := command(t, args...)
		c.cmd.Dir = dirs[1]
		status, _, stderr := c.output()
		if status != 0 || !strings.HasPrefix(stderr, "packlock: run: the lock of "+dirs[1]+" was lost under the command, ") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit status %d, %q", args, status, stderr)
		}
	}
}

func TestLockLostUnderTheCommandIsSaidWhenItHappens(t *testing.T) {
	t.Parallel()
	dirs := packs(t, "one", "two")
	c := command(t, append([]string{"run", dirs[0], dirs[1], "--"}, self(t, "test:wait")...)...).start()
	c.ready()
	for _, dir := range dirs {
		if err := os.Remove(filepath.Join(dir, packlock.FileName)); err != nil {
			t.Fatal(err)
		}
		want := "packlock: run: the lock of " + dir + " was lost under the command, "
		if line := c.readLine(c.stderr); !strings.HasPrefix(line, want) {
			t.Errorf("%q, want %q", line, want)
		}
	}
	c.stdin.Close()
	// And not once more at the end.
	if rest, err := io.ReadAll(c.stderr); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestLossIsSaidAfterAStall(t *testing.T) {
	t.Parallel()
	dir := packs(t, "pack")[0]
	c, _ := hold(t, dir)
	c.cmd.Process.Signal(unix.SIGSTOP)
	if err := os.Remove(filepath.Join(dir, packlock.FileName)); err != nil {
		t.Fatal(err)
	}
	c.cmd.Process.Signal(unix.SIGCONT)
	if line := c.readLine(c.stderr); !strings.Contains(line, "was lost under the command") {
		t.Errorf("%q", line)
	}
}

func TestTooFewDescriptorsAreCalledThat(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator needs descriptors of its own")
	}
	dir := packs(t, "pack")[0]
	ran := false
	many := packs(t, "1", "2", "3", "4", "5", "6", "7", "8")
	// With 3 not even the C library that go test may have linked in is loaded.
	for n := 4; n <= 40; n++ {
		for _, args := range [][]string{{"status", dir}, runs(t, 5, many...), runs(t, 5, dir)} {
			c := command(t, args...)
			c.cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, n), "sh"}, c.cmd.Args...)
			c.cmd.Path = "/bin/sh"
			status, _, stderr := c.output()
			switch ran = status == 5 || status == 0; {
			case ran && stderr == "":
			case strings.Contains(stderr, "too many open files") && strings.Count(stderr, "\n") == 1:
			default:
				t.Errorf("%d descriptors: %q: exit status %d, %q", n, args, status, stderr)
			}
		}
	}
	if !ran {
		t.Error("40 descriptors are not enough")
	}
}

func TestSidecarThatIsALinkIsCalledThat(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, packlock.FileName)); err != nil {
		t.Fatal(err)
	}
	const says = "is a symbolic link, which is not followed\n"
	expect(t, 1, runs(t, 0, dir), says)
	expect(t, 2, []string{"status", dir}, says)
}

func TestLockedFileExcludesFlockCommand(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("flock(1) is not installed")
	}
	file := filepath.Join(t.TempDir(), "file")
	c := command(t, append([]string{"run", "-f", file, "--"}, self(t, "test:wait")...)...).start()
	c.ready()
	if exec.Command(flock, "-n", file, "true").Run() == nil {
		t.Error("flock(1) got the lock that a run holds")
	}
	c.stdin.Close()
	c.wait()
	if err := exec.Command(flock, "-n", file, "true").Run(); err != nil {
		t.Error(err)
	}
}

// withoutReader makes the standard error of c a pipe without a reader.
func (c *child) withoutReader() {
	c.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	r.Close()
	c.t.Cleanup(func() { w.Close() })
	c.cmd.Stderr = w
}

func TestMessageWithoutAReaderEndsNothing(t *testing.T) {
	t.Parallel()
	dirs := packs(t, "held", "free", "lost")
	hold(t, dirs[0])
	for _, test := range []struct {
		status int
		args   []string
	}{
		{3, runs(t, 3, filepath.Join(dirs[1], "created"))},
		{4, []string{"run", dirs[2], "-c", "rm " + filepath.Join(dirs[2], packlock.FileName) + "; exit 4"}},
		{75, runs(t, 0, "-n", dirs[0])},
		{75, runs(t, 0, "-timeout", "1100ms", dirs[0])}, // there is a message after a second
		{127, []string{"run", dirs[1], "--", "no-such-command-anywhere"}},
		{2, []string{"run"}},
		{2, []string{"status", filepath.Join(dirs[1], "missing"), dirs[0]}},
	} {
		c := command(t, test.args...)
		c.withoutReader()
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if status := c.wait(); status != test.status {
			t.Errorf("packlock %q: exit status %d, want %d", test.args, status, test.status)
		}
	}
}
