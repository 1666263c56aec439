package packlock

import (
	"context"
	"testing"
	"time"
)

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
