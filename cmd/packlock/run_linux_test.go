package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packlock"
)

// startInTerminal starts a test:signals under run, in the foreground of a
// terminal, and returns it and the terminal's other side.
func startInTerminal(t *testing.T, args ...string) (*child, *bufio.Reader, io.Writer) {
	t.Helper()
	master, slave := openTerminal(t)
	defer slave.Close()
	c := command(t, underLock(t, t.TempDir(), append([]string{"test:signals"}, args...)...)...)
	c.cmd.ExtraFiles = []*os.File{slave}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	c.start().ready()
	c.started()
	return c, bufio.NewReader(master), master
}

const ctrlC = "\x03"

// gets fails the test unless the command, a test:signals, gets exactly these signals,
// in any order. It first reads as many as are wanted: a thread that took one may be
// preempted before it handles it, for longer than any fence takes. Then it has run pass
// on another signal, twice, to see that nothing more came. Pending signals are handled in
// the order of their numbers. A double that comes even later is found by the next gets.
func (c *child) gets(want ...os.Signal) {
	c.t.Helper()
	const fence = syscall.Signal(64)
	late := time.AfterFunc(time.Minute, func() { c.stdin.Close() }) // ends the command
	defer late.Stop()
	var wanted, got []string
	for _, s := range want {
		wanted = append(wanted, s.String())
		got = append(got, c.nextSignal())
	}
	for range 2 {
		if err := c.cmd.Process.Signal(fence); err != nil {
			c.t.Fatal(err)
		}
		for s := c.nextSignal(); s != fence.String(); s = c.nextSignal() {
			got = append(got, s)
		}
	}
	slices.Sort(got)
	slices.Sort(wanted)
	if !slices.Equal(got, wanted) {
		c.t.Errorf("command got %v, want %v", got, want)
	}
}

// echoed waits until the terminal has shown that Ctrl-C was typed: the signal was
// sent before.
func echoed(t *testing.T, screen *bufio.Reader) {
	t.Helper()
	if echo, err := screen.ReadString('C'); !strings.HasSuffix(echo, "^C") || err != nil {
		t.Fatalf("echo %q, %v", echo, err)
	}
}

func skipWithoutWitness(t *testing.T) {
	t.Helper()
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator keeps the mask of signals to itself")
	}
	w := startWitness()
	if w == nil {
		t.Skip("there is no cat here, or no /proc")
	}
	w.end()
}

func TestTypedInterruptReachesTheCommandOnce(t *testing.T) {
	skipWithoutWitness(t)
	c, screen, keys := startInTerminal(t)
	for range 5 {
		if _, err := io.WriteString(keys, ctrlC); err != nil {
			t.Fatal(err)
		}
		echoed(t, screen)
		c.gets(unix.SIGINT)
	}
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d: run ended otherwise than by the end of the command", status)
	}
}

func TestTypedInterruptReachesACommandInAGroupOfItsOwn(t *testing.T) {
	c, screen, keys := startInTerminal(t, "own group")
	for range 5 {
		if _, err := io.WriteString(keys, ctrlC); err != nil {
			t.Fatal(err)
		}
		echoed(t, screen)
		c.gets(unix.SIGINT)
	}
}

func TestInterruptForRunAloneReachesTheCommandInTheForeground(t *testing.T) {
	skipWithoutWitness(t)
	c, screen, keys := startInTerminal(t)
	for range 5 {
		c.cmd.Process.Signal(unix.SIGINT)
		c.gets(unix.SIGINT)
		// What is typed has no bearing on that.
		if _, err := io.WriteString(keys, ctrlC); err != nil {
			t.Fatal(err)
		}
		echoed(t, screen)
		c.gets(unix.SIGINT)
	}
}

