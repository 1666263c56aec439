package packlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// orphanedBehindReaders returns another process that has the lock shared, with an orphaned
// exclusive wait behind it.
func (e *engine) orphanedBehindReaders() foreigner {
	e.Helper()
	f := e.k.foreigner(e, fakePath)
	f.lockShared(e)
	e.acquire(e.l).givesUp()
	if s := e.l.Stats(); !s.Parked || !s.Draining {
		e.Fatalf("no orphaned wait: %+v", s)
	}
	return f
}

// An orphaned wait of this process may get the lock during an upgrade, which then keeps the hold.
// The next one succeeds.
func TestUpgradeBesideAnOrphanedWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		h := e.shared(e.l).got()
		f.release()
		if ok, err := h.upgrade(); ok || err != nil || !h.Shared() {
			t.Errorf("%v, %v, shared %v", ok, err, h.Shared())
		}
		if ok, err := h.upgrade(); !ok || err != nil {
			t.Errorf("once more: %v, %v", ok, err)
		}
		e.release(h)
		if err := e.l.WaitDrained(context.Background()); err != nil {
			t.Error(err)
		}
		e.release(e.try(e.l))
	})
}

// While a shared try waits for a second descriptor, which cannot be opened, an exclusive
// acquire queues behind it. Then the orphaned wait is its own.
func TestOrphanIsAdoptedFromBehindARefusedTry(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		drained := e.drain(e.l)
		resume := make(chan struct{})
		e.beforeNext("open", func() error { <-resume; return errBroken })
		try := e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() })
		w := e.acquire(e.l)
		drained.waits()
		close(resume)
		try.failed(ErrBusy)
		drained.succeeds()
		w.waits()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Adopted: 1, Waiting: 1, Parked: true})
		f.release()
		e.release(w.got())
	})
}

// While only readers have the lock, an orphaned exclusive wait does not hold up shared
// acquires of this process, by a second descriptor.
func TestOrphanDoesNotHoldUpReaders(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		e.descriptors(1)
		a := e.shared(e.l).got()
		e.descriptors(2)
		e.stats(Stats{Acquired: 1, Contended: 1, KernelWaits: 1, Cancelled: 1, SharedHolds: 1, Parked: true, Draining: true})
		drained := e.drain(e.l)
		f.release()
		drained.waits() // the orphaned wait is behind our own hold
		e.release(a)
		drained.succeeds()
		e.release(e.try(e.l))
		e.release(e.shared(e.l).got())
		e.stats(Stats{Acquired: 3, Contended: 1, KernelWaits: 1, Cancelled: 1, Drained: 1})
		e.descriptors(2) // kept for the next one
	})
}

// TryAcquireShared goes past an orphaned exclusive wait, too. If it cannot, it fails.
func TestTryAcquireSharedGoesPastAnOrphan(t *testing.T) {
	for _, broken := range []bool{false, true} {
		onFake(t, func(t *testing.T, e *engine) {
			f := e.orphanedBehindReaders()
			if broken {
				e.fail("open", errBroken)
			}
			h, err := e.l.TryAcquireShared()
			e.k.setHook(nil)
			switch {
			case broken:
				if !errors.Is(err, ErrBusy) {
					t.Errorf("%v, want ErrBusy", err)
				}
			case err != nil:
				t.Fatal(err)
			default:
				e.release(h)
			}
			w := e.acquire(e.l)
			if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
				t.Errorf("%v, want ErrBusy behind a writer", err)
			}
			f.release()
			e.release(w.got())
		})
	}
}

// A writer behind a shared try that cannot go past an orphaned wait announces itself when the
// try has failed.
func TestWriterBehindARefusedTryAnnouncesItself(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		resume := make(chan struct{})
		e.beforeNext("open", func() error { <-resume; return errBroken })
		try := e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() })
		try.waits()
		w := e.acquire(e.l)
		e.announced(0)
		close(resume)
		try.failed(ErrBusy)
		e.announced(1)
		f.release()
		e.release(w.got())
	})
}

