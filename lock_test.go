package packlock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// The basic promises of the package: exclusion, paths, Release, Do, Close and Open. Tests
// of one order of events run on a fake kernel (onFake), the others on the real one
// (openReal).

func TestExclusionAmongGoroutines(t *testing.T) {
	dir := t.TempDir()
	locks := []*Lock{openReal(t, dir), openReal(t, dir)}
	elsewhere := childHolder(t, dir) // so that the parked thread acquires the lock for the first of us
	contender := childStart(t, "count", dir, filepath.Join(t.TempDir(), "counter"), "1", strconv.Itoa(scaled(300)))
	contender.expect("ready")

	const goroutines = 24
	rounds := scaled(200)
	ctx := bounded(t)
	counter := 0 // guarded by the lock alone; the race detector checks that it is enough
	var wg sync.WaitGroup
	for i := range goroutines {
		l, by := locks[i%len(locks)], acquirers[i%len(acquirers)]
		wg.Go(func() {
			for range rounds {
				h, err := by.acquire(ctx, l)
				if err != nil {
					t.Errorf("%s: %v", by.name, err)
					return
				}
				counter++
				release(t, h)
			}
		})
	}
	elsewhere.finish()
	contender.finish()
	wg.Wait()

	h := acquireReal(t, locks[0])
	defer release(t, h)
	if counter != goroutines*rounds {
		t.Errorf("counted to %d, want %d", counter, goroutines*rounds)
	}
	if got := locks[1].Stats().Acquired; got != goroutines*uint64(rounds)+1 {
		t.Errorf("Stats has %d acquired, want %d", got, goroutines*rounds+1)
	}
}

func TestExclusionAmongProcesses(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	file := filepath.Join(t.TempDir(), "counter")
	const goroutines = 4
	rounds := scaled(80)

	var children []*child
	for _, path := range otherPaths(t, dir) {
		c := childStart(t, "count", path, file, strconv.Itoa(goroutines), strconv.Itoa(rounds))
		c.expect("ready")
		children = append(children, c)
	}
	for _, c := range children {
		c.stdin.Close() // they all start
	}
	if err := countIn(l, file, rounds); err != nil {
		t.Error(err)
	}
	for _, c := range children {
		c.finish()
	}
	content, err := os.ReadFile(file)
	if want := strconv.Itoa(rounds * (goroutines*len(children) + 1)); err != nil || string(content) != want {
		t.Errorf("counted to %q (%v), want %s", content, err, want)
	}
}

func TestExcludesOtherPrograms(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	program := childFlock(t, l.Path())
	program.expect("busy")
	release(t, h)
	program.expect("locked")
	program.finish()
}

func TestIsExcludedByOtherPrograms(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	program := childFlock(t, l.Path())
	program.expect("locked")
	checkBusy(t, l)
	ctx := bounded(t)
	wg := queueUp(t, l, 1, func(int) { takeTurn(ctx, t, l) })
	program.finish()
	wg.Wait()
}

func TestExcludesFlockCommand(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	try := func() int {
		t.Helper()
		cmd := flockCommand(t, "-n", l.Path(), "true")
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode()
	}
	if got := try(); got != 1 {
		t.Errorf("flock -n exits with %d while we hold the lock, want 1", got)
	}
	release(t, h)
	if got := try(); got != 0 {
		t.Errorf("flock -n exits with %d after the release, want 0", got)
	}
}

func TestIsExcludedByFlockCommand(t *testing.T) {
	l := openReal(t, t.TempDir())
	command := childStartCommand(t, flockCommand(t, l.Path(), "sh", "-c", "echo locked; exec cat"))
	command.expect("locked")
	checkBusy(t, l)
	command.finish()
	release(t, acquireReal(t, l))
}

func TestWaitEndsWhenOtherProcessReleases(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	for _, by := range acquirers {
		t.Run(by.name, func(t *testing.T) {
			elsewhere := childHolder(t, dir)
			checkBusy(t, l)
			ctx := bounded(t)
			done := make(chan bool)
			go func() {
				defer close(done)
				h, err := by.acquire(ctx, l)
				if err != nil {
					t.Error(err)
					return
				}
				release(t, h)
			}()
			if by.name != "TryAcquire" {
				until(t, "a goroutine to wait", func() bool { return l.Stats().Waiting == 1 })
			}
			elsewhere.finish()
			<-done
		})
	}
}

