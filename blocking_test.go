package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An acquire and release without contention costs three system calls: try, stat and
// unlock.
func TestUncontendedCostsOneTryOneStatOneUnlock(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for n := range 10 {
			if n == 1 {
				time.Sleep(ctimeTick + 1) // until then the path is checked each time
			}
			h, err := e.l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			e.release(h)
		}
		for call, want := range map[string]int{"open": 1, "try": 10, "stat": 10, "unlock": 10, "sameAt": 2, "block": 0} {
			if n := e.k.called(call); n != want {
				t.Errorf("%d × %s, want %d", n, call, want)
			}
		}
		e.stats(Stats{Acquired: 10})
	})
}

// AcquireBlocking waits in the kernel on its own thread, or in the queue behind other
// goroutines. Close does not end its wait in the kernel, but then it acquires nothing.
func TestAcquireBlockingWaitsOnItsOwnThread(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.blocking(e.l)
		e.stats(Stats{Waiting: 1})
		b := e.blocking(e.l)
		c := e.acquire(e.l)
		e.stats(Stats{Waiting: 3})
		checkTry(t, e.l, ErrBusy)
		f.release()
		h := a.got()
		b.waits()
		e.release(h)
		e.release(b.got())
		e.release(c.got())
		e.stats(Stats{Acquired: 3, Contended: 3, HandedOver: 2})

		f.lock(t)
		e.fail("block", errBroken)
		e.blocking(e.l).failed(errBroken)
		e.k.setHook(nil)

		// Close does not end the wait, but the acquire fails.
		a = e.blocking(e.l)
		e.close(e.l)
		a.waits()
		f.release()
		a.failed(fs.ErrClosed)
		f.lock(t)
		f.release()
	})
}

// Beyond the cap on parked threads, packs are polled. A poller turns into a parked thread
// when one becomes free.
func TestThreadCap(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		type pack struct {
			*Lock
			foreigner
			a *acquiring
		}
		packs := make([]pack, maxParked+2)
		for i := range packs {
			path := fakeAbs(fmt.Sprintf("/packs/%d", i))
			p := &packs[i]
			p.Lock = e.open(path)
			p.foreigner = e.k.foreigner(t, path)
			p.foreigner.lock(t)
			p.a = e.acquire(p.Lock)
		}
		for i, p := range packs {
			s := p.Stats()
			if want := i < maxParked; s.Parked != want || s.Waiting != 1 {
				t.Errorf("pack %d: %+v", i, s)
			}
		}

		polled := &packs[maxParked]
		tries := func() int { return e.k.called("try") }
		before := tries()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		// Two packs: at 1, 3, 7, 15, 31, 63 and 113 ms, then each 50 ms.
		if n := tries() - before; n < 2*200 || n > 2*206 {
			t.Errorf("%d tries in 10 s, want some 400", n)
		}
		polled.foreigner.release()
		time.Sleep(pollMax)
		h := polled.a.got()
		e.release(h)

		// A poller whose last waiter gives up stops at once.
		polled.foreigner.lock(t)
		polled.a = e.acquire(polled.Lock)
		polled.a.cancel()
		polled.a.failed(ErrCancelled)
		synctest.Wait()
		polled.foreigner.release()
		e.release(e.try(polled.Lock))

		// A poller that gets the stop signal while a waiter is queued continues.
		polled.foreigner.lock(t)
		polled.a = e.acquire(polled.Lock)
		polled.Lock.entry().pollerStop <- struct{}{}
		polled.a.waits()
		e.close(polled.Lock)
		polled.a.failed(fs.ErrClosed)
		polled.foreigner.release()

		// An error ends polling as it ends parking.
		last := &packs[maxParked+1]
		e.fail("try", errBroken)
		time.Sleep(pollMax)
		last.a.failed(errBroken)
		e.k.setHook(nil)

		// A poller turns into a parked thread when one becomes free.
		last.a = e.acquire(last.Lock)
		if last.Stats().Parked {
			t.Error("parked beyond the cap")
		}
		packs[0].foreigner.release()
		e.release(packs[0].a.got())
		time.Sleep(pollMax)
		synctest.Wait()
		if !last.Stats().Parked {
			t.Error("still polling")
		}

		for i := range packs {
			p := &packs[i]
			if i != 0 && i != maxParked {
				p.foreigner.release()
				e.release(p.a.got())
			}
			p.Lock.Close()
		}
	})
}

