package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asInit has c be process 1 of a pid namespace.
func (c *child) asInit() *child {
	c.t.Helper()
	if os.Getenv("TEST_EXEC") != "" {
		c.t.Skip("an emulator does not pass every flag of clone on")
	}
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	try := exec.Command("true")
	try.SysProcAttr = attr
	if err := try.Run(); errors.Is(err, fs.ErrPermission) {
		c.t.Skipf("no pid namespace can be made here: %v", err)
	}
	c.cmd.SysProcAttr = attr
	return c
}

func TestSignalEndsTheWaitOfProcess1(t *testing.T) {
	dir := t.TempDir()
	hold(t, dir)
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			c := command(t, underLock(t, dir, "test:exit", "0")...).asInit().start()
			c.readLine(c.stderr) // that it waits
			if err := c.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if status := c.wait(); status != 128+int(s) {
				t.Errorf("exit status %d, want %d", status, 128+int(s))
			}
		})
	}
}

func TestProcess1ExitsWithTheSignalThatKilledTheCommand(t *testing.T) {
	dir := t.TempDir()
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL, unix.SIGQUIT, unix.SIGSEGV} {
		c := command(t, underLock(t, dir, "test:kill", strconv.Itoa(int(s)))...).asInit()
		if status, stdout, stderr := c.output(); status != 128+int(s) || stdout != "" || stderr != "" {
			t.Errorf("%v: exit status %d, %q, %q", s, status, stdout, stderr)
		}
	}
}

func TestProcess1Reaps(t *testing.T) {
	c := command(t, "run", t.TempDir(), "-c", "for i in 1 2 3 4 5; do (true &); done; echo ready 1; cat; exit 3").asInit().start()
	c.ready()
	// Nothing tells of the end of a process to others than its parent.
	for len(childrenOf(t, c.cmd.Process.Pid)) > 1 {
		time.Sleep(time.Millisecond)
	}
	c.stdin.Close()
	if status := c.wait(); status != 3 {
		t.Errorf("exit status %d, want that of the command, 3", status)
	}
}
