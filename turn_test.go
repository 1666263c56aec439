package packlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// lookedAt is a context that calls when an acquire looks for the holds that it
// runs under.
type lookedAt struct {
	context.Context
	call func()
}

func (c lookedAt) Value(key any) any {
	if _, ok := key.(markKey); ok {
		c.call()
	}
	return c.Context.Value(key)
}

// The turn was not free at the first look, and becomes so before the second,
// under which an acquire queues up: nobody would wake it.
func TestTurnThatBecomesFreeBetweenTheLooks(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a := e.start(func(ctx context.Context) (*Hold, error) {
			return e.l.Acquire(lookedAt{ctx, func() { e.release(h) }})
		})
		e.release(a.got())
		e.stats(Stats{Acquired: 2})
	})
}

// A hold has ended when its release begins, however long the kernel takes over
// that.
func TestHoldEndsBeforeTheUnlock(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		unlock := e.holdUp("unlock")
		released := e.start(func(context.Context) (*Hold, error) { return nil, h.Release() })
		released.waits()
		if err := h.Check(); !errors.Is(err, ErrReleased) {
			t.Errorf("Check: %v", err)
		}
		if err := h.Release(); !errors.Is(err, ErrReleased) {
			t.Errorf("Release: %v", err)
		}
		if _, err := h.Dup(); !errors.Is(err, ErrReleased) {
			t.Errorf("Dup: %v", err)
		}
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) {
			t.Errorf("TryAcquire: %v, want ErrBusy only", err)
		}
		unlock()
		released.succeeds()
	})
}

// To detach a hold that was released does nothing to the one that is live.
func TestDetachOfAReleasedHold(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.try(e.l)
		e.release(old)
		h := e.try(e.l)
		old.Detach()
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("%v, want ErrReentrant", err)
		}
		e.release(h)
	})
}

// A poller that gets the lock when everybody has given up lets it go. That is no
// parked thread, and no drain.
func TestPollerThatComesTooLateDoesNotDrain(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.reg.threads.n.Store(maxParked) // by other packs
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		asked := make(chan struct{})
		answer := make(chan struct{})
		e.beforeNext("try", func() error {
			close(asked)
			<-answer
			return nil
		})
		<-asked // by the poller
		a.givesUp()
		f.letGo()
		unlock := e.holdUp("unlock")
		close(answer)
		synctest.Wait()
		e.stats(Stats{Cancelled: 1}) // neither parked nor draining
		unlock()
		synctest.Wait()
		e.stats(Stats{Cancelled: 1})
		e.works()
		e.reg.threads.n.Store(0)
	})
}