// Holds of two packs are independent. A context that descends from both holds is marked by
// both. When the outer hold is released, the inner one stays valid.
func TestPacksDoNotInterfere(t *testing.T) {
	one, other := openReal(t, t.TempDir()), openReal(t, t.TempDir())
	h := acquireReal(t, one)
	inOther, err := other.Acquire(h.Context(bounded(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = one.Acquire(inOther.Context(h.Context(bounded(t))))
	checkPathError(t, err, "acquire", one.Path(), ErrReentrant)
	release(t, h)
	if err := inOther.Check(); err != nil {
		t.Error(err)
	}
	if isLocked(t, one.Path()) || !isLocked(t, other.Path()) {
		t.Error("want the first pack free and the second locked")
	}
	release(t, inOther)
	if got := one.Stats().Acquired; got != 1 {
		t.Errorf("the first pack was acquired %d times, want 1", got)
	}
}

// All paths to a lock file, hard links included, are one lock.
func TestOneLockByAnyPath(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)

	others := make(map[string]*Lock)
	for _, path := range otherPaths(t, dir) {
		others[path] = openReal(t, path)
	}

	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Link(l.Path(), alias); err != nil {
		t.Logf("without hard links: %v", err)
	} else {
		other, err := OpenFile(alias)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Close() })
		others["hard link"] = other
	}

	h := acquireReal(t, l)
	for path, other := range others {
		if _, err := other.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("TryAcquire by %s: got %v, want %v", path, err, ErrReentrant)
		}
		if other.Stats() != l.Stats() {
			t.Errorf("Stats by %s are %+v, want %+v", path, other.Stats(), l.Stats())
		}
	}
	release(t, h)
	for _, other := range others {
		h := acquireReal(t, other)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		if _, err := l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("TryAcquire while it is held by %s: got %v, want %v", other.Path(), err, ErrReentrant)
		}
		release(t, h)
	}
}

// A Lock that was opened by a relative path keeps its file when the working directory
// changes.
func TestRelativePathOutlivesChdir(t *testing.T) {
	parent, elsewhere := t.TempDir(), t.TempDir()
	t.Chdir(parent)
	l := openReal(t, "pack")
	t.Chdir(elsewhere)

	h := acquireReal(t, l)
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	if _, err := openReal(t, filepath.Join(parent, "pack")).TryAcquire(); !errors.Is(err, ErrReentrant) {
		t.Errorf("TryAcquire by the absolute path: got %v, want %v", err, ErrReentrant)
	}
	release(t, h)

	if runtime.GOOS != "windows" { // where an open lock file cannot be deleted
		if err := os.Remove(l.Path()); err != nil {
			t.Fatal(err)
		}
		h = acquireReal(t, l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		release(t, h)
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
		t.Errorf("the new working directory contains %v (%v), want nothing", entries, err)
	}
}

func TestPathsAreAbsolute(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	want := filepath.Join(dir, FileName)
	t.Chdir(dir)
	for _, open := range []func() (*Lock, error){
		func() (*Lock, error) { return Open(dir) },
		func() (*Lock, error) { return OpenFile(FileName) },
		func() (*Lock, error) { return OpenFile(want) },
	} {
		l, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		h := acquireReal(t, l)
		// The system may return a different name for the working directory than dir.
		for _, got := range []string{l.Path(), h.Path()} {
			if !filepath.IsAbs(got) || filepath.Base(got) != FileName {
				t.Errorf("got the path %q, want %q", got, want)
			}
		}
		release(t, h)
	}
	if l := openReal(t, dir); l.Path() != want {
		t.Errorf("got the path %q, want %q", l.Path(), want)
	}
}

func TestReleasedHoldRefuses(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	release(t, h)
	checkReleased := func() {
		t.Helper()
		checkPathError(t, h.Release(), "release", l.Path(), ErrReleased)
		checkPathError(t, h.Check(), "check", l.Path(), ErrReleased)
		_, err := h.Dup()
		checkPathError(t, err, "dup", l.Path(), ErrReleased)
	}
	checkReleased()
	again := acquireReal(t, l)
	checkReleased()
	checkExcludes(t, again) // the second Release of h has not released it
	release(t, again)
}

// When several goroutines release one hold, exactly one of them succeeds.
func TestReleaseByOneOfMany(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	const n = 10
	errs := make(chan error)
	for range n {
		go func() { errs <- h.Release() }()
	}
	released := 0
	for range n {
		if err := <-errs; err == nil {
			released++
		} else {
			checkPathError(t, err, "release", l.Path(), ErrReleased)
		}
	}
	if released != 1 {
		t.Errorf("released %d times, want 1", released)
	}
	release(t, acquireReal(t, l))
}

// While Dup uses the file, a failed unlock does not close it. Dup returns no duplicate of a
// lock that was released meanwhile.
func TestDupDuringRelease(t *testing.T) {
	for _, unlock := range []error{nil, errors.New("input/output error")} {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			e.close(e.l)
			dup := make(chan struct{})
			e.k.setHook(func(call, _ string) error {
				switch call {
				case "dup":
					<-dup
				case "unlock":
					return unlock
				}
				return nil
			})
			done := make(chan error, 1)
			go func() { _, err := h.Dup(); done <- err }()
			synctest.Wait()
			if err := h.Release(); !errors.Is(err, unlock) {
				t.Error(err)
			}
			e.descriptors(1)
			close(dup)
			if err := <-done; !errors.Is(err, ErrReleased) {
				t.Error(err)
			}
		})
	}
}

