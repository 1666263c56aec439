package packlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestCancelOfTheLastWaiterDrainsLater(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Parked: true, Draining: true})
		checkBusy(t, e.l)
		drained := e.drain(e.l)
		drained.waits()
		f.letGo()
		drained.succeeds()
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, KernelWaits: 1, Cancelled: 1, Drained: 1})
		if err := e.l.WaitDrained(t.Context()); err != nil {
			t.Errorf("WaitDrained with nothing to wait for: %v", err)
		}
	})
}

func TestTenThousandCancelledLeaveOneParked(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		for range 10_000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := e.l.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrCancelled) {
				t.Fatal(err)
			}
			cancel()
		}
		e.stats(Stats{KernelWaits: 1, Cancelled: 10_000, Adopted: 9_999, Parked: true, Draining: true})
		e.descriptors(1)
		f.letGo()
	})
}

func TestCancelledAcquiresLeaveOneThread(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	all := func(string) bool { return true }
	threadsBefore, filesBefore := threads(), openFiles(all)

	const together = 100
	times := scaled(100)
	for range times {
		ctx, cancel := context.WithCancel(context.Background())
		wg := queueUpInVain(ctx, t, l, together, ErrCancelled, context.Canceled)
		cancel()
		wg.Wait() // although nobody has let go
	}

	cancelled := uint64(together * times)
	stats := l.Stats()
	if !stats.Parked || !stats.Draining || stats.Waiting != 0 {
		t.Errorf("got %+v, want a parked thread and nobody waiting", stats)
	}
	if stats.Cancelled != cancelled || stats.KernelWaits != 1 || stats.Adopted != uint64(times-1) {
		t.Errorf("got %+v, want %d cancelled, 1 wait in the kernel, adopted %d times", stats, cancelled, times-1)
	}
	if now := threads(); now > threadsBefore+12 {
		t.Errorf("%d threads before, %d after %d cancelled acquires", threadsBefore, now, cancelled)
	}
	if now := openFiles(all); now > filesBefore {
		t.Errorf("%d open files before, %d after %d cancelled acquires", filesBefore, now, cancelled)
	}
	checkBusy(t, l)

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	checkPathError(t, l.WaitDrained(ended), "drain", l.Path(), ErrCancelled, context.Canceled)

	elsewhere.finish()
	if err := l.WaitDrained(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if stats := l.Stats(); stats.Parked || stats.Draining || stats.Drained != 1 || stats.Acquired != 0 {
		t.Errorf("got %+v, want it drained", stats)
	}
	checkFree(t, l)
	h, err := l.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	release(t, h)
}

func TestWaitDrainedEndsWithItsContextOrByAdoption(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()

		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := e.l.WaitDrained(ctx); !errors.Is(err, ErrCancelled) || !errors.Is(err, cause) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}

		drained := e.drain(e.l)
		second := e.acquire(e.l) // adopts
		drained.succeeds()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Adopted: 1, Waiting: 1, Parked: true})
		f.letGo()
		e.release(second.got())
		e.stats(Stats{Acquired: 1, Contended: 1, KernelWaits: 1, Cancelled: 1, Adopted: 1})
	})
}

func TestOrphanedWaitIsAdopted(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	wg := queueUpInVain(ctx, t, l, 1, ErrCancelled)
	until(t, "the thread to park", func() bool { return l.Stats().Parked })
	cancel()
	wg.Wait()
	if stats := l.Stats(); !stats.Draining {
		t.Errorf("got %+v, want a parked thread and nobody waiting", stats)
	}

	ctx = bounded(t)
	drained := make(chan error)
	go func() { drained <- l.WaitDrained(ctx) }()
	until(t, "WaitDrained to wait", func() bool {
		e := l.lockEntry()
		defer e.mu.Unlock()
		return e.drained != nil
	})
	wg = queueUp(t, l, 1, func(int) { takeTurn(ctx, t, l) })
	if err := <-drained; err != nil { // although the lock is still held elsewhere
		t.Error(err)
	}
	if stats := l.Stats(); !stats.Parked || stats.Draining {
		t.Errorf("got %+v, want a parked thread and somebody waiting", stats)
	}
	elsewhere.finish()
	wg.Wait()
	stats := l.Stats()
	if stats.Adopted != 1 || stats.KernelWaits != 1 || stats.Drained != 0 || stats.Acquired != 1 || stats.Contended != 1 {
		t.Errorf("got %+v, want the one wait in the kernel adopted and then granted", stats)
	}
}

// While the drained thread is unlocking, others come: those who try are told
// busy, those who queue are served when it has unlocked.
func TestArrivalsWhileDraining(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		goOn := e.holdUp("unlock")
		f.letGo()
		synctest.Wait()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Parked: true, Draining: true})
		checkTry(t, e.l, ErrBusy)
		drained := e.drain(e.l)
		next := e.acquire(e.l)
		next.waits()
		drained.waits()
		goOn()
		e.release(next.got())
		drained.succeeds()
		e.stats(Stats{Acquired: 1, Contended: 1, KernelWaits: 1, Cancelled: 1, Drained: 1})
	})
}

// The parked thread gets an error when nobody waits for it any more.
func TestKernelErrorWhileDraining(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		e.fail("blocked", errBroken)
		drained := e.drain(e.l)
		f.letGo()
		drained.succeeds()
		e.k.setHook(nil)
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, KernelWaits: 1, Cancelled: 1})
	})
}
