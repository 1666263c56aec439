package packlock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the tests on the real kernel share.

// rawLock locks the file at path, through a descriptor of its own, by the
// system call alone. It returns nil instead of a function to unlock if the lock
// is busy and it is not to wait. It is nil itself on a system without such a
// call.
var rawLock func(path string, wait bool) (unlock func(), err error)

// fakeOnlyEnv is the variable that makes the tests do without the real kernel's
// lock: those that are left are the same each time. See .ci/mutants.
const fakeOnlyEnv = "PACKLOCK_TEST_FAKE_ONLY"

// needKernel skips the rest of a test where it cannot have the real kernel's lock.
func needKernel(t testing.TB) {
	t.Helper()
	if os.Getenv(fakeOnlyEnv) != "" {
		t.Skip("it needs the real kernel, and " + fakeOnlyEnv + " is set")
	}
	if rawLock == nil {
		t.Skipf("%s has neither flock nor LockFileEx", runtime.GOOS)
	}
}

// skipUndeletable skips a test of a sidecar that gets lost.
func skipUndeletable(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("on Windows an open sidecar can be neither deleted nor replaced")
	}
}

func skipWithoutDup(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Hold.Dup is for Unix")
	}
}

// isLocked reports whether anybody has the kernel's lock of the file at path,
// this process included.
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

// limit is until when a test waits for what has to happen.
func limit(t testing.TB) time.Time {
	soon := time.Now().Add(2 * time.Minute)
	if t, ok := t.(*testing.T); ok {
		// Before the whole test binary is killed, and its children are not.
		if d, ok := t.Deadline(); ok && d.Add(-5*time.Second).Before(soon) {
			return d.Add(-5 * time.Second)
		}
	}
	return soon
}

// bounded returns a context for what has to happen.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), limit(t))
	t.Cleanup(cancel)
	return ctx
}

// until waits for a state of which no event tells.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	limit := limit(t)
	for n := 0; !reached(); n++ {
		if n < 1000 {
			runtime.Gosched()
			continue
		}
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// scaled returns n, or a tenth where n would take too long: under an emulator,
// and with the race detector, which has room for 8128 goroutines.
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

// acquireReal acquires l, until the end of the test at the latest.
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

// inTurn acquires l, calls inside and releases l, on a goroutine that may not end
// the test.
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

// neverRun returns a function for Do, which is not to call it.
func neverRun(t testing.TB) func(context.Context) error {
	return func(context.Context) error {
		t.Error("Do called its function")
		return nil
	}
}

// queueUp calls fn(0) to fn(n-1), each of which acquires l, on goroutines of
// their own: one after the other, so that their order in the queue is that of
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

// queueUpInVain queues up n goroutines, as queueUp does, whose Acquire is going to
// fail with an error that is each of want.
func queueUpInVain(ctx context.Context, t testing.TB, l *Lock, n int, want ...error) *sync.WaitGroup {
	t.Helper()
	return queueUp(t, l, n, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), want...)
	})
}

// acquirers are the ways to acquire a lock with a wait, and to try again and
// again.
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

// checkPathError checks that err is an *fs.PathError with that operation and
// path, and that it is each of the targets.
func checkPathError(t testing.TB, err error, op, path string, targets ...error) {
	t.Helper()
	pathError, ok := err.(*fs.PathError)
	if !ok {
		t.Errorf("got %T (%v), want an *fs.PathError", err, err)
		return
	}
	if pathError.Op != op || pathError.Path != path {
		t.Errorf("got the error of %q on %q, want that of %q on %q: %v", pathError.Op, pathError.Path, op, path, err)
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

// checkBusy checks that somebody other than the caller has the lock.
func checkBusy(t testing.TB, l *Lock) {
	t.Helper()
	if err := checkTry(t, l, ErrBusy); errors.Is(err, ErrReentrant) {
		t.Errorf("got %v, want an error that is not %v", err, ErrReentrant)
	}
}

// checkExcludes checks that h excludes who opens the path now.
func checkExcludes(t testing.TB, h *Hold) {
	t.Helper()
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	if !isLocked(t, h.Path()) {
		t.Errorf("%s is not locked", h.Path())
	}
}

// checkFree checks that nobody has the kernel's lock.
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

// closedByCollector runs the garbage collector, and reports whether it has
// closed the lock that was behind a Lock that nobody has any more.
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

// symlink is os.Symlink that is not taken at its word: an emulation of Windows
// may say that it has made a symlink without having done anything.
func symlink(target, link string) error {
	if err := os.Symlink(target, link); err != nil {
		return err
	}
	_, err := os.Lstat(link)
	return err
}

// otherPaths returns paths that lead to dir by other ways.
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
			paths = append(paths, other) // letters of either case are the same here
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
	if runtime.GOOS != "windows" { // where ".." is resolved in the text
		t.Chdir(filepath.Dir(linkInside))
		paths = append(paths, linkInside+"/..", "link/..")
	}
	return paths
}
