package packlock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An acquire checks the path when the last check is older than pathCheckAge, and after a
// wait. A hand-over needs no check while the last one is recent.
func TestChecksThePath(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		checks := func(want int) {
			t.Helper()
			e.called("sameAt", want)
		}
		e.release(e.try(e.l))
		checks(1) // the first check
		e.settleCtime()
		checks(2)
		time.Sleep(pathCheckAge)
		e.release(e.try(e.l))
		checks(2)
		time.Sleep(time.Nanosecond)
		e.release(e.try(e.l))
		checks(3)
		e.release(e.try(e.l))
		checks(3)

		f := e.lockedElsewhere()
		a, b := e.acquire(e.l), e.acquire(e.l)
		f.release()
		h := a.got()
		checks(4) // after a wait
		e.release(h)
		h = b.got()
		checks(4) // a hand-over, at once
		c := e.acquire(e.l)
		time.Sleep(sliceTime - 1)
		e.release(h)
		h = c.got()
		checks(4)
		e.release(h)
	})
}

// A path check counts for all Locks of the same path, and for none of a different path.
// Hand-overs between Locks need as many checks as those of one Lock.
func TestCheckCountsForAllLocksOfThePath(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		samePath := e.open(fakePath)
		e.k.link(fakePath, otherPath)
		alias := e.open(otherPath)
		e.release(e.try(e.l))
		e.settleCtime()
		e.called("sameAt", 2)
		time.Sleep(pathCheckAge / 2)
		h := e.try(samePath)
		e.called("sameAt", 2)
		for _, row := range []struct {
			l      *Lock
			checks int
		}{{samePath, 3}, {e.l, 3}, {alias, 4}, {alias, 4}, {samePath, 4}} {
			a := e.acquire(row.l)
			e.release(h)
			h = a.got()
			e.called("sameAt", row.checks)
		}
		e.release(h)
	})
}

// An acquire that left a lost file, which another process held, checks the path of the
// next file, too.
func TestPathOfTheNextFileIsChecked(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		first := e.lockedElsewhere()
		time.Sleep(pathCheckAge + 1)
		e.k.unlink(fakePath)
		h := e.try(e.open(fakePath))
		a := e.blocking(e.l) // finds the first file lost, and queues at the second
		a.waits()
		second := e.k.foreigner(t, fakePath)
		go second.waitForLock(false)
		synctest.Wait()
		time.Sleep(pathCheckAge + 1)
		e.k.unlink(fakePath)
		e.release(h)
		e.release(a.got())
		first.close()
		second.close()
	})
}

// A path check that was recent enough when a slow try began is too old when it returns.
func TestSlowTryTrustsNoOldCheck(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.release(e.try(e.l)) // checks the path
		e.beforeNext("try", func() error {
			time.Sleep(time.Second)
			e.k.replaceDir(filepath.Dir(fakePath), filepath.Dir(otherPath))
			return nil
		})
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// A cancelled waiter gives back a lock that the kernel granted. The next waiter verifies it,
// however short the wait was.
func TestGrantThatWasGivenBackIsVerified(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		next := e.grantedAfterCancel(func(*entry) {
			e.k.rename(fakePath, otherPath) // keeps its link count
		})
		if err := next.got().Check(); err != nil {
			t.Error(err)
		}
		e.release(next.hold)
	})
}

// A Lock works inside a bubble of testing/synctest and outside of it again, though the clock
// is different there and channels must not leave the bubble. Waiters queue, and acquires
// notice that the directory was moved away.
func TestLockIsUsableInsideABubble(t *testing.T) {
	k := newFakeKernel()
	l, err := newRegistry(k).openFile(fakePath)
	if err != nil {
		t.Fatal(err)
	}
	try := func(t *testing.T) *Hold {
		t.Helper()
		h, err := l.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	release(t, try(t)) // a path check that must not be trusted
	usable := func(t *testing.T) {
		t.Helper()
		k.replaceDir(filepath.Dir(fakePath), filepath.Dir(otherPath))
		h := try(t)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { takeTurn(t.Context(), t, l) })
		for l.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		release(t, h)
		wg.Wait()
	}
	synctest.Test(t, usable)
	usable(t)
	closeLock(t, l)
}