// Shared waiters behind an exclusive one go past its wait when it gives up.
func TestReadersGoPastTheWaitOfAWriterThatGivesUp(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lockShared(t)
		w := e.acquire(e.l)
		readers := []*acquiring{e.shared(e.l), e.shared(e.l)}
		readers[0].waits()
		w.givesUp()
		for _, r := range readers {
			e.release(r.got())
		}
		f.release()
		e.release(e.start(e.l.Acquire).got())
	})
}

// The next exclusive acquire that waits in the kernel adopts the wait that was left behind.
// There are never more than two threads and two descriptors.
func TestOrphanThatWasLeftBehindIsAdopted(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		for i := range 5 {
			e.release(e.shared(e.l).got())
			w := e.acquire(e.l)
			w.waits()
			if s := e.l.Stats(); !s.Parked || s.Draining || s.Adopted != uint64(i+1) || s.KernelWaits != 1 {
				t.Fatalf("%+v", s)
			}
			w.givesUp()
			e.descriptors(2)
			if n := e.reg.threads.n.Load(); n != 1 {
				t.Fatalf("%d threads", n)
			}
		}
		w := e.acquire(e.l)
		f.release()
		e.release(w.got())
		e.release(e.try(e.l))
	})
}

// A shared and an exclusive wait that are orphaned are two threads, and WaitDrained waits
// for both.
func TestOrphansOfBothKinds(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		e.acquire(e.l).givesUp()
		e.shared(e.l).givesUp()
		if n := e.reg.threads.n.Load(); n != 2 {
			t.Errorf("%d threads, want 2", n)
		}
		for range 3 {
			e.acquire(e.l).givesUp()
			e.shared(e.l).givesUp()
		}
		if n := e.reg.threads.n.Load(); n != 2 {
			t.Errorf("%d threads, want 2", n)
		}
		e.descriptors(2)
		drained := e.drain(e.l)
		drained.waits()
		f.release()
		drained.succeeds()
		e.release(e.try(e.l))
	})
}

// Where no second descriptor can be opened, shared waiters wait for the orphaned wait to
// drain, and the watch tries again.
func TestOrphanWithoutASecondDescriptor(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		e.fail("open", errBroken)
		a := e.shared(e.l)
		a.waits()
		e.k.setHook(nil)
		a.waits()
		time.Sleep(watchInterval + 1)
		e.release(a.got())
		f.release()
	})
}

// The file may have been replaced when the second descriptor is opened. The shared waiter
// moves to the new one.
func TestOrphanOfALostFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		e.k.replace(fakePath)
		a := e.shared(e.l)
		time.Sleep(2 * watchInterval)
		e.release(a.got())
		e.descriptors(2)
		f.release()
		synctest.Wait()
		e.descriptors(1)
	})
}

// The file of an entry with an orphaned wait that was left behind stays open until it has
// drained, also after Close.
func TestCloseWithAnOrphanThatWasLeftBehind(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		a := e.shared(e.l).got()
		e.close(e.l)
		e.release(a)
		synctest.Wait()
		l := e.open(fakePath)
		if s := l.Stats(); !s.Draining || s.KernelWaits != 1 {
			t.Errorf("the reopened Lock does not know of the orphaned wait: %+v", s)
		}
		e.close(l)
		f.release()
		synctest.Wait()
		e.descriptors(0)
	})
}

// An orphaned wait that was left behind, and cannot unlock the file, has it closed: when no
// call uses it any more. The Lock goes on with the second descriptor.
func TestOrphanThatCannotUnlock(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			goOn := func() {}
			check := &acquiring{}
			if pinned { // a Check of an earlier hold still uses the descriptor
				goOn = e.holdUp("serverStillGrants")
				check = e.start(func(context.Context) (*Hold, error) { return nil, h.Check() })
				e.k.setHook(nil)
			}
			e.release(h)
			f := e.orphanedBehindReaders()
			e.release(e.shared(e.l).got())
			e.fail("unlock", errBroken)
			f.release()
			synctest.Wait()
			e.k.setHook(nil)
			if pinned {
				e.descriptors(2)
				goOn()
				check.returns()
			}
			e.descriptors(1)
			e.release(e.try(e.l))
		})
	}
}