// Do returns the error of the function joined with that of the release. It releases the
// lock after a panic, and does not call the function if the acquire fails.
func TestDo(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		errInside := errors.New("inside")
		err := e.l.Do(t.Context(), func(ctx context.Context) error {
			if _, err := e.l.Acquire(ctx); !errors.Is(err, ErrReentrant) {
				t.Errorf("%v", err)
			}
			return errInside
		})
		if err != errInside {
			t.Errorf("%v", err)
		}
		e.fail("unlock", errBroken)
		if err := e.l.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		if err := e.l.Do(t.Context(), func(context.Context) error { return errInside }); !errors.Is(err, errBroken) || !errors.Is(err, errInside) {
			t.Errorf("%v", err)
		}
		e.k.setHook(nil)
		func() {
			defer func() { recover() }()
			e.l.Do(t.Context(), func(context.Context) error { panic("in the section") })
		}()
		e.release(e.try(e.l))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.l.Do(ended, neverRun(t)); !errors.Is(err, ErrCancelled) {
			t.Errorf("%v", err)
		}
	})
}

// Do holds the lock while the function runs, marks its context, and releases the lock.
func TestDoHoldsMarksAndReleases(t *testing.T) {
	l := openReal(t, t.TempDir())
	errInside := errors.New("inside")
	err := l.Do(bounded(t), func(ctx context.Context) error {
		if !isLocked(t, l.Path()) {
			t.Error("not locked")
		}
		elsewhere := make(chan error)
		go func() {
			_, err := l.Acquire(ctx)
			elsewhere <- err
		}()
		checkPathError(t, <-elsewhere, "acquire", l.Path(), ErrReentrant)
		return errInside
	})
	if err != errInside {
		t.Errorf("got %v, want the function's own error", err)
	}
	checkFree(t, l)
}

func TestDoReleasesOnPanic(t *testing.T) {
	l := openReal(t, t.TempDir())
	func() {
		defer func() {
			if got := recover(); got != "inside" {
				t.Errorf("recovered %v", got)
			}
		}()
		l.Do(bounded(t), func(context.Context) error { panic("inside") })
	}()
	checkFree(t, l)
	release(t, acquireReal(t, l))
}

func TestDoReleasesOnGoexit(t *testing.T) {
	l := openReal(t, t.TempDir())
	ctx := bounded(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		l.Do(ctx, func(context.Context) error {
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()
	checkFree(t, l)
	release(t, acquireReal(t, l))
}

// A Dup during which the hold is released returns no file, and leaves none open.
func TestDupDuringReleaseLeavesNothingOpen(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.beforeNext("dup", h.Release)
		f, err := h.Dup()
		if f != nil || !errors.Is(err, ErrReleased) {
			t.Errorf("%v, %v; want ErrReleased", f, err)
		}
		for _, dup := range e.k.dups {
			if err := dup.Close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("the duplicate is open: %v", err)
			}
		}
		if len(e.k.dups) != 1 {
			t.Errorf("%d duplicates", len(e.k.dups))
		}
	})
}