// TryAcquire moves to the file that is at the path now, and returns ErrBusy if the lock of
// that file is held.
func TestTryOnALostLockFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		f := e.lockedElsewhere()
		checkTry(t, e.l, ErrBusy)
		f.release()
		e.release(e.try(e.l))

		e.k.unlink(fakePath)
		fresh := e.open(fakePath)
		h := e.try(fresh)
		checkTry(t, e.l, ErrBusy)
		e.release(h)
		e.release(e.try(e.l))
		if s := e.l.Stats(); s.Reopened != 2 {
			t.Errorf("%+v", s)
		}
		fresh.Close()
	})
}

// The lock file is deleted while no lock is held. The next acquire creates and locks a new
// one.
func TestLockFileDeletedWhileIdle(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	for n := range uint64(3) {
		release(t, acquireReal(t, l)) // it checks the path, and the next one trusts the check
		remove(t, l.Path())
		for _, l := range []*Lock{l, same} {
			h, err := l.TryAcquire()
			if err != nil {
				t.Fatal(err)
			}
			checkExcludes(t, h)
			release(t, h)
		}
		if stats := same.Stats(); stats.Reopened != n+1 || stats.Acquired != 3*(n+1) {
			t.Errorf("got %+v, want %d reopened and %d acquired", stats, n+1, 3*(n+1))
		}
	}
}

// The lock file is replaced while no lock is held. The next acquire locks the replacement
// and leaves its content as it is.
func TestLockFileReplacedWhileIdle(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	release(t, acquireReal(t, l))
	replacement := filepath.Join(dir, "replacement")
	if err := os.WriteFile(replacement, []byte("new"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(replacement, l.Path()); err != nil {
		t.Fatal(err)
	}
	h := acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
	if content, err := os.ReadFile(l.Path()); err != nil || string(content) != "new" {
		t.Errorf("the replacement has %q (%v), want it as it was", content, err)
	}
	if got := l.Stats().Reopened; got != 1 {
		t.Errorf("reopened %d times, want 1", got)
	}
}

// A file that was moved away still has a link, and only a path check notices the move. An
// acquire that does not wait checks the path from time to time.
func TestLockFileMovedAwayIsNoticedSoon(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	release(t, acquireReal(t, l))
	if err := os.Rename(l.Path(), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	until(t, "an acquire to check the path", func() bool {
		h := acquireReal(t, l)
		defer release(t, h)
		return h.Check() == nil
	})
	if got := l.Stats().Reopened; got != 1 {
		t.Errorf("reopened %d times, want 1", got)
	}
}

// An acquire that waited notices that the lock file was moved away meanwhile.
func TestLockFileMovedAwayDuringWaitIsNoticed(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	unlock, err := rawLock(l.Path(), true)
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	wg := queueUp(t, l, 1, func(int) {
		inTurn(ctx, t, l, func(h *Hold) { checkExcludes(t, h) })
	})
	if err := os.Rename(l.Path(), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	unlock()
	wg.Wait()
}

// The lock file is deleted while its lock is held. Check returns ErrLost, and the next
// acquire locks the new file.
func TestLockFileDeletedWhileHeld(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	remove(t, l.Path())
	checkPathError(t, h.Check(), "check", l.Path(), ErrLost)

	other := childHolder(t, dir) // holds the new file
	checkPathError(t, h.Check(), "check", l.Path(), ErrLost)
	release(t, h)
	checkBusy(t, l)
	other.finish()
	h = acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
}

// The lock file is replaced while a queue waits for the old one. All waiters go on with the
// new file, in their order.
func TestLostFileWithAQueue(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.k.foreigner(t, fakePath)
		old.lock(t)
		samePath := e.open(fakePath)
		idle := e.open(fakePath)
		line := []*acquiring{e.acquire(e.l), e.acquire(samePath), e.acquire(e.l), e.acquire(samePath)}
		e.k.unlink(fakePath)
		replaced := e.k.foreigner(t, fakePath)
		replaced.lock(t)
		old.release()
		for _, a := range line {
			a.waits()
		}
		e.stats(Stats{KernelWaits: 2, Reopened: 1, Waiting: 4, Parked: true})
		replaced.release()
		for i, a := range line {
			h := a.got()
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			if replaced.tryLock(false) {
				t.Error("the hold is of a different file")
			}
			for _, behind := range line[i+1:] {
				behind.waits()
			}
			e.release(h)
		}
		want := Stats{Acquired: 4, Contended: 4, HandedOver: 3, KernelWaits: 2, Reopened: 1}
		e.stats(want)
		for _, l := range []*Lock{samePath, idle} {
			if got := untimed(l); got != want {
				t.Errorf("%+v", got)
			}
			e.close(l)
		}
		e.descriptors(1)
	})
}

// A different Lock of this process has opened the new file already, and a goroutine waits
// there. The waiters of the lost file queue behind it.
func TestQueueOfALostFileJoinsTheNewFilesQueue(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a, b := e.acquire(e.l), e.acquire(e.l)
		e.k.unlink(fakePath)
		fresh := e.open(fakePath)
		freshHold := e.try(fresh)
		c := e.acquire(fresh)
		time.Sleep(time.Second)
		e.release(h)
		for _, waiting := range []*acquiring{a, b, c} {
			waiting.waits()
		}
		e.release(freshHold)
		for _, next := range []*acquiring{c, a, b} {
			e.release(next.got())
		}
		if got, want := fresh.Stats(), e.l.Stats(); got != want || got.Reopened != 1 || got.Acquired != 5 {
			t.Errorf("%+v and %+v", got, want)
		}
		fresh.Close()
	})
}

