package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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

func TestTypedInterruptReachesTheCommand(t *testing.T) {
	c, _, keys := startInTerminal(t)
	if _, err := io.WriteString(keys, ctrlC); err != nil {
		t.Fatal(err)
	}
	if got := c.nextSignal(); got != unix.SIGINT.String() {
		t.Errorf("command got %q, want %v", got, unix.SIGINT)
	}
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Errorf("exit status %d: run ended otherwise than by the end of the command", status)
	}
}

func TestTypedInterruptIsNotPassedOn(t *testing.T) {
	// In a group of its own the command gets only what is passed on.
	c, screen, keys := startInTerminal(t, "own group")
	if _, err := io.WriteString(keys, ctrlC); err != nil {
		t.Fatal(err)
	}
	// It is echoed after the signal was sent.
	if echo, err := screen.ReadString('C'); echo != "^C" || err != nil {
		t.Fatalf("echo %q, %v", echo, err)
	}
	c.cmd.Process.Signal(unix.SIGUSR2)
	if got := c.nextSignal(); got != unix.SIGUSR2.String() {
		t.Errorf("command got %q, want nothing before %v", got, unix.SIGUSR2)
	}
}

func TestTypedInterruptEndsTheScriptThatRunsRun(t *testing.T) {
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