// Close wakes the waiters of its Lock, and not those of a different Lock. The orphaned
// wait is adopted by a later Lock of the file. Without one, it drains and closes the file.
func TestCloseWhileParked(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		other := e.open(fakePath)
		mine, theirs := e.acquire(e.l), e.acquire(other)
		e.close(e.l)
		mine.failed(fs.ErrClosed)
		theirs.waits()
		e.close(other)
		theirs.failed(fs.ErrClosed)
		e.descriptors(1)

		again := e.open(fakePath) // which has the orphaned wait
		next := e.acquire(again)
		if s := again.Stats(); s.KernelWaits != 1 || s.Adopted != 1 {
			t.Errorf("%+v", s)
		}
		next.givesUp()
		e.close(again)
		f.release() // the thread drains, and closes the file
		synctest.Wait()
		e.descriptors(0)
		f.lock(t)
		f.release()
	})
}

// Close leaves the descriptor of the parked thread open until the thread has drained.
func TestCloseLeavesParkedThreadItsDescriptor(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	turnedAway := queueUpToFail(ctx, t, l, 1, fs.ErrClosed)
	until(t, "the thread to park", func() bool { return l.Stats().Parked })
	closeLock(t, l)
	turnedAway.Wait()

	// A Lock that is opened now has the same parked thread.
	again := openReal(t, dir)
	if stats := again.Stats(); !stats.Parked || !stats.Draining {
		t.Errorf("got %+v, want the thread still parked", stats)
	}
	closeLock(t, again)
	elsewhere.finish()
	checkNotOpen(t, l.Path())
	until(t, "the thread to drain", func() bool { return !isLocked(t, l.Path()) })
	release(t, acquireReal(t, openReal(t, dir)))
}

// Close wakes the waiters of its Lock while the lock is still held. Waiters of a different
// Lock keep waiting.
func TestCloseWakesItsWaiters(t *testing.T) {
	dir := t.TempDir()
	l, other := openReal(t, dir), openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	turnedAway := queueUpToFail(ctx, t, l, 10, fs.ErrClosed)
	stays := queueUp(t, other, 1, func(int) { takeTurn(ctx, t, other) })
	closeLock(t, l)
	turnedAway.Wait() // while the lock is still held
	elsewhere.finish()
	stays.Wait()
}

// When the Lock is closed while an acquire tries the kernel's lock, the acquire fails. It
// does not wait.
func TestCloseWhileTrying(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		goOn := e.holdUp("try")
		a := e.acquire(e.l)
		e.close(e.l)
		goOn()
		a.failed(fs.ErrClosed)
		e.called("block", 0)
		f.release()
	})
}

// When the Lock is closed while a former waiter tries the kernel's lock, the acquire fails.
func TestCloseWhileTheNextTries(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(fakePath)
		h := e.try(other)
		a := e.acquire(e.l)
		goOn := e.holdUp("try")
		h.entry.fair.handOvers = sliceHandOvers
		e.release(h)
		synctest.Wait()
		e.close(e.l)
		goOn()
		a.failed(fs.ErrClosed)
		e.release(e.try(other))
		e.close(other)
	})
}

// When the Lock is closed while the lost file is being replaced, all its acquires fail.
func TestCloseWhileReopening(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		goOn := e.holdUp("open")
		a := e.acquire(e.l)
		b := e.acquire(e.l)
		e.close(e.l)
		b.failed(fs.ErrClosed)
		goOn()
		a.failed(fs.ErrClosed)
	})
}

