package packlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	childRoles["holders"] = childHolders
	childRoles["share"] = childShare
}

// holdersOf returns the holders of l.
func holdersOf(t testing.TB, l *Lock) []Process {
	t.Helper()
	holders, err := l.Holders()
	if err != nil {
		t.Fatal(err)
	}
	return holders
}

// checkHolders checks the pids of the holders of l, which it returns.
func checkHolders(t testing.TB, l *Lock, pids ...int) []Process {
	t.Helper()
	holders := holdersOf(t, l)
	var got []int
	for _, p := range holders {
		got = append(got, p.PID)
		if p.Self != (p.PID == os.Getpid()) {
			t.Errorf("pid %d: Self is %v", p.PID, p.Self)
		}
	}
	if !slices.Equal(got, pids) {
		t.Fatalf("held by %v, want %v", got, pids)
	}
	return holders
}

func TestHolderIsDescribed(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	before := time.Now()
	// The role looks at its first argument only.
	c := childStart(t, "hold", dir, "two words", "a\nline", "", strings.Repeat("long", 5000), "")
	c.expect("locked")
	p := checkHolders(t, l, c.cmd.Process.Pid)[0]

	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name == "" || p.Name+"\n" != string(comm) {
		t.Errorf("name %q, want %q", p.Name, comm)
	}
	if !slices.Equal(p.Args, c.cmd.Args) {
		t.Errorf("arguments %.200q, want %.200q", p.Args, c.cmd.Args)
	}
	const slack = 100 * time.Millisecond // the kernel counts hundredths of a second
	if p.Started.Before(before.Add(-slack)) || p.Started.After(time.Now().Add(slack)) {
		t.Errorf("started at %v, want it between %v and now", p.Started, before)
	}
	c.finish()
	checkHolders(t, l)
}

func TestHolderIsThisProcess(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	checkHolders(t, l, os.Getpid())
	release(t, h)
	checkHolders(t, l)
}

func TestWaitersHoldNothing(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	holder := childHolder(t, dir)
	waiter := childWaiter(t, dir)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	gone := queueUpInVain(ctx, t, l, 1, ErrCancelled)
	until(t, "the own wait", func() bool { return l.Stats().Parked })
	checkHolders(t, l, holder.cmd.Process.Pid)
	cancel() // or the next holder may be this process, for ever
	gone.Wait()
	holder.kill()
	waiter.expect("locked")
	checkHolders(t, l, waiter.cmd.Process.Pid)
}

func TestHeirsHoldTheLockToo(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir, "dup")
	c.expect("started")
	holders := holdersOf(t, l)
	if len(holders) != 2 || holders[0].PID != c.cmd.Process.Pid {
		t.Fatalf("held by %+v, want pid %d and its child", holders, c.cmd.Process.Pid)
	}
	c.kill()
	checkHolders(t, l, holders[1].PID)
	c.stdin.Close() // and the heir exits
	release(t, acquireReal(t, l))
	checkHolders(t, l)
}

// childShare is the role of a child that locks the file args[0] shared.
func childShare(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		return err
	}
	fmt.Println("shared")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestThoseWhoShareTheLockHoldIt(t *testing.T) {
	l := openReal(t, t.TempDir())
	var pids []int
	for range 2 {
		c := childStart(t, "share", l.Path())
		c.expect("shared")
		pids = append(pids, c.cmd.Process.Pid)
	}
	var got []int
	for _, p := range holdersOf(t, l) {
		got = append(got, p.PID)
	}
	slices.Sort(got)
	slices.Sort(pids)
	if !slices.Equal(got, pids) {
		t.Fatalf("held by %v, want %v", got, pids)
	}
}

func TestHoldersAreThoseOfTheFileAtThePath(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	childHolder(t, dir)
	if err := os.Rename(l.Path(), l.Path()+".old"); err != nil {
		t.Fatal(err)
	}
	checkHolders(t, l)
	replaced := childHolder(t, dir)
	checkHolders(t, l, replaced.cmd.Process.Pid)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	checkHolders(t, l)
}

