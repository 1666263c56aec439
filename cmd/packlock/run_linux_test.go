package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"packlock"
)

func TestTypedInterruptReachesTheCommandOnce(t *testing.T) {
	master, slave := openTerminal(t)
	c := command(t, underLock(t, t.TempDir(), "test:signals")...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = slave, slave, slave
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	t.Cleanup(func() {
		if !c.waited {
			c.cmd.Process.Kill()
			c.cmd.Wait()
		}
	})
	c.stdout = bufio.NewReader(master)
	c.stderr = c.stdout
	c.ready()

	c.started()
	if _, err := master.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if got := strings.TrimPrefix(c.nextSignal(), "^C"); got != unix.SIGINT.String() {
		t.Fatalf("command got %q, want %v", got, unix.SIGINT)
	}
	// Another one would come before this one.
	c.cmd.Process.Signal(unix.SIGUSR2)
	if got := c.nextSignal(); got != unix.SIGUSR2.String() {
		t.Fatalf("command got %q, want %v", got, unix.SIGUSR2)
	}
	if _, err := master.Write([]byte{4}); err != nil { // Ctrl-D
		t.Fatal(err)
	}
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d", status)
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
	c.cmd.Env = append(c.cmd.Env, heldAlso(filepath.Join(dir, packlock.FileName)))
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
	want := fmt.Sprintf("already held by this command's parent (pid %d)", c.cmd.Process.Pid)
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

func TestWaitersAreNotHolders(t *testing.T) {
	const file = "fe:00:1234"
	for line, pid := range map[string]int{
		"1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF\n":      4711,
		"1: FLOCK  ADVISORY  READ  4712 fe:00:1234 0 EOF\n":      4712,
		"1: -> FLOCK  ADVISORY  WRITE 4713 fe:00:1234 0 EOF\n":   -1,
		"1:   -> FLOCK  ADVISORY  WRITE 4713 fe:00:1234 0 EOF\n": -1,
		"2: POSIX  ADVISORY  WRITE 4714 fe:00:1234 0 EOF\n":      -1,
		"2: OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF\n":        -1,
		"3: FLOCK  ADVISORY  WRITE 4715 fe:00:12345 0 EOF\n":     -1,
		"3: FLOCK  ADVISORY  WRITE 4715 fe:01:1234 0 EOF\n":      -1,
		"4: FLOCK\n": -1,
	} {
		got, ok := parseLock([]byte(line), file)
		if !ok {
			got = -1
		}
		if got != pid {
			t.Errorf("%q: %d, want %d", line, got, pid)
		}
	}
}
