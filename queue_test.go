package packlock

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The queue keeps its order when a waiter leaves from the middle. It panics when a waiter is
// queued twice or taken out twice.
func TestQueue(t *testing.T) {
	var q queue
	q.init()
	var ws [5]waiter
	for i := range ws {
		q.pushBack(&ws[i])
	}
	q.remove(&ws[2])
	out := q.removeFunc(func(w *waiter) bool { return w == &ws[1] || w == &ws[4] })
	if !slices.Equal(out, []*waiter{&ws[1], &ws[4]}) || q.n != 2 {
		t.Errorf("%v, %d", out, q.n)
	}
	q.pushFront(&ws[2])
	for _, want := range []*waiter{&ws[2], &ws[0], &ws[3], nil} {
		if w := q.popFront(); w != want {
			t.Errorf("%p, want %p", w, want)
		}
	}
	for name, misuse := range map[string]func(){
		"queued twice": func() { q.pushBack(&ws[0]); q.pushBack(&ws[0]) },
		"not queued":   func() { q.remove(&ws[1]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}

// Waiters get the lock in the order in which they came, each when the one before releases.
func TestQueueIsServedInOrder(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		var line []*acquiring
		for range 10 {
			line = append(line, e.acquire(e.l))
		}
		e.stats(Stats{KernelWaits: 1, Waiting: 10, Parked: true})
		f.release()
		for i, a := range line {
			h := a.got()
			for _, behind := range line[i+1:] {
				behind.waits()
			}
			e.release(h)
		}
		e.stats(Stats{Acquired: 10, Contended: 10, HandedOver: 9, KernelWaits: 1})
	})
}

// On the real kernel, too, waiters get the lock in the order in which they came, by any Lock
// of the file and any method.
func TestFirstComeFirstServed(t *testing.T) {
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	var order []int // guarded by the lock
	n := scaled(500)
	wg := queueUp(t, l, n, func(i int) {
		var h *Hold
		var err error
		switch {
		case i%3 == 0:
			h, err = l.Acquire(ctx)
		case i%3 == 1:
			h, err = same.Acquire(ctx)
		default:
			h, err = l.AcquireBlocking()
		}
		if err != nil {
			t.Error(err)
			return
		}
		order = append(order, i)
		release(t, h)
	})
	elsewhere.finish()
	wg.Wait()
	if len(order) != n || !slices.IsSorted(order) {
		t.Errorf("%d goroutines queued, and acquired the lock in the order %v", n, order)
	}
	stats := l.Stats()
	if stats.Acquired != uint64(n) || stats.Contended != uint64(n) {
		t.Errorf("got %+v, want %d acquired, all of them contended", stats, n)
	}
}

// An acquire that begins while a release unlocks gets the lock when it is unlocked.
func TestArrivalWhileReleasing(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		goOn := e.holdUp("unlock")
		released := make(chan error, 1)
		go func() { released <- h.Release() }()
		synctest.Wait()
		next := e.acquire(e.l)
		next.waits()
		goOn()
		if err := <-released; err != nil {
			t.Error(err)
		}
		e.release(next.got())
		e.stats(Stats{Acquired: 2, Contended: 1})
	})
}

// Any number of waiting goroutines cost one parked thread, and are served in order.
func TestWaitingGoroutinesCostNoThread(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	elsewhere := childHolder(t, dir)
	ctx := bounded(t)
	before := threads()
	served := 0 // guarded by the lock
	n := scaled(20_000)
	wg := queueUp(t, l, n, func(i int) {
		inTurn(ctx, t, l, func(*Hold) {
			if served != i {
				t.Errorf("goroutine %d was served after %d others", i, served)
			}
			served++
		})
	})
	if now := threads(); now > before+12 {
		t.Errorf("%d threads before, %d while %d goroutines wait", before, now, n)
	}
	if stats := l.Stats(); stats.Waiting != n || !stats.Parked || stats.Draining || stats.KernelWaits != 1 {
		t.Errorf("got %+v, want %d waiting for one parked thread", stats, n)
	}
	elsewhere.finish()
	wg.Wait()
	if served != n {
		t.Errorf("served %d goroutines, want %d", served, n)
	}
}

// The channel of a waiter is used again, but never outside of the bubble in which it was
// made, nor in a bubble if it was made outside.
func TestChannelsStayInTheirBubble(t *testing.T) {
	l := &lock{reg: newRegistry(newFakeKernel())}
	ready := func() chan struct{} {
		a := acquisition{lock: l, hold: new(Hold)}
		defer a.dropWaiter()
		return a.needWaiter(now()).ready
	}
	again := 0
	for range 100 { // under the race detector the pool loses some
		before := ready()
		if ready() == before {
			again++
		}
		var within chan struct{}
		synctest.Test(t, func(t *testing.T) { within = ready() })
		if within == before || ready() == within {
			t.Fatal("a channel has left its bubble, or was used in a different one")
		}
	}
	if again == 0 {
		t.Error("no channel is used again")
	}
}