// publicDir returns a temporary directory that others may look into.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, public := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(public, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHolderOfAnotherUser(t *testing.T) {
	const env = "PACKLOCK_TEST_OTHERS"
	if os.Getenv(env) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root has a process of another user")
		}
		dir := publicDir(t)
		c := childHolder(t, dir)
		t.Setenv(env, strconv.Itoa(c.cmd.Process.Pid)+" "+dir)
	}
	unprivileged(t, func(t *testing.T) {
		pid, dir, _ := strings.Cut(os.Getenv(env), " ")
		l := openReal(t, dir)
		if holders := holdersOf(t, l); len(holders) != 1 || strconv.Itoa(holders[0].PID) != pid || holders[0].Args == nil {
			t.Errorf("held by %+v, want pid %s", holders, pid)
		}
	})
}

func TestHeirOfAnotherUserIsNotNamed(t *testing.T) {
	const env = "PACKLOCK_TEST_HEIRS"
	if os.Getenv(env) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root has a process of another user")
		}
		dir := publicDir(t)
		c := childStart(t, "start", dir, "dup")
		c.expect("started")
		c.kill()
		t.Setenv(env, dir)
	}
	unprivileged(t, func(t *testing.T) {
		if holders := holdersOf(t, openReal(t, os.Getenv(env))); len(holders) != 1 || !reflect.DeepEqual(holders[0], Process{}) {
			t.Errorf("held by %+v, want a process that cannot be named", holders)
		}
	})
}

// childHolders is the role of a child that prints the holders of the lock of
// args[0], as seen in a mount namespace of its own, where args[1] is mounted on
// /proc.
func childHolders(args []string) error {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount(args[1], "/proc", args[1], 0, "")
	}
	if err != nil {
		fmt.Println("skip:", err)
		return nil
	}
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	holders, err := l.Holders()
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("unsupported")
		return nil
	}
	self := false
	for _, p := range holders {
		self = self || p.Self
	}
	fmt.Println(len(holders), self)
	return err
}

// elsewhere runs childHolders in other namespaces, and returns what it prints.
func elsewhere(t *testing.T, dir, proc string, flags uintptr, inherit ...*os.File) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes namespaces with a /proc of their own everywhere")
	}
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator passes the namespace on, but not its /proc")
	}
	cmd, err := childCommand(bounded(t), "holders", dir, proc)
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = inherit
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if why, skip := strings.CutPrefix(string(out), "skip: "); skip {
		t.Skipf("nothing can be mounted on /proc here: %s", why)
	}
	return strings.TrimSpace(string(out))
}

func TestHoldersWithoutProcAreUnsupported(t *testing.T) {
	if got := elsewhere(t, t.TempDir(), "tmpfs", unix.CLONE_NEWNS); got != "unsupported" {
		t.Errorf("%s, want unsupported", got)
	}
}

func TestHolderOutsideThePIDNamespaceIsNotTold(t *testing.T) {
	dir := t.TempDir()
	h := acquireReal(t, openReal(t, dir))
	if got := elsewhere(t, dir, "proc", unix.CLONE_NEWNS|unix.CLONE_NEWPID); got != "0 false" {
		t.Errorf("%s, want 0 holders", got)
	}
	dup, err := h.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer dup.Close()
	if got := elsewhere(t, dir, "proc", unix.CLONE_NEWNS|unix.CLONE_NEWPID, dup); got != "1 true" {
		t.Errorf("%s, want the heir alone, which is inside", got)
	}
}

func TestHolderInsideAnotherPIDNamespaceIsTold(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes a pid namespace everywhere")
	}
	if os.Getenv("TEST_EXEC") != "" {
		t.Skip("an emulator does not pass every flag of clone on")
	}
	dir := t.TempDir()
	cmd, err := childCommand(bounded(t), "hold", dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	c := childStartCommand(t, cmd)
	c.expect("locked")
	checkHolders(t, openReal(t, dir), cmd.Process.Pid)
}

// What is below a file does not exist, and so no process holds it.
func TestNoHoldersBelowAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pack")
	l := openReal(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, 0o666)
	if holders := holdersOf(t, l); holders != nil {
		t.Errorf("held by %v", holders)
	}
}