// Close leaves a live hold valid. After Close, each method that can fail does so with
// fs.ErrClosed.
func TestCloseLeavesHoldsValid(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.close(e.l)
		again := e.open(fakePath)
		checkTry(t, again, ErrReentrant)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
		e.release(e.try(again))
		e.close(again)
		for _, err := range []error{
			again.Close(),
			again.WaitDrained(t.Context()),
			func() error { _, err := again.Acquire(t.Context()); return err }(),
			func() error { _, err := again.TryAcquire(); return err }(),
			func() error { _, err := again.AcquireBlocking(); return err }(),
			again.Do(t.Context(), neverRun(t)),
		} {
			if pathErr := (*fs.PathError)(nil); !errors.Is(err, fs.ErrClosed) || !errors.As(err, &pathErr) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

// Close leaves a live hold valid. Its release releases the lock and closes the file.
func TestCloseLeavesLiveHoldValid(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	closeLock(t, l)
	checkExcludes(t, h)
	other := openReal(t, dir)
	checkTry(t, other, ErrReentrant)
	closeLock(t, other)
	waiter := childWaiter(t, dir)
	release(t, h)
	waiter.expect("locked")
	checkNotOpen(t, l.Path())
	waiter.finish()
}

func TestClosedLockRefuses(t *testing.T) {
	l := openReal(t, t.TempDir())
	closeLock(t, l)
	checkPathError(t, l.Close(), "close", l.Path(), fs.ErrClosed)
	for _, by := range acquirers {
		_, err := by.acquire(bounded(t), l)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	}
	checkPathError(t, l.Do(bounded(t), neverRun(t)), "acquire", l.Path(), fs.ErrClosed)
	checkPathError(t, l.WaitDrained(bounded(t)), "drain", l.Path(), fs.ErrClosed)
	if stats := l.Stats(); stats != (Stats{}) {
		t.Errorf("got %+v, want no counts", stats)
	}
	checkNotOpen(t, l.Path())
}

// The garbage collector closes a Lock that is no longer reachable, and its descriptor.
func TestDroppedLockGivesItsDescriptorBack(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	inner := func() *lock {
		l, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		release(t, acquireReal(t, l))
		return l.lock
	}()
	until(t, "the garbage collector", func() bool { return closedByCollector(inner) })
	checkNotOpen(t, inner.path)
	until(t, "the lock file to be closed", func() bool { return os.Remove(inner.path) == nil }) // on Windows it fails before
}

func TestMissingPackIsCreated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "several", "levels", "deep")
	for range 2 {
		l := openReal(t, dir)
		if want := filepath.Join(dir, FileName); l.Path() != want {
			t.Errorf("got the path %q, want %q", l.Path(), want)
		}
		if info, err := os.Lstat(l.Path()); err != nil || !info.Mode().IsRegular() || info.Size() != 0 {
			t.Errorf("the lock file is %v (%v), want an empty file", info, err)
		}
		checkFree(t, l)
	}
}

func TestOpenFileCreatesNoDirectory(t *testing.T) {
	needKernel(t)
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "lock")
	_, err := OpenFile(path)
	checkPathError(t, err, "open", path, fs.ErrNotExist)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist: the directory was created", err)
	}
}

func TestInvalidPath(t *testing.T) {
	for _, path := range []string{"", "\x00", "pack\x00", filepath.Join(t.TempDir(), "\x00")} {
		_, err := Open(path)
		checkPathError(t, err, "open", path, fs.ErrInvalid)
		_, err = OpenFile(path)
		checkPathError(t, err, "open", path, fs.ErrInvalid)
	}
}

func TestFileInPlaceOfPack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "pack")} {
		for _, open := range []func() (*Lock, error){
			func() (*Lock, error) { return Open(dir) },
			func() (*Lock, error) { return OpenFile(filepath.Join(dir, FileName)) },
		} {
			_, err := open()
			var pathError *fs.PathError
			if !errors.As(err, &pathError) || !strings.HasPrefix(pathError.Path, file) {
				t.Errorf("got the error %v, want an *fs.PathError of %s or in it", err, file)
			}
		}
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "content" {
		t.Errorf("the file contains %q (%v), want it unchanged", content, err)
	}
}

func TestDirectoryInPlaceOfLockFile(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	checkPathError(t, err, "open", path, syscall.EISDIR)
}

func TestUnusualPaths(t *testing.T) {
	for _, name := range []string{
		"with space", "-n", "ünïcödé 包", "%s", "$HOME", "~", "'",
		filepath.Join(strings.Repeat("long", 40), strings.Repeat("path", 40)), // Windows has a limit of 260
	} {
		l := openReal(t, filepath.Join(t.TempDir(), name))
		h := acquireReal(t, l)
		checkExcludes(t, h)
		release(t, h)
		childHolder(t, filepath.Dir(l.Path())).finish()
	}
}
