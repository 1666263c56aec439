package packlock

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// A waiter's context ends after the turn was given to it and before it runs:
// what it was given goes on to the next, in each way in which it can be given.
func TestCancelWinsOverGrant(t *testing.T) {
	for _, way := range []acquireState{hasTurn, lost, granted, handedOver} {
		onFake(t, func(t *testing.T, e *engine) {
			for range 50 { // select picks at random among what is ready
				entry := e.l.entry()
				h := e.try(e.l)
				a := acquisition{lock: e.l.lock, hold: &Hold{lock: e.l.lock}}
				a.needWaiter(now())
				first := a.waiter
				entry.mu.Lock()
				entry.enqueueLocked(first, now())
				entry.mu.Unlock()
				second := e.acquire(e.l)

				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if way == hasTurn || way == lost {
					if !entry.file.(*fakeFile).tryLock() {
						t.Fatal("not locked")
					}
					entry.file.(*fakeFile).letGo()
					entry.mu.Lock()
					entry.grantLocked(way)
				} else {
					entry.mu.Lock()
					entry.grantLocked(way)
				}
				first.done = ctx.Done()
				if err := first.wait(ctx); !errors.Is(err, ErrCancelled) {
					t.Fatalf("error %v, want ErrCancelled", err)
				}
				e.release(second.got())
				if err := h.Release(); !errors.Is(err, ErrReleased) {
					t.Fatal(err)
				}
			}
			if s := e.l.Stats(); s.Acquired != 100 || s.Cancelled != 50 || s.Waiting != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A waiter's context ends after it was turned away and before it runs: it has
// nothing to give back, and may never have had a turn.
func TestCancelWinsOverBeingTurnedAway(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		entry := e.l.entry()
		const n = 20 // select picks at random among what is ready
		for range n {
			closed := e.open(fakePath)
			a := acquisition{lock: closed.lock, hold: &Hold{lock: closed.lock}}
			a.needWaiter(now())
			entry.mu.Lock()
			entry.enqueueLocked(a.waiter, now())
			entry.mu.Unlock()
			closeLock(e, closed)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			a.waiter.done = ctx.Done()
			if err := a.waiter.wait(ctx); !errors.Is(err, ErrCancelled) {
				t.Fatalf("error %v, want ErrCancelled", err)
			}
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
		e.stats(Stats{Acquired: 1, Cancelled: n})
	})
}

// The context ends in the moment in which the kernel grants the lock.
func TestCancelAgainstGrant(t *testing.T) {
	for _, others := range []int{0, 1} {
		onFake(t, func(t *testing.T, e *engine) {
			f := e.lockedElsewhere()
			first := e.acquire(e.l)
			var second *acquiring
			if others > 0 {
				second = e.acquire(e.l)
			}
			e.before("blocked", func() error {
				first.cancel()
				return nil
			})
			f.letGo()
			first.failed(ErrCancelled)
			if second != nil {
				e.release(second.got())
			}
			e.release(e.try(e.l)) // given back, one way or the other
			if s := e.l.Stats(); s.Cancelled != 1 || s.KernelWaits != 1 || s.Parked || s.Waiting != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The context ends while the acquire, which has no need to wait, is asking the
// kernel or looking at the path.
func TestCancelDuringTheAcquiresOwnCalls(t *testing.T) {
	for _, during := range []string{"try", "stat", "sameAt", "open"} {
		onFake(t, func(t *testing.T, e *engine) {
			ctx, cancel := context.WithCancel(t.Context())
			time.Sleep(time.Second)
			switch during {
			case "stat":
				e.release(e.try(e.l)) // looks at the path
			case "open":
				e.k.unlink(fakePath)
			}
			e.before(during, func() error {
				cancel()
				return nil
			})
			if _, err := e.l.Acquire(ctx); !errors.Is(err, ErrCancelled) {
				t.Errorf("during %s: %v, want ErrCancelled", during, err)
			}
			e.k.setHook(nil)
			e.release(e.try(e.l))
			if s := e.l.Stats(); s.Cancelled != 1 || s.Contended != 0 {
				t.Errorf("during %s: %+v", during, s)
			}
		})
	}
}

func TestCancelOfTheHeadWithOthersQueued(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		first, second, third := e.acquire(e.l), e.acquire(e.l), e.acquire(e.l)
		first.givesUp()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Waiting: 2, Parked: true})
		f.letGo()
		h := second.got()
		third.waits()
		e.release(h)
		e.release(third.got())
		e.stats(Stats{Acquired: 2, Contended: 2, HandedOver: 1, KernelWaits: 1, Cancelled: 1})
	})
}

// Waiters give up while holds are released: whoever did not give up is served,
// in order.
func TestReleaseWhileOthersCancel(t *testing.T) {
	for seed := range 64 {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			var line []*acquiring
			for range 6 {
				line = append(line, e.acquire(e.l))
			}
			var wg sync.WaitGroup
			wg.Go(func() { e.release(h) })
			for i, a := range line {
				if seed&(1<<i) != 0 {
					wg.Go(a.cancel)
				}
			}
			wg.Wait()
			cancelled := uint64(0)
			for i, a := range line {
				a.returns()
				if a.err == nil {
					e.release(a.hold)
				} else if cancelled++; seed&(1<<i) == 0 {
					t.Errorf("waiter %d: %v", i, a.err)
				}
			}
			s := e.l.Stats()
			if s.Acquired != 7-cancelled || s.Cancelled != cancelled || s.Waiting != 0 || s.Parked {
				t.Errorf("%d cancelled: %+v", cancelled, s)
			}
			e.release(e.try(e.l))
		})
	}
}

// A context that has ended already is told so at once, whatever the kernel's
// answer would be, and however long it would take.
func TestEndedContextAsksForNothing(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 2 {
			_, err := e.l.Acquire(ended)
			checkPathError(t, err, "acquire", fakePath, ErrCancelled)
			f.tryLock()
		}
		e.called("try", 0)
		f.letGo()
		e.stats(Stats{Cancelled: 2})
	})
}

func TestCancelledErrorTellsWhy(t *testing.T) {
	errWhy := errors.New("why")
	for _, test := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want []error
	}{
		{"WithCancel", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}, []error{context.Canceled}},
		{"WithCancelCause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errWhy) }
		}, []error{context.Canceled, errWhy}},
		{"WithTimeout", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 10*time.Millisecond)
		}, []error{context.DeadlineExceeded}},
		{"WithTimeoutCause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 10*time.Millisecond, errWhy)
		}, []error{context.DeadlineExceeded, errWhy}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := append(test.want, ErrCancelled)
			dir := t.TempDir()
			l := openReal(t, dir)
			h := acquireReal(t, l)
			h.Detach()

			ctx, cancel := test.end(t.Context())
			waited := make(chan error)
			go func() {
				_, err := l.Acquire(ctx)
				waited <- err
			}()
			if _, timed := ctx.Deadline(); !timed {
				until(t, "a goroutine to queue", func() bool { return l.Stats().Waiting == 1 })
				cancel()
			}
			checkPathError(t, <-waited, "acquire", l.Path(), want...)
			release(t, h)

			// Free or not, an ended context acquires nothing.
			_, err := l.Acquire(ctx)
			checkPathError(t, err, "acquire", l.Path(), want...)
			checkPathError(t, l.Do(ctx, neverRun(t)), "acquire", l.Path(), want...)
			cancel()
			if stats := l.Stats(); stats.Cancelled != 3 || stats.Acquired != 1 || stats.Waiting != 0 {
				t.Errorf("got %+v, want 3 cancelled", stats)
			}
			checkFree(t, l)
		})
	}
}