// Waiting for many packs costs at most maxParked threads.
func TestThreadsAreBounded(t *testing.T) {
	const packs = maxParked + 20 // the last ones are polled
	needKernel(t)
	dir := t.TempDir()
	unlock := make([]func(), packs)
	before := threads()
	ctx := bounded(t)
	locks := make([]*Lock, packs)
	var wg sync.WaitGroup
	for i := range packs {
		path := filepath.Join(dir, strconv.Itoa(i))
		l, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		locks[i] = l
		if unlock[i], err = rawLock(path, true); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { takeTurn(ctx, t, l) })
	}
	parked := 0
	for _, l := range locks {
		until(t, "a goroutine to queue", func() bool { return l.Stats().Waiting == 1 })
		if l.Stats().Parked {
			parked++
		}
	}
	if parked > maxParked {
		t.Errorf("%d threads are parked, want %d", parked, maxParked)
	}
	if now := threads(); now > before+maxParked+12 {
		t.Errorf("%d threads before, %d while goroutines wait for %d packs", before, now, packs)
	}
	// The polled packs first.
	for _, unlock := range slices.Backward(unlock) {
		unlock()
	}
	wg.Wait()
}

// When the last waiter is cancelled, the parked thread stays until the lock is released,
// and then drains. WaitDrained waits for that.
func TestCancelOfTheLastWaiterDrainsLater(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Parked: true, Draining: true})
		checkBusy(t, e.l)
		drained := e.drain(e.l)
		drained.waits()
		f.release()
		drained.succeeds()
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, KernelWaits: 1, Cancelled: 1, Drained: 1})
		if err := e.l.WaitDrained(t.Context()); err != nil {
			t.Errorf("WaitDrained with nothing to wait for: %v", err)
		}
	})
}

// Each acquire adopts the orphaned wait of the one before: ten thousand that are cancelled
// leave one parked thread.
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
		f.release()
	})
}

// On the real kernel, too, any number of cancelled acquires leave one parked thread and no
// open file, but for that of announcements. It drains when the lock is released.
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
		wg := queueUpToFail(ctx, t, l, together, ErrCancelled, context.Canceled)
		cancel()
		wg.Wait() // while the lock is still held
	}

	cancelled := uint64(together * times)
	stats := l.Stats()
	if !stats.Parked || !stats.Draining || stats.Waiting != 0 {
		t.Errorf("got %+v, want a parked thread and no waiter", stats)
	}
	if stats.Cancelled != cancelled || stats.KernelWaits != 1 || stats.Adopted != uint64(times-1) {
		t.Errorf("got %+v, want %d cancelled, 1 wait in the kernel, adopted %d times", stats, cancelled, times-1)
	}
	if now := threads(); now > threadsBefore+12 {
		t.Errorf("%d threads before, %d after %d cancelled acquires", threadsBefore, now, cancelled)
	}
	if now := openFiles(all); now > filesBefore+1 { // the board
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

// WaitDrained returns when its context ends, or when a new acquire adopts the orphaned
// wait.
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
		f.release()
		e.release(second.got())
		e.stats(Stats{Acquired: 1, Contended: 1, KernelWaits: 1, Cancelled: 1, Adopted: 1})
	})
}