func TestSignalForTheGroupReachesTheCommandOnce(t *testing.T) {
	t.Parallel()
	skipWithoutWitness(t)
	c := command(t, underLock(t, t.TempDir(), "test:signals")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.start().ready()
	c.started()
	for range 20 {
		if err := unix.Kill(-c.cmd.Process.Pid, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		c.gets(unix.SIGTERM)
	}
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGWINCH, 35} {
		c.cmd.Process.Signal(s)
		c.gets(s)
		if err := unix.Kill(-c.cmd.Process.Pid, s); err != nil {
			t.Fatal(err)
		}
		c.gets(s)
		c.cmd.Process.Signal(s)
		c.gets(s)
	}
}

func TestSignalForRunAndThenTheGroupReachesTheCommandOnce(t *testing.T) {
	skipWithoutWitness(t)
	c := command(t, underLock(t, t.TempDir(), "test:signals")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.start().ready()
	c.started()
	for range 10 {
		// As timeout(1) does, and at the same time for run. Of a real-time signal it
		// gets both.
		const s = syscall.Signal(35)
		c.cmd.Process.Signal(unix.SIGSTOP)
		c.cmd.Process.Signal(s)
		if err := unix.Kill(-c.cmd.Process.Pid, s); err != nil {
			t.Fatal(err)
		}
		c.cmd.Process.Signal(unix.SIGCONT)
		c.gets(s, unix.SIGCONT)
	}
}

func TestWitnessHasNotTheLock(t *testing.T) {
	skipWithoutWitness(t)
	dir := t.TempDir()
	c := command(t, underLock(t, dir, "test:signals")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.start().ready()
	c.started()
	for range 2 {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", witnessOf(t, c.cmd.Process.Pid)))
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if file, _ := os.Readlink(fd); file == filepath.Join(dir, packlock.FileName) {
				t.Error("the witness has the lock file open")
			}
		}
		// After that, it is a new one.
		if err := unix.Kill(-c.cmd.Process.Pid, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		c.gets(unix.SIGTERM)
	}
}

// witnessOf returns the pid of the witness that a run has.
func witnessOf(t *testing.T, run int) int {
	t.Helper()
	for _, pid := range childrenOf(t, run) {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if string(name) == "cat\n" {
			return pid
		}
	}
	t.Fatal("run has no witness")
	return 0
}

// childrenOf returns the pids of the children of a process, zombies too.
func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		status, _ := os.ReadFile(dir + "/status")
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestStoppedWitnessIsAsGood(t *testing.T) {
	skipWithoutWitness(t)
	c := command(t, underLock(t, t.TempDir(), "test:signals")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.start().ready()
	c.started()
	if err := unix.Kill(witnessOf(t, c.cmd.Process.Pid), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.cmd.Process.Signal(unix.SIGTERM)
	c.gets(unix.SIGTERM)
	if err := unix.Kill(-c.cmd.Process.Pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.gets(unix.SIGTERM)
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestWithoutAWitnessSignalsArePassedOn(t *testing.T) {
	skipWithoutWitness(t)
	c := command(t, underLock(t, t.TempDir(), "test:signals")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.start().ready()
	c.started()
	if err := unix.Kill(witnessOf(t, c.cmd.Process.Pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.cmd.Process.Signal(unix.SIGTERM)
	c.gets(unix.SIGTERM)
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestSignalForTheWitnessAloneIsForgotten(t *testing.T) {
	t.Parallel()
	skipWithoutWitness(t)
	c := command(t, underLock(t, t.TempDir(), "test:signals")...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.start().ready()
	c.started()
	first := witnessOf(t, c.cmd.Process.Pid)
	if err := unix.Kill(first, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// Nothing tells of a new one to others than its parent.
	for slices.Contains(childrenOf(t, c.cmd.Process.Pid), first) {
		time.Sleep(time.Millisecond)
	}
	c.cmd.Process.Signal(unix.SIGTERM)
	c.gets(unix.SIGTERM)
}

func TestWitnessEndsWithRun(t *testing.T) {
	skipWithoutWitness(t)
	c, _ := hold(t, t.TempDir())
	witness := witnessOf(t, c.cmd.Process.Pid)
	c.cmd.Process.Kill()
	if _, err := c.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	c.waited = true
	// Nothing tells of the end of what is no child of the test.
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", witness))
		if err != nil || strings.Contains(string(status), "\nState:\tZ") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestTypedInterruptEndsTheScriptThatRunsRun(t *testing.T) {
	t.Parallel()
	busy := t.TempDir()
	hold(t, busy)
	const script = `exec 2>&1; for i in 1 2 3; do "$@"; done; echo went on`
	for _, shell := range []string{"bash", "sh"} {
		for _, test := range []struct{ name, dir string }{{"while the command runs", t.TempDir()}, {"while run waits", busy}} {
			t.Run(shell+" "+test.name, func(t *testing.T) {
				exe, err := exec.LookPath(shell)
				if err != nil {
					t.Skipf("%s is not installed", shell)
				}
				master, slave := openTerminal(t)
				defer slave.Close()
				c := command(t, underLock(t, test.dir, "test:wait")...)
				c.cmd.Args = append([]string{shell, "-c", script, shell}, c.cmd.Args...)
				c.cmd.Path = exe
				c.cmd.ExtraFiles = []*os.File{slave}
				c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
				c.start()
				c.readLine(c.stdout) // that the command is ready, or that run waits
				if _, err := io.WriteString(master, ctrlC); err != nil {
					t.Fatal(err)
				}
				if line, err := c.stdout.ReadString('\n'); err != io.EOF || line != "" {
					t.Fatalf("after Ctrl-C: %q, %v", line, err)
				}
				if status := c.wait(); status != 130 {
					t.Errorf("exit status %d, want 130", status)
				}
			})
		}
	}
}

// openTerminal opens a pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func TestHolderThatInheritedTheLockIsNamed(t *testing.T) {
	dir := t.TempDir()
	c, pid := hold(t, dir)
	c.cmd.Process.Kill()
	if _, err := c.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	c.waited = true
	args := append([]string{"run", "-n", dir, "--"}, self(t, "test:exit", "0")...)
	expect(t, 75, args, fmt.Sprintf("held by pid %d (", pid))
}

func TestHeldVariableIsNotBelievedAgainstTheHolder(t *testing.T) {
	dir := t.TempDir()
	holder, _ := hold(t, dir)
	args := append([]string{"run", "-n", dir, "--"}, self(t, "test:exit", "0")...)
	c := command(t, args...)
	// As inherited from a run, with the pid of this test, that has let go since.
	c.cmd.Env = append(c.cmd.Env, heldAlso(heldLine{pid: os.Getpid(), path: filepath.Join(dir, packlock.FileName), since: time.Now()}))
	status, _, stderr := c.output()
	want := fmt.Sprintf("is busy: held by pid %d (", holder.cmd.Process.Pid)
	if status != 75 || !strings.Contains(stderr, want) {
		t.Errorf("exit status %d, %q lacks %q", status, stderr, want)
	}
}

func TestNestedRunIsRefusedAfterItsParentWasKilled(t *testing.T) {
	dir := t.TempDir()
	c := command(t, underLock(t, dir, append([]string{"test:then"}, underLock(t, dir, "test:exit", "0")...)...)...).start()
	c.ready()
	c.cmd.Process.Kill()
	if _, err := c.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	c.waited = true
	c.stdin.Close()
	want := fmt.Sprintf("already held by pid %d, which has ended; this process inherited the lock", c.cmd.Process.Pid)
	if line := c.readLine(c.stderr); !strings.Contains(line, want) {
		t.Errorf("%q lacks %q", line, want)
	}
}

func init() {
	// Is a packlock when its standard input ends.
	roles["test:then"] = func(args []string) int {
		roles["test:wait"](nil)
		return execute(args)
	}
}

func TestOwnGrantIsToldFromOtherHolders(t *testing.T) {
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
	if who := findHolders(lock); !who.self() || len(who) > 1 {
		t.Errorf("%+v, want only this process itself", who)
	}
}

func TestWaiterSaysThatTheLockFileWasReplaced(t *testing.T) {
	t.Parallel()
	dir := packs(t, "pack")[0]
	holder, _ := hold(t, dir)
	skipUnlessListed(t, dir)
	waiter := command(t, underLock(t, dir, "test:exit", "6")...).start()
	waiter.readLine(waiter.stderr) // that it waits
	if err := os.Remove(filepath.Join(dir, packlock.FileName)); err != nil {
		t.Fatal(err)
	}
	line := waiter.readLine(waiter.stderr)
	for _, want := range []string{
		"packlock: run: got " + dir + " after ", ", but not by a release: the lock file of " + dir + " was deleted or replaced",
		fmt.Sprintf("the old one is still held by pid %d (", holder.cmd.Process.Pid),
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%q lacks %q", line, want)
		}
	}
	if status := waiter.wait(); status != 6 {
		t.Errorf("exit status %d", status)
	}
}