// An error of the kernel goes to the acquire on whose behalf the kernel was called, and to
// no other. The next acquire works.
func TestKernelErrorGoesToOneWaiter(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		first, second := e.acquire(e.l), e.acquire(e.l)
		e.beforeNext("blocked", func() error {
			// A kernel that returns an error grants no lock.
			f.k.mu.Lock()
			f.inode.locked = map[*fakeFile]bool{f.fakeFile: true}
			f.k.mu.Unlock()
			return errBroken
		})
		f.release()
		first.failed(errBroken)
		second.waits()
		e.stats(Stats{KernelWaits: 2, Waiting: 1, Parked: true})
		f.release()
		e.release(second.got())

		e.fail("try", errBroken)
		_, err := e.l.Acquire(t.Context())
		checkPathError(t, err, "acquire", fakePath, errBroken)
		e.k.setHook(nil)
		e.release(e.try(e.l))
	})
}

// An acquire returns the error of its link check or path check, and the next acquire works.
// Check returns the error of the kernel, too.
func TestErrorsOfPathChecks(t *testing.T) {
	for _, call := range []string{"stat", "sameAt"} {
		onFake(t, func(t *testing.T, e *engine) {
			e.fail(call, errBroken)
			if call == "sameAt" {
				time.Sleep(time.Second)
			}
			checkTry(t, e.l, errBroken)
			e.k.setHook(nil)
			h := e.try(e.l)
			e.k.setHook(func(string, string) error { return errBroken })
			if err := h.Check(); !errors.Is(err, errBroken) {
				t.Errorf("Check: %v", err)
			}
			e.k.setHook(nil)
			e.release(h)
		})
	}
}

// If the kernel fails to unlock the file, the file is closed and not used again.
func TestUnlockFailure(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a, b := e.acquire(e.l), e.acquire(e.l)
		e.failNext("unlock", errBroken)
		time.Sleep(sliceTime)
		if err := h.Release(); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		if err := h.Release(); !errors.Is(err, ErrReleased) {
			t.Errorf("%v", err)
		}
		e.release(a.got())
		e.release(b.got())
		e.descriptors(1)
		e.called("open", 2)

		// The same without a waiter.
		h = e.try(e.l)
		e.failNext("unlock", errBroken)
		if err := h.Release(); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		f := e.k.foreigner(t, fakePath)
		f.lock(t) // the lock is free
		f.release()
		e.release(e.try(e.l))
	})
}

// A system call that takes long delays only the calls that need its result. TryAcquire,
// Open, Close, a cancelled acquire and an acquire of a different lock return at once.
func TestSlowCall(t *testing.T) {
	const delay = 100 * time.Millisecond
	for _, call := range []string{"try", "stat", "sameAt", "open", "blocked", "unlock"} {
		t.Run(call, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				other := e.open(otherPath)
				f := e.k.foreigner(t, fakePath)
				e.makeCheckDue(call)
				slow := func() {
					e.beforeNext(call, func() error {
						time.Sleep(delay)
						return nil
					})
				}
				var first *acquiring
				switch call {
				case "open":
					e.k.unlink(fakePath)
				case "blocked":
					f.lock(t)
				}
				if call == "unlock" {
					h := e.try(e.l)
					slow()
					go e.release(h)
					synctest.Wait()
				} else {
					slow()
					first = e.acquire(e.l)
					if call == "blocked" {
						f.release()
					}
					first.waits()
				}

				start := time.Now()
				checkTry(t, e.l, ErrBusy)
				cancelled, patient := e.acquire(e.l), e.acquire(e.l)
				cancelled.givesUp()
				e.release(e.try(other))
				if s := e.l.Stats(); s.Cancelled != 1 {
					t.Errorf("%+v", s)
				}
				closed := e.open(fakePath)
				e.close(closed)
				e.close(other)
				if took := time.Since(start); took != 0 {
					t.Errorf("the others waited for %v", took)
				}

				patient.waits()
				time.Sleep(delay)
				if first != nil {
					e.release(first.got())
				}
				e.release(patient.got())
				e.works()
			})
		})
	}
}

// A waiter serves one acquire after the other. The context of an earlier one does not end the
// wait of a later one, which reads its context only when it waits.
func TestWaiterForgetsTheEndOfAnEarlierContext(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		ended := make(chan struct{})
		close(ended)
		e.reg.waiters.New = func() any { return &waiter{contextRead: true, done: ended} }
		e.reg.threads.n.Store(maxParked) // so that it waits in the queue
		f := e.lockedElsewhere()
		a := e.blocking(e.l)
		time.Sleep(time.Second)
		a.waits()
		f.release()
		time.Sleep(pollMax)
		e.release(a.got())
		e.reg.threads.n.Store(0)
	})
}

// Close comes between the acquire's check of the path and its parking: it fails, and no
// thread waits for it.
func TestCloseBeforeParking(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		ctx := &brokenContext{Context: t.Context(), method: "Err", after: 1, misbehave: func() { e.l.Close() }}
		if _, err := e.l.Acquire(ctx); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%v, want fs.ErrClosed", err)
		}
		e.called("block", 0)
		f.release()
	})
}
