package packlock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/synctest"
)

func TestCloseWhileParked(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		other := e.open(fakePath)
		mine, theirs := e.acquire(e.l), e.acquire(other)
		if err := e.l.Close(); err != nil {
			t.Fatal(err)
		}
		mine.failed(fs.ErrClosed)
		theirs.waits()
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		theirs.failed(fs.ErrClosed)
		if n := e.k.descriptors(); n != 1 {
			t.Errorf("%d descriptors while the thread is parked, want its own", n)
		}

		again := e.open(fakePath) // finds the parked wait
		next := e.acquire(again)
		if s := again.Stats(); s.KernelWaits != 1 || s.Adopted != 1 {
			t.Errorf("%+v", s)
		}
		next.cancel()
		next.returns()
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		f.letGo() // the thread drains, and closes the file behind itself
		synctest.Wait()
		if n := e.k.descriptors(); n != 0 {
			t.Errorf("%d descriptors after the drain", n)
		}
		f.lock(t)
		f.letGo()
	})
}

func TestCloseLeavesParkedThreadItsDescriptor(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	turnedAway := queueUp(t, l, 1, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	})
	until(t, "the thread to park", func() bool { return l.Stats().Parked })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	turnedAway.Wait()

	// Whoever opens the sidecar now comes to the same parked thread.
	again := openReal(t, dir)
	if stats := again.Stats(); !stats.Parked || !stats.Draining {
		t.Errorf("got %+v, want the thread still parked", stats)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
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
	turnedAway := queueUp(t, l, 10, func(int) {
		_, err := l.Acquire(ctx)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	})
	stays := queueUp(t, other, 1, func(int) { takeTurn(ctx, t, other) })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	turnedAway.Wait() // although nobody has let go
	elsewhere.finish()
	stays.Wait()
}

// Close comes while an acquire is asking the kernel, before it is queued.
func TestCloseWhileTrying(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		answer := make(chan struct{})
		e.k.setHook(func(call, _ string) error {
			if call == "try" {
				<-answer
			}
			return nil
		})
		a := e.acquire(e.l)
		if err := e.l.Close(); err != nil {
			t.Fatal(err)
		}
		close(answer)
		a.failed(fs.ErrClosed)
		if n := e.k.called("block"); n != 0 {
			t.Error("parked for a closed Lock")
		}
		f.letGo()
	})
}

// So is one that was the next in the queue and is asking for itself.
func TestCloseWhileTheNextTries(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(fakePath)
		h := e.try(other)
		a := e.acquire(e.l)
		answer := make(chan struct{})
		e.k.setHook(func(call, _ string) error {
			if call == "try" {
				<-answer
			}
			return nil
		})
		h.entry.fair.handOvers = sliceHandOvers
		e.release(h)
		synctest.Wait()
		if err := e.l.Close(); err != nil {
			t.Fatal(err)
		}
		close(answer)
		a.failed(fs.ErrClosed)
		e.release(e.try(other))
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWhileReopening(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		reopen := make(chan struct{})
		e.k.setHook(func(call, _ string) error {
			if call == "open" {
				<-reopen
			}
			return nil
		})
		a := e.acquire(e.l)
		b := e.acquire(e.l)
		if err := e.l.Close(); err != nil {
			t.Fatal(err)
		}
		b.failed(fs.ErrClosed)
		close(reopen)
		a.failed(fs.ErrClosed)
	})
}

func TestCloseLeavesHoldsValid(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		if err := e.l.Close(); err != nil {
			t.Fatal(err)
		}
		again := e.open(fakePath)
		if _, err := again.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("a hold did not survive Close: %v", err)
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
		e.release(e.try(again))
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			again.Close(),
			again.WaitDrained(t.Context()),
			func() error { _, err := again.Acquire(t.Context()); return err }(),
			func() error { _, err := again.TryAcquire(); return err }(),
			func() error { _, err := again.AcquireBlocking(); return err }(),
			again.Do(t.Context(), func(context.Context) error { t.Error("Do ran"); return nil }),
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
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkExcludes(t, h)
	other := openReal(t, dir)
	if _, err := other.TryAcquire(); !errors.Is(err, ErrReentrant) {
		t.Errorf("got %v, want %v", err, ErrReentrant)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	waiter := childWaiter(t, dir)
	release(t, h)
	waiter.expect("locked")
	checkNotOpen(t, l.Path())
	waiter.finish()
}

func TestClosedLockRefuses(t *testing.T) {
	l := openReal(t, t.TempDir())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkPathError(t, l.Close(), "close", l.Path(), fs.ErrClosed)
	for _, by := range acquirers {
		_, err := by.acquire(bounded(t), l)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
	}
	err := l.Do(bounded(t), func(context.Context) error {
		t.Error("Do called its function")
		return nil
	})
	checkPathError(t, err, "acquire", l.Path(), fs.ErrClosed)
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
