package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packlock"
)

// skipUnlessListed skips the test if the lock of dir, which is held, is not
// listed.
func skipUnlessListed(t *testing.T, dir string) {
	t.Helper()
	if !findListed(filepath.Join(dir, packlock.FileName)).held {
		t.Skip("/proc/locks does not list the locks on the file system of temporary files")
	}
}

func TestStatusCountsWaiters(t *testing.T) {
	dir := packs(t, "pack")[0]
	hold(t, dir)
	skipUnlessListed(t, dir)
	for n := range 3 {
		command(t, underLock(t, dir, "test:exit", "0")...).start()
		for {
			_, states := statusJSON(t, dir)
			if waiting := states[0].Waiting; waiting != nil && *waiting > n {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if _, stdout, _ := command(t, "status", dir).output(); !strings.HasSuffix(stdout, "; 3 waiting\n") {
		t.Errorf("%q", stdout)
	}
}

// opens reports whether do opens the sidecar of dir.
func opens(t *testing.T, dir string, do func()) bool {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, filepath.Join(dir, packlock.FileName), unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	do()
	n, err := unix.Read(fd, make([]byte, 4096))
	if err != nil && err != unix.EAGAIN {
		t.Fatal(err)
	}
	return n > 0
}

func TestStatusTakesNoLockWhereTheKernelTells(t *testing.T) {
	dirs := packs(t, "free", "held")
	hold(t, dirs[1])
	skipUnlessListed(t, dirs[1])
	if opens(t, dirs[1], func() { expect(t, 1, []string{"status", dirs[1]}) }) {
		t.Error("opened the sidecar of a held pack")
	}
	if !findListed(filepath.Join(dirs[0], packlock.FileName)).complete {
		t.Skip("that a lock is not listed does not mean here that it is free: in a container, or on a file system that others have, too")
	}
	if opens(t, dirs[0], func() { expect(t, 0, []string{"status", dirs[0]}) }) {
		t.Error("opened the sidecar of a free pack")
	}
}

func init() {
	// Is a packlock in a pid namespace with a /proc of its own.
	roles["test:contained"] = func(args []string) int {
		err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		if err == nil {
			err = unix.Mount("proc", "/proc", "proc", 0, "")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 99
		}
		return execute(args)
	}
}

func TestStatusSaysThatAHolderOutsideTheContainerCannotBeSeen(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root makes a pid namespace with its own /proc everywhere")
	}
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator passes the namespace on, but not its /proc")
	}
	dirs := packs(t, "free", "held")
	hold(t, dirs[1])
	c := command(t, "test:contained", "status", dirs[0], dirs[1])
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	status, stdout, stderr := c.output()
	if status == 99 {
		t.Skipf("/proc cannot be mounted here: %s", stderr)
	}
	want := fmt.Sprintf("free  %s\nheld  %s  by %s\n", dirs[0], dirs[1], unknownHolder)
	if status != 1 || stdout != want {
		t.Errorf("exit status %d, %q, %q; want %q", status, stdout, stderr, want)
	}
}

func TestStatusIsColouredOnATerminalOnly(t *testing.T) {
	dir := packs(t, "pack")[0]
	for _, test := range []struct{ env, want string }{
		{"TERM=xterm", "\x1b[32mfree\x1b[0m  " + dir + "\r\n"},
		{"NO_COLOR=1", "free  " + dir + "\r\n"},
		{"TERM=dumb", "free  " + dir + "\r\n"},
	} {
		master, slave := openTerminal(t)
		c := command(t, "status", dir)
		c.cmd.Env = append(c.cmd.Env, test.env)
		c.cmd.Stdout = slave
		if err := c.cmd.Run(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4096)
		n, err := master.Read(got)
		if err != nil {
			t.Fatal(err)
		}
		if string(got[:n]) != test.want {
			t.Errorf("%s: %q, want %q", test.env, got[:n], test.want)
		}
		slave.Close()
	}
}

func TestBenchShowsItsProgressOnATerminalThatCanTakeItBack(t *testing.T) {
	for _, test := range []struct{ env, want string }{
		{"TERM=xterm", "\r\x1b[K1 of 2: 1 × 1, empty section, packlock"},
		{"TERM=dumb", ""},
	} {
		master, slave := openTerminal(t)
		c := command(t, "bench", "-processes", "1", "-goroutines", "1", "-duration", "10ms", "-rounds", "1", t.TempDir())
		c.cmd.Env = append(c.cmd.Env, test.env)
		c.cmd.Stderr = slave
		if err := c.cmd.Run(); err != nil {
			t.Fatal(err)
		}
		slave.Close()
		// A terminal that nobody has open any more gives an error at its end.
		shown, _ := io.ReadAll(master)
		if !strings.HasPrefix(string(shown), test.want) || test.want == "" && len(shown) > 0 {
			t.Errorf("%s: %q, want %q", test.env, shown, test.want)
		}
	}
}

func TestHolderThatEndedIsListedWithItsHeir(t *testing.T) {
	dir := packs(t, "pack")[0]
	c, heir := hold(t, dir)
	c.cmd.Process.Kill()
	if _, err := c.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	c.waited = true
	status, states := statusJSON(t, dir)
	if status != 1 || len(states[0].Holders) != 1 || states[0].Holders[0].PID != heir {
		t.Errorf("exit status %d, %+v, want pid %d", status, states, heir)
	}
}