// On the real kernel, too, a new acquire adopts the orphaned wait, and is granted the lock
// by it.
func TestOrphanedWaitIsAdopted(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	wg := queueUpToFail(ctx, t, l, 1, ErrCancelled)
	until(t, "the thread to park", func() bool { return l.Stats().Parked })
	cancel()
	wg.Wait()
	if stats := l.Stats(); !stats.Draining {
		t.Errorf("got %+v, want a parked thread and no waiter", stats)
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
	if err := <-drained; err != nil { // while the lock is still held
		t.Error(err)
	}
	if stats := l.Stats(); !stats.Parked || stats.Draining {
		t.Errorf("got %+v, want a parked thread and a waiter", stats)
	}
	elsewhere.finish()
	wg.Wait()
	stats := l.Stats()
	if stats.Adopted != 1 || stats.KernelWaits != 1 || stats.Drained != 0 || stats.Acquired != 1 || stats.Contended != 1 {
		t.Errorf("got %+v, want the one wait in the kernel adopted and then granted", stats)
	}
}

// While the drained thread unlocks the lock, TryAcquire fails with ErrBusy. A new waiter
// gets the turn when the thread has unlocked.
func TestArrivalsWhileDraining(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		goOn := e.holdUp("unlock")
		f.release()
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

// If the kernel returns an error to an orphaned wait, no caller gets it, and the drain
// ends.
func TestKernelErrorWhileDraining(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		e.fail("blocked", errBroken)
		drained := e.drain(e.l)
		f.release()
		drained.succeeds()
		e.k.setHook(nil)
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, KernelWaits: 1, Cancelled: 1})
	})
}

