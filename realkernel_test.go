package packlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// childEnv is the variable that makes this test binary a child process of a
// test and names its role.
const childEnv = "PACKLOCK_TEST_CHILD"

// childRoles maps each role to what a child process does in it. A role ends when the
// child's standard input ends, hence with the test at the latest.
var childRoles = map[string]func(args []string) error{
	"hold":  childHold,
	"flock": childRawLock,
	"count": childCount,
	"drop":  childDrop,
	"start": childStartChild,
	"echo":  childEcho,
}

func TestMain(m *testing.M) {
	role := os.Getenv(childEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := childRoles[role](os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "child %s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childCommand returns the command that runs a role in a child process. If the tests
// run under an emulator, so does the child.
func childCommand(ctx context.Context, role string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := slices.Concat(strings.Fields(os.Getenv("TEST_EXEC")), []string{self}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+role,
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // or the race detector delays the exit of every child by a second
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// child is a child process. Its standard input and output are lines from and to the test.
type child struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  *os.File // the child finishes when it is closed
	stdout *bufio.Reader
}

// childStart starts a child in a role. If the child still runs at the end of the test,
// it is killed.
func childStart(t testing.TB, role string, args ...string) *child {
	t.Helper()
	cmd, err := childCommand(bounded(t), role, args...)
	if err != nil {
		t.Fatal(err)
	}
	return childStartCommand(t, cmd)
}

func childStartCommand(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	// Not cmd's own pipes, because these should outlive the child: its own children
	// use them, too.
	theirStdin, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirStdin.Close()
	stdout, theirStdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirStdout.Close()
	cmd.Stdin, cmd.Stdout = theirStdin, theirStdout
	c := &child{t: t, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	t.Cleanup(func() {
		c.kill()
		stdin.Close()
		stdout.Close()
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// expect waits for the child to print a line.
func (c *child) expect(want string) {
	c.t.Helper()
	got, err := c.stdout.ReadString('\n')
	if strings.TrimSpace(got) != want {
		c.t.Fatalf("child printed %q (%v), want %q", got, err, want)
	}
}

// checkAlive checks that the child, which has the role echo, is alive.
func (c *child) checkAlive() {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, "alive\n"); err != nil {
		c.t.Error(err)
	}
	c.expect("alive")
}

// finish ends the child's standard input, waits for the child to exit, and checks that
// it exits without an error.
func (c *child) finish() {
	c.t.Helper()
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("child: %v", err)
	}
}

// kill kills the child, if it still runs, and waits until it has ended.
func (c *child) kill() {
	if c.cmd.Process != nil && c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

// childHolder returns a child that holds the lock of dir until it is finished or
// killed.
func childHolder(t testing.TB, dir string) *child {
	t.Helper()
	c := childStart(t, "hold", dir)
	c.expect("locked")
	return c
}

// childWaiter returns a child that waits for the lock of dir, with a thread parked in
// the kernel. Another process must hold the lock. The child prints "locked" when it has
// acquired the lock.
func childWaiter(t testing.TB, dir string) *child {
	t.Helper()
	c := childStart(t, "hold", dir)
	c.expect("parked")
	return c
}

// childFlock returns a child that locks the file at path without this package. It prints
// "locked" when it has acquired the lock, and "busy" before if it must wait.
func childFlock(t testing.TB, path string) *child {
	t.Helper()
	return childStart(t, "flock", path)
}

// flockCommand is flock(1) of util-linux.
func flockCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("flock")
	if err != nil {
		t.Skipf("without flock(1): %v", err)
	}
	return exec.CommandContext(bounded(t), path, args...)
}

// childHold is the role of childHolder and childWaiter: args is the pack.
func childHold(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	h, err := l.TryAcquire()
	if errors.Is(err, ErrBusy) {
		go func() {
			for !l.Stats().Parked { // no event reports that
				time.Sleep(time.Millisecond)
			}
			fmt.Println("parked")
		}()
		h, err = l.Acquire(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Println("locked")
	<-ctx.Done()
	return h.Release()
}

// childRawLock is the role of childFlock: args is the lock file.
func childRawLock(args []string) error {
	unlock, err := rawLock(args[0], false)
	if err == nil && unlock == nil {
		fmt.Println("busy")
		unlock, err = rawLock(args[0], true)
	}
	if err != nil {
		return err
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	unlock()
	return nil
}

// childCount is the role of a child that counts in a file: args are the pack,
// the file, and how many goroutines count how often.
func childCount(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	goroutines, _ := strconv.Atoi(args[2])
	rounds, _ := strconv.Atoi(args[3])
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	errs := make(chan error)
	for range goroutines {
		go func() { errs <- countIn(l, args[1], rounds) }()
	}
	for range goroutines {
		err = errors.Join(err, <-errs)
	}
	return err
}

// countIn adds 1 to the number in file, rounds times, under l. While it does that, a
// second file, the witness, exists in the same directory.
func countIn(l *Lock, file string, rounds int) error {
	for range rounds {
		err := l.Do(context.Background(), func(context.Context) error {
			witness, err := os.OpenFile(file+".witness", os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				return fmt.Errorf("two at a time: %w", err)
			}
			witness.Close()
			content, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			n, _ := strconv.Atoi(string(content))
			if err := os.WriteFile(file, []byte(strconv.Itoa(n+1)), 0o666); err != nil {
				return err
			}
			return os.Remove(witness.Name())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// childDrop is the role of a child that drops Lock and Hold without Close and
// Release: args is the pack.
func childDrop(args []string) error {
	inner, err := func() (*lock, error) {
		l, err := Open(args[0])
		if err != nil {
			return nil, err
		}
		_, err = l.AcquireBlocking()
		return l.lock, err
	}()
	if err != nil {
		return err
	}
	for !closedByCollector(inner) {
	}
	fmt.Println("dropped")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// childStartChild is the role of a child that acquires the lock and starts a grandchild,
// which has the same standard input and output. args are the pack and, if the grandchild
// should inherit a duplicate of the locked descriptor, "dup".
func childStartChild(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	h, err := l.TryAcquire()
	if err != nil {
		return err
	}
	grandchild, err := childCommand(context.Background(), "echo")
	if err != nil {
		return err
	}
	grandchild.Stdin, grandchild.Stdout = os.Stdin, os.Stdout
	dup, err := h.Dup()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	defer dup.Close()
	if len(args) > 1 {
		grandchild.ExtraFiles = []*os.File{dup}
	}
	if err := grandchild.Start(); err != nil {
		return err
	}
	fmt.Println("started")
	return grandchild.Wait()
}

// childEcho is the role of a child that repeats its input, which shows that it is alive.
// It uses no locks.
func childEcho([]string) error {
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

// What the tests on the real kernel share.

// rawLock locks the file at path, through a descriptor of its own, by the system call
// alone, and returns a function that unlocks it. The function is nil if the lock is busy
// and wait is false. rawLock itself is nil on a system without such a call.
var rawLock func(path string, wait bool) (unlock func(), err error)

// fakeOnlyEnv is the variable that skips the tests that need the real kernel's lock.
// The others do the same in each run. See .ci/mutants.
const fakeOnlyEnv = "PACKLOCK_TEST_FAKE_ONLY"

// needKernel skips the rest of a test where the real kernel's lock cannot be used.
func needKernel(t testing.TB) {
	t.Helper()
	if os.Getenv(fakeOnlyEnv) != "" {
		t.Skip("it needs the real kernel, and " + fakeOnlyEnv + " is set")
	}
	if rawLock == nil {
		t.Skipf("%s has neither flock nor LockFileEx", runtime.GOOS)
	}
}

// skipUndeletable skips a test of a lost lock file where a lock file cannot be lost.
func skipUndeletable(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("on Windows an open lock file can be neither deleted nor replaced")
	}
}

func skipWithoutDup(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Hold.Dup is for Unix")
	}
}

// isLocked reports whether any process, including this one, holds the kernel's lock of
// the file at path.
func isLocked(t testing.TB, path string) bool {
	t.Helper()
	unlock, err := rawLock(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if unlock != nil {
		unlock()
	}
	return unlock == nil
}

// limit returns the time until which a test waits for an event that must come.
func limit(t testing.TB) time.Time {
	soon := time.Now().Add(2 * time.Minute)
	if t, ok := t.(*testing.T); ok {
		// This is before the test binary is killed, which would leave its children
		// running.
		if d, ok := t.Deadline(); ok && d.Add(-5*time.Second).Before(soon) {
			return d.Add(-5 * time.Second)
		}
	}
	return soon
}

// bounded returns a context with that limit.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), limit(t))
	t.Cleanup(cancel)
	return ctx
}

// until waits for a state that no event reports.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	limit := limit(t)
	for n := 0; !reached(); n++ {
		if n < 1000 {
			runtime.Gosched()
			continue
		}
		if time.Now().After(limit) {
			t.Fatalf("timed out waiting for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// scaled returns n, or a tenth of it where n would take too long: under an emulator, in
// short mode, and with the race detector, which is limited to 8128 goroutines.
func scaled(n int) int {
	info, _ := debug.ReadBuildInfo()
	race := slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	if race || testing.Short() || os.Getenv("TEST_EXEC") != "" {
		return n / 10
	}
	return n
}

// openReal returns the Lock of dir on the real kernel.
func openReal(t testing.TB, dir string) *Lock {
	t.Helper()
	needKernel(t)
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// acquireReal acquires l. The hold ends with the test, if it was not released before.
func acquireReal(t testing.TB, l *Lock) *Hold {
	t.Helper()
	h, err := l.Acquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Release() })
	return h
}

func release(t testing.TB, h *Hold) {
	t.Helper()
	if err := h.Release(); err != nil {
		t.Error(err)
	}
}

func closeLock(t testing.TB, l *Lock) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// inTurn acquires l, calls inside and releases l. It may be called on any goroutine,
// because it does not end the test.
func inTurn(ctx context.Context, t testing.TB, l *Lock, inside func(h *Hold)) {
	h, err := l.Acquire(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	inside(h)
	release(t, h)
}

// takeTurn acquires l and releases it, as inTurn does.
func takeTurn(ctx context.Context, t testing.TB, l *Lock) {
	inTurn(ctx, t, l, func(*Hold) {})
}

// neverRun returns a function for a Do that must not call it.
func neverRun(t testing.TB) func(context.Context) error {
	return func(context.Context) error {
		t.Error("Do called its function")
		return nil
	}
}

// queueUp calls fn(0) to fn(n-1), each of which acquires l, on goroutines of their own.
// It waits for each to queue before it starts the next, so they queue in the order of
// their numbers.
func queueUp(t testing.TB, l *Lock, n int, fn func(i int)) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	before := l.Stats().Waiting
	for i := range n {
		wg.Go(func() { fn(i) })
		until(t, "a goroutine to queue", func() bool { return l.Stats().Waiting == before+i+1 })
	}
	return &wg
}

// queueUpToFail queues up n goroutines, as queueUp does. It checks that their Acquire
// fails with an error that is each of want.
func queueUpToFail(ctx context.Context, t testing.TB, l *Lock, n int, want ...error) *sync.WaitGroup {
	t.Helper()
	return queueUp(t, l, n, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), want...)
	})
}

// acquirers are the ways to acquire a lock that is busy at first: two that wait, and
// TryAcquire, repeated.
var acquirers = []struct {
	name    string
	acquire func(ctx context.Context, l *Lock) (*Hold, error)
}{
	{"Acquire", func(ctx context.Context, l *Lock) (*Hold, error) { return l.Acquire(ctx) }},
	{"AcquireBlocking", func(_ context.Context, l *Lock) (*Hold, error) { return l.AcquireBlocking() }},
	{"TryAcquire", func(ctx context.Context, l *Lock) (*Hold, error) {
		for {
			h, err := l.TryAcquire()
			if !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) || ctx.Err() != nil {
				return h, err
			}
			runtime.Gosched()
		}
	}},
}

// checkPathError checks that err is an *fs.PathError with the given operation and path,
// and that it is each of the targets.
func checkPathError(t testing.TB, err error, op, path string, targets ...error) {
	t.Helper()
	pathError, ok := err.(*fs.PathError)
	if !ok {
		t.Errorf("got %T (%v), want an *fs.PathError", err, err)
		return
	}
	if pathError.Op != op || pathError.Path != path {
		t.Errorf("got an error of %q on %q, want one of %q on %q: %v", pathError.Op, pathError.Path, op, path, err)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("got the error %q, want one that is %q", err, target)
		}
	}
}

// checkTry checks that TryAcquire fails with want.
func checkTry(t testing.TB, l *Lock, want error) error {
	t.Helper()
	_, err := l.TryAcquire()
	checkPathError(t, err, "acquire", l.Path(), want)
	return err
}

// checkBusy checks that TryAcquire fails because another goroutine or process holds the
// lock.
func checkBusy(t testing.TB, l *Lock) {
	t.Helper()
	if err := checkTry(t, l, ErrBusy); errors.Is(err, ErrReentrant) {
		t.Errorf("got %v, want an error that is not %v", err, ErrReentrant)
	}
}

// checkExcludes checks that h excludes a process that opens the path now.
func checkExcludes(t testing.TB, h *Hold) {
	t.Helper()
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	if !isLocked(t, h.Path()) {
		t.Errorf("%s is not locked", h.Path())
	}
}

// checkFree checks that no process holds the kernel's lock.
func checkFree(t testing.TB, l *Lock) {
	t.Helper()
	if isLocked(t, l.Path()) {
		t.Errorf("%s is locked", l.Path())
	}
}

// threads returns the number of threads of this process.
func threads() int {
	if tasks, err := os.ReadDir("/proc/self/task"); err == nil {
		return len(tasks)
	}
	return pprof.Lookup("threadcreate").Count()
}

// openFiles returns how many open files of this process match, by the names
// that Linux has for them, and 0 on other systems.
func openFiles(match func(name string) bool) int {
	const dir = "/proc/self/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	n := 0
	for _, fd := range fds {
		if name, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && match(name) {
			n++
		}
	}
	return n
}

// checkNotOpen waits until this process does not have path open any more.
func checkNotOpen(t testing.TB, path string) {
	t.Helper()
	until(t, "the descriptor to be closed", func() bool {
		return openFiles(func(name string) bool { return name == path }) == 0
	})
}

// closedByCollector runs the garbage collector, and reports whether it has closed inner,
// whose Lock is no longer reachable.
func closedByCollector(inner *lock) bool {
	runtime.GC()
	e := inner.lockEntry()
	defer e.mu.Unlock()
	return inner.closed
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// symlink is os.Symlink with a check of the result. An emulation of Windows may return
// success without having made a symlink.
func symlink(target, link string) error {
	if err := os.Symlink(target, link); err != nil {
		return err
	}
	_, err := os.Lstat(link)
	return err
}

// otherPaths returns different paths to dir.
func otherPaths(t testing.TB, dir string) []string {
	t.Helper()
	const separator = string(filepath.Separator)
	paths := []string{
		dir + separator,
		dir + separator + "." + separator + separator + ".",
		dir + separator + ".." + separator + filepath.Base(dir),
	}
	if other := strings.ToUpper(dir); other != dir {
		if _, err := os.Stat(other); err == nil {
			paths = append(paths, other) // the file system ignores case
		}
	}
	inside := filepath.Join(dir, "inside")
	if err := os.MkdirAll(inside, 0o777); err != nil {
		t.Fatal(err)
	}
	link, linkInside := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(symlink(dir, link), symlink(inside, linkInside)); err != nil {
		t.Logf("without symlinks: %v", err)
		return paths
	}
	paths = append(paths, link)
	if runtime.GOOS != "windows" { // Windows resolves ".." in the text of the path
		t.Chdir(filepath.Dir(linkInside))
		paths = append(paths, linkInside+"/..", "link/..")
	}
	return paths
}

// When a process is killed, the kernel releases its lock. Waiters get it, and so does
// the next acquire.
func TestKilledHolderReleases(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	holder := childHolder(t, dir)
	ctx := bounded(t)
	wg := queueUp(t, l, 3, func(int) { takeTurn(ctx, t, l) })
	holder.kill()
	wg.Wait()

	holder = childHolder(t, dir)
	checkBusy(t, l)
	holder.kill()
	release(t, acquireReal(t, l))
}

// When a waiting process is killed, the hold and the other waiters are not affected.
func TestKilledWaiterLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	killed, other := childWaiter(t, dir), childWaiter(t, dir)
	killed.kill()
	checkExcludes(t, h)
	release(t, h)
	other.expect("locked")
	other.kill()
	release(t, acquireReal(t, l))
}

// A Hold that is no longer reachable still holds the lock.
func TestDroppedHoldStaysHeld(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childStart(t, "drop", dir) // in a process of its own, because only its exit ends the hold
	elsewhere.expect("dropped")
	if !isLocked(t, l.Path()) {
		t.Error("not locked")
	}
	checkBusy(t, l)
	elsewhere.finish()
	release(t, acquireReal(t, l))
}

// A child process does not keep the lock of its parent when the parent is killed.
func TestChildrenDoNotInheritTheLock(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir)
	c.expect("started")
	checkBusy(t, l)
	c.checkAlive()
	c.kill()
	release(t, acquireReal(t, l))
	c.checkAlive() // the grandchild
}

// A child process that inherited a duplicate keeps the lock when its parent is killed,
// until the child exits.
func TestChildKeepsDupOfKilledProcess(t *testing.T) {
	skipWithoutDup(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	c := childStart(t, "start", dir, "dup")
	c.expect("started")
	c.kill()
	c.checkAlive()
	if !isLocked(t, l.Path()) {
		t.Error("not locked although the duplicate is still open")
	}
	c.stdin.Close() // the grandchild exits
	release(t, acquireReal(t, l))
}

// Release releases the lock also while a child process has a duplicate open.
func TestReleaseUnlocksDups(t *testing.T) {
	skipWithoutDup(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	dup, err := h.Dup()
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := childCommand(bounded(t), "echo")
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{dup}
	c := childStartCommand(t, cmd)
	c.checkAlive()
	if err := dup.Close(); err != nil {
		t.Error(err)
	}
	checkExcludes(t, h) // closing a duplicate releases nothing
	release(t, h)
	childHolder(t, dir).finish()
	c.checkAlive()
	c.finish()
}

func init() {
	childRoles["all"] = childAll
}

const (
	packsOfAll  = 10
	enoughOfAll = 100 // acquires of each process
)

// childAll is the role of a child that acquires all packs in the directory args[0], in
// the order args[1], again and again until its standard input ends. Each time it counts
// in a file of each pack.
func childAll(args []string) error {
	var locks []*Lock
	for i := range packsOfAll {
		l, err := Open(filepath.Join(args[0], strconv.Itoa(i)))
		if err != nil {
			return err
		}
		locks = append(locks, l)
	}
	if args[1] == "backwards" {
		slices.Reverse(locks)
	}
	finish := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(finish)
	}()
	for n := 0; ; n++ {
		select {
		case <-finish:
			fmt.Println(n)
			return nil
		default:
		}
		holds, err := AcquireAll(context.Background(), locks...)
		if err != nil {
			return err
		}
		for _, h := range holds {
			file := filepath.Join(filepath.Dir(h.Path()), "counter")
			content, _ := os.ReadFile(file)
			count, _ := strconv.Atoi(string(content))
			if err := os.WriteFile(file, []byte(strconv.Itoa(count+1)), 0o666); err != nil {
				return err
			}
		}
		if err := holds.Release(); err != nil {
			return err
		}
		if n == enoughOfAll {
			fmt.Println("enough")
		}
	}
}

// Two processes acquire the same packs in opposite orders, a hundred times and more.
// Neither gets stuck, and their counts are right.
func TestAllInOppositeOrdersByProcesses(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	children := []*child{childStart(t, "all", dir, "forwards"), childStart(t, "all", dir, "backwards")}
	for _, c := range children {
		c.expect("enough")
	}
	want := 0
	for _, c := range children {
		c.stdin.Close()
		line, err := c.stdout.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(line[:len(line)-1])
		if err != nil || n == 0 {
			t.Fatalf("acquired %q", line)
		}
		want += n
		c.finish()
	}
	for i := range packsOfAll {
		content, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i), "counter"))
		if err != nil || string(content) != strconv.Itoa(want) {
			t.Errorf("pack %d: counted to %q (%v), want %d", i, content, err, want)
		}
	}
}
