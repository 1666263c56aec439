package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packlock"
	"packlock/internal/fsinfo"
	"packlock/internal/proclocks"
)

// skipUnlessListed skips the test if the lock of dir, which is held, is not
// listed.
func skipUnlessListed(t *testing.T, dir string) {
	t.Helper()
	if state := lookAt([]string{dir})[0]; state.State != packHeld || len(state.Holders) == 0 {
		t.Skip("/proc/locks does not list the locks on the file system of temporary files")
	}
}

// statusUntil runs status -json on dirs until what it prints is so, and returns that.
// That somebody waits in the kernel is in /proc/locks, and no event tells when.
func statusUntil(t *testing.T, isSo func(states []packState) bool, dirs ...string) []packState {
	t.Helper()
	for {
		if _, states := statusJSON(t, dirs...); isSo(states) {
			return states
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStatusCountsWaiters(t *testing.T) {
	dir := packs(t, "pack")[0]
	hold(t, dir)
	skipUnlessListed(t, dir)
	for n := range 3 {
		command(t, underLock(t, dir, "test:exit", "0")...).start()
		statusUntil(t, func(states []packState) bool { return len(states[0].Waiters) > n }, dir)
	}
	// While other locks come and go, the kernel's table may list one twice.
	for stdout := ""; !strings.HasSuffix(stdout, "; 3 waiting\n"); {
		_, stdout, _ = command(t, "status", dir).output()
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
	if sidecar := filepath.Join(dirs[0], packlock.FileName); !proclocks.SeesAll() || fsinfo.ReachAt(sidecar) != fsinfo.Local {
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
	want := fmt.Sprintf("free  %s\nheld  %s  by %s; how many wait is unknown\n", dirs[0], dirs[1], unknownHolder)
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
		{"TERM=xterm", "\r\x1b[K1 of 3: 1 × 1, empty section, packlock"},
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

func TestStatusListsWhoWaits(t *testing.T) {
	dir := packs(t, "pack")[0]
	hold(t, dir)
	skipUnlessListed(t, dir)
	waiter := command(t, underLock(t, dir, "test:exit", "0")...).start()
	waiters := statusUntil(t, func(states []packState) bool { return len(states[0].Waiters) > 0 }, dir)[0].Waiters
	if len(waiters) != 1 || waiters[0].PID != waiter.cmd.Process.Pid || !slices.Equal(waiters[0].Args, waiter.cmd.Args) || waiters[0].User == "" {
		t.Errorf("%+v, want pid %d, %q", waiters, waiter.cmd.Process.Pid, waiter.cmd.Args)
	}
}

func TestStatusShowsACircle(t *testing.T) {
	dirs := packs(t, "one", "two", "apart")
	skipUnlessListedWhenHeld(t, dirs[2])
	var pids [2]int
	var children [2]*child
	for i := range 2 {
		nested := append([]string{"test:then"}, underLock(t, dirs[1-i], "test:exit", "0")...)
		children[i] = command(t, underLock(t, dirs[i], nested...)...).start()
		pids[i] = children[i].ready()
	}
	if _, states := statusJSON(t, dirs...); states[0].Circle != nil {
		t.Errorf("before they wait: %+v", states[0].Circle)
	}
	for _, c := range children {
		c.stdin.Close() // and the nested run begins
	}
	states := statusUntil(t, func(states []packState) bool {
		return states[0].Circle != nil && states[1].Circle != nil
	}, dirs...)
	for i := range 2 {
		var sidecars [2]string
		for j := range 2 {
			sidecars[j] = filepath.Join(dirs[(i+j)%2], packlock.FileName)
		}
		for j, l := range states[i].Circle {
			if l.PID != pids[(i+j)%2] || l.Has != sidecars[j] || l.WaitsFor != sidecars[1-j] {
				t.Errorf("link %d of the circle from %s: %+v", j, dirs[i], l)
			}
		}
	}
	if len(states[0].Circle) != 2 || states[2].Circle != nil {
		t.Errorf("%+v and %+v, want two links and none", states[0].Circle, states[2].Circle)
	}
	// A file that is not on the command line is named as those name it who have it.
	for _, of := range [][]string{dirs, dirs[:1]} {
		_, stdout, _ := command(t, append([]string{"status"}, of...)...).output()
		want := fmt.Sprintf("circle  pid %d (", pids[0])
		if strings.Count(stdout, "\ncircle") != 1 || !strings.Contains(stdout, want) || !strings.Contains(stdout, " and waits for "+filepath.Join(dirs[1], packlock.FileName)) {
			t.Errorf("%q, want once %q", stdout, want)
		}
	}
}

// skipUnlessListedWhenHeld is skipUnlessListed for a pack that is free.
func skipUnlessListedWhenHeld(t *testing.T, dir string) {
	t.Helper()
	c, _ := hold(t, dir)
	skipUnlessListed(t, dir)
	c.stdin.Close()
	c.wait()
}

func init() {
	// Is a packlock in a mount namespace where args[0] is an overlay of itself.
	roles["test:overlaid"] = func(args []string) int {
		lower := filepath.Join(args[0], "lower")
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, filepath.Join(args[0], "upper"), filepath.Join(args[0], "work"))
		err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		if err == nil {
			err = unix.Mount("overlay", lower, "overlay", 0, options)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 99
		}
		return execute(args[1:])
	}
}

func TestStatusDoesNotKnowHowManyWaitWhereOthersMay(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root mounts a file system everywhere")
	}
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator does not pass every flag of clone on")
	}
	// An overlay stands for all that is not known to be this machine's own.
	dir := filepath.Dir(packs(t, "lower", "upper", "work")[0])
	pack := filepath.Join(dir, "lower")
	for _, test := range []struct{ flag, want string }{{"-json=false", "; how many wait is unknown\n"}, {"-json", `"waiting": null,`}} {
		c := command(t, append([]string{"test:overlaid", dir}, underLock(t, pack, "status", test.flag, pack)...)...)
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
		status, stdout, stderr := c.output()
		if status == 99 {
			t.Skipf("no overlay can be mounted here: %s", stderr)
		}
		if status != 1 || !strings.Contains(stdout, test.want) {
			t.Errorf("exit status %d, %q, %q; want %q", status, stdout, stderr, test.want)
		}
	}
}

func TestStoppedHolderIsCalledThat(t *testing.T) {
	t.Parallel()
	dir := packs(t, "pack")[0]
	holder, _ := hold(t, dir)
	skipUnlessListed(t, dir)
	if _, stdout, _ := command(t, "status", dir).output(); strings.Contains(stdout, "stopped") {
		t.Errorf("%q", stdout)
	}
	if err := holder.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(holder.cmd.Process.Pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("%#x, %v", ws, err)
	}
	const says = " ago and is stopped, and 1 more"
	if _, stdout, _ := command(t, "status", dir).output(); !strings.Contains(stdout, says) {
		t.Errorf("%q lacks %q", stdout, says)
	}
	if _, states := statusJSON(t, dir); len(states[0].Holders) != 2 || !states[0].Holders[0].Stopped || states[0].Holders[1].Stopped {
		t.Errorf("%+v, want the first stopped", states[0].Holders)
	}
	waiter := command(t, underLock(t, dir, "test:exit", "0")...).start()
	if line := waiter.readLine(waiter.stderr); !strings.Contains(line, says) {
		t.Errorf("%q lacks %q", line, says)
	}
	holder.cmd.Process.Signal(unix.SIGCONT)
}

func TestWaitGoesOnAfterAMessageWithoutAReader(t *testing.T) {
	t.Parallel()
	dir := packs(t, "pack")[0]
	holder, _ := hold(t, dir)
	skipUnlessListed(t, dir)
	waiters := map[*child]int{
		command(t, runs(t, 6, dir)...):     6,
		command(t, "status", "-wait", dir): 0,
	}
	for c := range waiters {
		c.withoutReader()
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.cmd.Process.Kill() })
	}
	statusUntil(t, func(states []packState) bool { return len(states[0].Waiters) == len(waiters) }, dir)
	// When a later waiter says that it waits, the others have tried to.
	last := command(t, runs(t, 0, dir)...).start()
	last.readLine(last.stderr)
	holder.stdin.Close()
	for c, want := range waiters {
		if status := c.wait(); status != want {
			t.Errorf("packlock %q: exit status %d, want %d", c.cmd.Args[1:], status, want)
		}
	}
}
