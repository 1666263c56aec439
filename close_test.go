package packlock

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/synctest"
)

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

		again := e.open(fakePath) // finds the parked wait
		next := e.acquire(again)
		if s := again.Stats(); s.KernelWaits != 1 || s.Adopted != 1 {
			t.Errorf("%+v", s)
		}
		next.givesUp()
		e.close(again)
		f.letGo() // the thread drains, and closes the file behind itself
		synctest.Wait()
		e.descriptors(0)
		f.lock(t)
		f.letGo()
	})
}

func TestCloseLeavesParkedThreadItsDescriptor(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	turnedAway := queueUpInVain(ctx, t, l, 1, fs.ErrClosed)
	until(t, "the thread to park", func() bool { return l.Stats().Parked })
	closeLock(t, l)
	turnedAway.Wait()

	// Whoever opens the sidecar now comes to the same parked thread.
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

func TestCloseWakesItsWaiters(t *testing.T) {
	dir := t.TempDir()
	l, other := openReal(t, dir), openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	turnedAway := queueUpInVain(ctx, t, l, 10, fs.ErrClosed)
	stays := queueUp(t, other, 1, func(int) { takeTurn(ctx, t, other) })
	closeLock(t, l)
	turnedAway.Wait() // although nobody has let go
	elsewhere.finish()
	stays.Wait()
}

// Close comes while an acquire is asking the kernel, before it is queued.
func TestCloseWhileTrying(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		goOn := e.holdUp("try")
		a := e.acquire(e.l)
		e.close(e.l)
		goOn()
		a.failed(fs.ErrClosed)
		e.called("block", 0)
		f.letGo()
	})
}

// So is one that was the next in the queue and is asking for itself.
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
	until(t, "the sidecar to be closed", func() bool { return os.Remove(inner.path) == nil }) // as it must be on Windows
}