// A wait that was left behind may end with an error. It concerns no waiter.
func TestOrphanThatWasLeftBehindFails(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		a := e.shared(e.l).got()
		e.failNext("blocked", errBroken)
		e.release(a)
		f.release()
		drained := e.drain(e.l)
		drained.succeeds()
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 2, Contended: 1, KernelWaits: 1, Cancelled: 1})
		e.descriptors(1)
	})
}

// An orphaned shared wait that an exclusive acquire finds is granted and released first.
func TestWriterAfterAnOrphanedSharedWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.shared(e.l).givesUp()
		w := e.acquire(e.l)
		w.waits()
		f.release()
		e.release(w.got())
		e.works()
		f.lock(t)
		e.shared(e.l).givesUp()
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		f.release()
	})
}

// What FuzzEngine found in shared holds.

// An acquire that has left the group of a lost file has nothing to give back when its context
// panics then.
func TestPanicAfterLeavingALostGroup(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		e.k.replace(fakePath)
		l := e.open(fakePath)
		held := e.acquire(l).got()
		time.Sleep(handOverCheckAge + 1)
		ctx := &brokenContext{Context: t.Context(), method: "Value", misbehave: func() { panic("broken") }}
		if panicOf(func() { e.l.AcquireShared(ctx) }) == nil {
			t.Fatal("no panic")
		}
		if ok, _ := h.entry.active.serverStillGrants(); !ok {
			t.Error("the old group has lost its lock")
		}
		e.release(h)
		e.release(held)
		e.works()
	})
}

// Each acquire that waits for an orphaned wait, and does not go past it, adopts it, whichever
// its kind: WaitDrained ends.
func TestOrphanIsAdoptedByBothKinds(t *testing.T) {
	for _, shared := range []bool{false, true} {
		onFake(t, func(t *testing.T, e *engine) {
			f := e.lockedElsewhere()
			first := e.l.AcquireShared
			if shared {
				first = e.l.Acquire
				e.fail("open", errBroken) // it cannot go past
			}
			e.start(first).givesUp()
			drained := e.drain(e.l)
			next := e.shared
			if !shared {
				next = e.acquire
			}
			a := next(e.l)
			if shared {
				drained.waits() // it may go past yet
			} else {
				drained.succeeds()
			}
			f.release()
			e.release(a.got())
			drained.succeeds()
			if s := e.l.Stats(); s.Adopted != 1 || s.Drained != 0 || s.KernelWaits != 1 {
				t.Errorf("%+v", s)
			}
			e.works()
		})
	}
}

// An orphaned exclusive wait, which a shared waiter is about to go past, is adopted when that
// gives up in front of an exclusive one.
func TestOrphanIsAdoptedWhenTheReaderInFrontGivesUp(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		e.fail("open", errBroken)
		drained := e.drain(e.l)
		a := e.shared(e.l)
		w := e.acquire(e.l)
		drained.waits()
		a.givesUp()
		drained.succeeds()
		w.waits()
		f.release()
		e.release(w.got())
		e.works()
	})
}

// A Check of a hold that is released meanwhile does not report it lost.
func TestCheckOfAHoldThatIsReleasedMeanwhile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		goOn := e.holdUp("serverStillGrants")
		check := e.start(func(context.Context) (*Hold, error) { return nil, h.Check() })
		e.release(h)
		goOn()
		check.failed(ErrReleased)
	})
}

// A thread that was left behind, and has been granted the lock, is about to release it. An
// exclusive acquire that comes then starts a thread of its own.
func TestOrphanThatUnlocksIsNotAdopted(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.orphanedBehindReaders()
		e.release(e.shared(e.l).got())
		goOn := e.holdUp("unlock")
		f.release()
		synctest.Wait()
		w := e.acquire(e.l)
		w.waits()
		e.k.setHook(nil)
		goOn()
		e.release(w.got())
		e.stats(Stats{Acquired: 2, Contended: 2, KernelWaits: 2, Cancelled: 1, Drained: 1})
	})
}