// The lock file is deleted while goroutines of two Locks queue behind another process. They
// move to the new file and keep their order.
func TestLockFileDeletedWhileOthersQueue(t *testing.T) {
	skipUndeletable(t)
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	old := childHolder(t, dir)
	ctx := bounded(t)
	var order []int // guarded by the lock
	const n = 20
	wg := queueUp(t, l, n, func(i int) {
		inTurn(ctx, t, []*Lock{l, same}[i%2], func(h *Hold) {
			checkExcludes(t, h)
			order = append(order, i)
		})
	})
	// The new file is locked before it takes the place of the old one, or the queue might
	// move on and acquire it first.
	aside := filepath.Join(dir, "aside")
	other := childHolder(t, aside)
	if err := os.Rename(filepath.Join(aside, FileName), l.Path()); err != nil {
		t.Fatal(err)
	}

	old.finish()
	until(t, "the queue to move on to the new file", func() bool {
		stats := l.Stats()
		return stats.Reopened == 1 && stats.Parked && stats.Waiting == n
	})
	if stats := same.Stats(); stats.Acquired != 0 || stats.KernelWaits != 2 {
		t.Errorf("got %+v, want no acquire to succeed before the new file is free", stats)
	}
	other.finish()
	wg.Wait()
	if len(order) != n || !slices.IsSorted(order) {
		t.Errorf("%d goroutines queued and acquired the lock in the order %v", n, order)
	}
	if stats := same.Stats(); stats.Reopened != 1 || stats.Acquired != n {
		t.Errorf("got %+v, want 1 reopened and %d acquired", stats, n)
	}
}

// A file with two names loses one. Locks and waiters of the other name stay.
func TestFileLostByOneOfTwoNames(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		h := e.try(e.l)
		checkTry(t, other, ErrReentrant)
		line := []*acquiring{e.acquire(e.l), e.acquire(other), e.acquire(e.l), e.acquire(other)}
		e.k.unlink(fakePath)
		time.Sleep(time.Second)
		e.release(h)
		// Both files are locked now, each by the first waiter of its name.
		first, second := line[0].got(), line[1].got()
		line[2].waits()
		line[3].waits()
		for _, h := range []*Hold{first, second} {
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			e.release(h)
		}
		e.release(line[2].got())
		e.release(line[3].got())
		if s := other.Stats(); s.Reopened != 0 {
			t.Errorf("%+v", s)
		}
		if s := e.l.Stats(); s.Reopened != 1 {
			t.Errorf("%+v", s)
		}
		other.Close()
	})
}

// The file is renamed away and back during the check. It is not lost.
func TestLostFileThatComesBack(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		time.Sleep(time.Second)
		e.k.rename(fakePath, otherPath)
		e.beforeNext("open", func() error {
			e.k.rename(otherPath, fakePath)
			return nil
		})
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1})
	})
}

// The lock works on a file system without link counts. If a file system gives a file a new
// identity each time, the acquire returns ErrLost in the end.
func TestUnusualFileSystems(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.files[fakePath].links = 0
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1})
		e.before("sameAt", func() error {
			e.k.replace(fakePath)
			e.k.mu.Lock()
			e.k.files[fakePath].links = 0
			e.k.mu.Unlock()
			return nil
		})
		e.k.files[fakePath].links = 0
		time.Sleep(time.Second)
		checkTry(t, e.l, ErrLost)
	})
}