// A waiter whose context ends after it was granted the turn, or the lock, passes it on.
func TestCancelWinsOverGrant(t *testing.T) {
	for _, state := range []acquireState{hasTurn, lost, granted, handedOver} {
		onFake(t, func(t *testing.T, e *engine) {
			for range 50 { // select picks one of the ready cases at random
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
				if state == hasTurn || state == lost {
					entry.file.(*fakeFile).release()
				}
				entry.mu.Lock()
				entry.grantLocked(state)
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

// A waiter whose context ends after it was turned away returns ErrCancelled. It has nothing
// to give back, even if it never had a turn.
func TestCancelWinsOverBeingTurnedAway(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		entry := e.l.entry()
		const n = 20 // select picks one of the ready cases at random
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

// When the context ends at the moment at which the kernel grants the lock, the acquire
// fails. The lock goes to the next waiter, or is released.
func TestCancelDuringGrant(t *testing.T) {
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
			f.release()
			first.failed(ErrCancelled)
			if second != nil {
				e.release(second.got())
			}
			e.release(e.try(e.l)) // given back, by the waiter or by a drain
			if s := e.l.Stats(); s.Cancelled != 1 || s.KernelWaits != 1 || s.Parked || s.Waiting != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// When the context ends during a system call of an acquire that need not wait, the acquire
// fails and gives the lock back.
func TestCancelDuringTheAcquiresOwnCalls(t *testing.T) {
	for _, during := range []string{"try", "stat", "sameAt", "open"} {
		onFake(t, func(t *testing.T, e *engine) {
			ctx, cancel := context.WithCancel(t.Context())
			time.Sleep(time.Second)
			switch during {
			case "stat":
				e.release(e.try(e.l)) // checks the path, so that the next one need not
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

// When the first waiter is cancelled, the parked thread waits on behalf of the next.
func TestCancelOfTheHeadWithOthersQueued(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		first, second, third := e.acquire(e.l), e.acquire(e.l), e.acquire(e.l)
		first.givesUp()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Waiting: 2, Parked: true})
		f.release()
		h := second.got()
		third.waits()
		e.release(h)
		e.release(third.got())
		e.stats(Stats{Acquired: 2, Contended: 2, HandedOver: 1, KernelWaits: 1, Cancelled: 1})
	})
}

// When waiters are cancelled while a hold is released, all other waiters get the lock, in
// their order.
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

// An acquire whose context has ended before fails at once, without a system call.
func TestEndedContextMakesNoCall(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 2 {
			_, err := e.l.Acquire(ended)
			checkPathError(t, err, "acquire", fakePath, ErrCancelled)
			if len(f.inode.locked) == 0 {
				f.lock(t)
			}
		}
		e.called("try", 0)
		f.release()
		e.stats(Stats{Cancelled: 2})
	})
}

// The error of a cancelled acquire is ErrCancelled, the context's Err and its Cause.
func TestCancelledErrorIncludesCause(t *testing.T) {
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

			// An ended context acquires nothing, even if the lock is free.
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

// markContext is a context that calls a function when an acquire reads the marks of the
// holds that it runs under.
type markContext struct {
	context.Context
	call func()
}

func (c markContext) Value(key any) any {
	if _, ok := key.(markKey); ok {
		c.call()
	}
	return c.Context.Value(key)
}

// An acquire that finds the turn taken reads its context and then queues up. If the turn
// becomes free in between, the acquire takes it. In the queue nothing would wake it.
func TestTurnFreedWhileContextIsRead(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a := e.start(func(ctx context.Context) (*Hold, error) {
			return e.l.Acquire(markContext{ctx, func() { e.release(h) }})
		})
		e.release(a.got())
		e.stats(Stats{Acquired: 2})
	})
}

// A hold ends when its release begins, even if the unlock takes long.
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

// Detach of a released hold does not detach the live one.
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

// A poller that acquires the lock when all waiters have given up releases it. Stats counts
// neither a parked thread nor a drain.
func TestPollerThatComesTooLateDoesNotDrain(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.reg.threads.n.Store(maxParked) // by other packs
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		trying := make(chan struct{})
		resume := make(chan struct{})
		e.beforeNext("try", func() error {
			close(trying)
			<-resume
			return nil
		})
		<-trying // the poller
		a.givesUp()
		f.release()
		unlock := e.holdUp("unlock")
		close(resume)
		synctest.Wait()
		e.stats(Stats{Cancelled: 1}) // neither parked nor draining
		unlock()
		synctest.Wait()
		e.stats(Stats{Cancelled: 1})
		e.works()
		e.reg.threads.n.Store(0)
	})
}

// Where the process may have few threads, it parks a share of them and polls for the rest.
// A limit that changes is noticed.
func TestParkedThreadsTakeLimitsIntoAccount(t *testing.T) {
	for limit, want := range map[int]int{0: 5, 1: 1, 3: 1, 3 * threadShare: 3, 1 << 20: 5} {
		onFake(t, func(t *testing.T, e *engine) {
			e.k.mu.Lock()
			e.k.threads = limit
			e.k.mu.Unlock()
			var line []*acquiring
			var others []foreigner
			parked := func() (n int) {
				for _, a := range line {
					if a.lock.Stats().Parked {
						n++
					}
				}
				return n
			}
			for i := range 5 {
				path := fakeAbs(fmt.Sprintf("/packs/%d", i))
				l := e.open(path)
				f := e.k.foreigner(t, path)
				f.lock(t)
				others = append(others, f)
				a := e.acquire(l)
				a.lock = l
				line = append(line, a)
			}
			if n := parked(); n != want {
				t.Errorf("limit %d: %d threads parked, want %d", limit, n, want)
			}
			e.k.mu.Lock()
			e.k.threads = 0
			e.k.mu.Unlock()
			time.Sleep(time.Second + 2*pollMax)
			if n := parked(); n != len(line) {
				t.Errorf("limit %d: %d threads parked without it, want %d", limit, n, len(line))
			}
			for i, f := range others {
				f.release()
				e.release(line[i].got())
			}
		})
	}
}

// WaitDrained of a Lock that was closed meanwhile waits on when a different Lock moves away
// from the orphaned wait.
func TestWaitDrainedOutlastsCloseAndAMove(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		a := e.drain(other)
		e.close(other)
		time.Sleep(pathCheckAge + 1)
		e.k.replace(fakePath)
		h := e.try(e.l)
		a.waits()
		f.release()
		a.succeeds()
		e.release(h)
	})
}