// The directory is deleted under a hold. The hold's Check returns ErrLost, and all acquires
// fail with fs.ErrNotExist.
func TestLostFileWhoseDirectoryIsMissing(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		line := []*acquiring{e.acquire(e.l), e.acquire(e.l)}
		e.k.removeDir(filepath.Dir(fakePath))
		time.Sleep(time.Second)
		if err := h.Check(); !errors.Is(err, ErrLost) {
			t.Errorf("Check: %v", err)
		}
		e.release(h)
		for _, a := range line {
			a.failed(fs.ErrNotExist)
		}
		for range 2 {
			checkTry(t, e.l, fs.ErrNotExist)
		}
	})
}

// When the directory is deleted, acquires fail with fs.ErrNotExist and do not create it.
// When it is back, the lock works again.
func TestMissingDirectory(t *testing.T) {
	skipUndeletable(t)
	dir := filepath.Join(t.TempDir(), "pack")
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	wg := queueUpToFail(ctx, t, l, 10, fs.ErrNotExist)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	elsewhere.finish()
	wg.Wait()
	for _, by := range acquirers {
		_, err := by.acquire(ctx, l)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrNotExist)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the directory not to be there", err)
	}

	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	h := acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
}

// Acquires and releases leave the content and the modification time of the lock file as
// they were.
func TestLockFileIsNeverWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	const content = "a user's notes"
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	wg := queueUp(t, l, 10, func(int) { takeTurn(ctx, t, l) })
	elsewhere.finish()
	wg.Wait()
	for _, by := range acquirers {
		h, err := by.acquire(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		release(t, h)
	}
	closeLock(t, l)
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("the lock file has %q (%v), want %q", got, err, content)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("the lock file is %v (%v), want it modified at %v", info, err, old)
	}
}

// loseFile deletes the lock file. It returns a Lock on the file that took its place, with a
// hold of it that belongs to no goroutine.
func (e *engine) loseFile() (fresh *Lock, h *Hold) {
	e.Helper()
	e.k.unlink(fakePath)
	fresh = e.open(fakePath)
	h = e.try(fresh)
	h.Detach()
	return fresh, h
}

// acquireUnder starts an Acquire with a context that runs under h.
func (e *engine) acquireUnder(h *Hold) *acquiring {
	return e.start(func(ctx context.Context) (*Hold, error) { return e.l.Acquire(h.Context(ctx)) })
}

// An acquire by a lost lock file whose context runs under a hold of the new file would wait
// for itself, and fails with ErrReentrant. It did not wait before, and its goroutine does
// not own the hold.
func TestReentryByContextOnALostLockFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		fresh, h := e.loseFile()
		e.acquireUnder(h).failed(ErrReentrant)
		e.release(h)
		closeLock(e, fresh)
	})
}

// A waiter of the lost file may be queued behind the waiter that notices the loss. It fails
// with ErrReentrant, too, if its context runs under a hold of the new file.
func TestReentryByContextOfAWaiterOnALostLockFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.try(e.l)
		first := e.acquire(e.l)
		fresh, h := e.loseFile()
		second := e.acquireUnder(h)
		second.waits()
		time.Sleep(sliceTime) // so that the next waiter checks the path
		e.release(old)
		second.failed(ErrReentrant)
		first.waits()
		e.release(h)
		e.release(first.got())
		closeLock(e, fresh)
	})
}

// A waiter struct is reused by later acquires. The holds that an earlier acquire ran under
// have no effect on a later one.
func TestWaiterForgetsTheContextOfAnEarlierAcquire(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.try(e.l)
		first := e.acquire(e.l)
		fresh, h := e.loseFile()
		e.reg.waiters.New = func() any { return &waiter{marks: &mark{hold: h}} }
		second := e.acquire(e.l)
		time.Sleep(sliceTime) // so that the next waiter checks the path
		e.release(old)
		first.waits()
		second.waits()
		e.release(h)
		e.release(first.got())
		e.release(second.got())
		closeLock(e, fresh)
	})
}

// The counts of a lost file move with the last Locks that leave it. Locks of a different
// name that stay keep the counts.
func TestCountsStayWithTheOtherName(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		e.release(e.try(other))
		e.release(e.try(other))
		e.k.unlink(fakePath)
		e.k.createLocked(fakePath)
		e.l.location.Load().passed(now() - int64(pathCheckAge) - 1)
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, Reopened: 1})
		if got, want := other.Stats(), (Stats{Acquired: 2}); got != want {
			t.Errorf("the other name: %+v, want %+v", got, want)
		}
		closeLock(e, other)
	})
}

// A file that fails to unlock is replaced, like a lost one. It was not lost and is not
// counted as lost.
func TestFileThatFailsToUnlockIsNotCountedAsLost(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.failNext("unlock", errBroken)
		if err := h.Release(); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		e.works()
		e.stats(Stats{Acquired: 2})
	})
}

// A goroutine waits for the mutex of a Lock's entry while the Lock moves to a different
// entry. It then locks the mutex of the new entry.
func TestEntryIsLoadedAgainAfterTheWaitForItsMutex(t *testing.T) {
	reg := newRegistry(newFakeKernel())
	l, err := reg.openFile(fakePath)
	if err != nil {
		t.Fatal(err)
	}
	other, err := reg.openFile(otherPath)
	if err != nil {
		t.Fatal(err)
	}
	from, to := l.location.Load(), other.location.Load()
	got := make(chan *entry)
	from.entry.mu.Lock()
	go func() {
		e := l.lockEntry()
		e.mu.Unlock()
		got <- e
	}()
	until(t, "a goroutine to wait for the mutex", func() bool {
		return slices.ContainsFunc(stacks(), func(s string) bool {
			return strings.Contains(s, "[sync.Mutex.Lock]:") && strings.Contains(s, ").lockEntry(")
		})
	})
	l.location.Store(to)
	from.entry.mu.Unlock()
	if <-got != to.entry {
		t.Error("got the entry that the Lock has left")
	}
	l.location.Store(from)
	closeLock(t, l)
	closeLock(t, other)
}

// stacks returns the stack trace of every goroutine.
func stacks() []string {
	buf := make([]byte, 1<<20)
	return strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
}

// One of two Locks of a path is closed while its acquire opens the path again. The other
// Lock moves, and the acquire fails without waiting for the file that is there.
func TestCloseOfOneOfTwoWhileReopening(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(fakePath)
		e.k.replace(fakePath)
		fresh := e.open(fakePath)
		h := e.try(fresh)
		goOn := e.holdUp("open")
		a := e.acquire(e.l)
		e.close(e.l)
		goOn()
		a.failed(fs.ErrClosed)
		e.release(h)
		e.release(e.try(other))
	})
}

// Opening a file that was renamed away and back counts as a check: none is made after it.
func TestFileThatComesBackIsCheckedOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		tries := func(what string) {
			t.Helper()
			time.Sleep(pathCheckAge + 1)
			e.k.rename(fakePath, otherPath)
			e.beforeNext("open", func() error {
				e.k.rename(otherPath, fakePath)
				return nil
			})
			before := e.k.called("sameAt")
			checkTry(t, e.l, ErrBusy)
			if n := e.k.called("sameAt") - before; n != 1 {
				t.Errorf("%s: %d checks, want 1", what, n)
			}
		}
		tries("with the turn")
		e.acquire(e.l).givesUp()
		tries("without the turn")
		f.release()
		synctest.Wait()
	})
}

// A check opens the path and is late: an acquire has moved the Locks of the path meanwhile,
// and those of a different path are still there. Nothing is moved twice.
func TestLateCheckMovesNothingTwice(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp() // a thread is parked
		time.Sleep(pathCheckAge + 1)
		e.k.replace(fakePath)
		late := make(chan struct{})
		e.beforeNext("open", func() error {
			<-late
			return nil
		})
		a := e.acquire(e.l)
		a.waits()
		f.release() // the parked thread gets the lock for a, which moves
		h := a.got()
		close(late)
		synctest.Wait()
		checkTry(t, e.l, ErrBusy)
		e.release(h)
		e.release(e.try(other))
		e.stats(Stats{Acquired: 1, Contended: 1, Reopened: 1})
	})
}

// A file system gives a file a different identity each time: that ends after maxMoves.
func TestMovesInARowAreBounded(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.before("sameAt", func() error {
			e.k.replace(fakePath)
			return nil
		})
		time.Sleep(pathCheckAge + 1)
		checkTry(t, e.l, ErrLost)
		e.called("open", 1+maxMoves)
		e.works()
	})
}

// An acquire that finds the directory gone turns away those that waited then, and none that
// came later: the directory may be back.
func TestLateWaiterIsNotTurnedAway(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		time.Sleep(pathCheckAge + 1)
		resume := make(chan struct{})
		e.beforeNext("open", func() error { <-resume; return fs.ErrNotExist })
		a := e.acquire(e.l)
		time.Sleep(time.Nanosecond)
		w := e.acquire(e.l)
		close(resume)
		a.failed(fs.ErrNotExist)
		e.release(w.got())
	})
}
