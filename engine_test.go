package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file show the engine on the fake kernel, in a bubble in
// which time passes only when everybody waits: synctest.Wait returns when every
// goroutine is where it can get.

var (
	fakePath  = fakeAbs("/pack/.grex-lock")
	otherPath = fakeAbs("/other/.grex-lock")
)

func fakeAbs(path string) string {
	abs, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		panic(err)
	}
	return abs
}

// engine is a process with nothing but a fake kernel and a Lock on fakePath.
type engine struct {
	*testing.T
	k   *fakeKernel
	reg *registry
	l   *Lock
}

// onFake runs test in a bubble and, after it, checks that nothing is left
// behind when its Lock is closed: no descriptor, entry, thread or goroutine.
func onFake(t *testing.T, test func(t *testing.T, e *engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		e := &engine{T: t, k: k, reg: newRegistry(k)}
		e.l = e.open(fakePath)
		test(t, e)
		e.k.setHook(nil)
		if err := e.l.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
		synctest.Wait()
		if n := k.descriptors(); n != 0 {
			t.Errorf("%d descriptors left open", n)
		}
		if n := len(e.reg.entries); n != 0 {
			t.Errorf("%d entries left", n)
		}
		if n := e.reg.threads.n.Load(); n != 0 {
			t.Errorf("%d threads left", n)
		}
	})
}

func (e *engine) open(path string) *Lock {
	e.Helper()
	l, err := e.reg.openFile(path)
	if err != nil {
		e.Fatal(err)
	}
	return l
}

func (e *engine) try(l *Lock) *Hold {
	e.Helper()
	h, err := l.TryAcquire()
	if err != nil {
		e.Fatal(err)
	}
	return h
}

func (e *engine) release(h *Hold) {
	e.Helper()
	if err := h.Release(); err != nil {
		e.Error(err)
	}
}

// stats compares the Stats of e.l.
func (e *engine) stats(want Stats) {
	e.Helper()
	if got := e.l.Stats(); got != want {
		e.Errorf("Stats:\n got %+v\nwant %+v", got, want)
	}
}

// acquiring is an acquire on a goroutine of its own.
type acquiring struct {
	e      *engine
	cancel context.CancelFunc
	done   chan struct{} // closed when the following are set
	hold   *Hold
	err    error
}

// acquire starts an Acquire and waits until it is where it can get.
func (e *engine) acquire(l *Lock) *acquiring {
	ctx, cancel := context.WithCancel(context.Background())
	a := &acquiring{e: e, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.hold, a.err = l.Acquire(ctx)
	}()
	synctest.Wait()
	return a
}

// blocking starts an AcquireBlocking in the same way.
func (e *engine) blocking(l *Lock) *acquiring {
	a := &acquiring{e: e, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.hold, a.err = l.AcquireBlocking()
	}()
	synctest.Wait()
	return a
}

// waits checks that the acquire has not returned.
func (a *acquiring) waits() {
	a.e.Helper()
	synctest.Wait()
	select {
	case <-a.done:
		a.e.Fatalf("returned %v, %v; it should wait", a.hold, a.err)
	default:
	}
}

// returns waits for the acquire to return, and lets no more time pass than it
// takes to step aside once.
func (a *acquiring) returns() {
	a.e.Helper()
	select {
	case <-a.done:
	case <-time.After(asideTime + 1):
		a.e.Fatal("it still waits")
	}
	synctest.Wait() // for what it left behind to be where it can get, too
}

// got checks that the acquire has succeeded and returns its hold.
func (a *acquiring) got() *Hold {
	a.e.Helper()
	a.returns()
	if a.err != nil {
		a.e.Fatal(a.err)
	}
	return a.hold
}

// failed checks that the acquire has failed with want.
func (a *acquiring) failed(want error) {
	a.e.Helper()
	a.returns()
	if !errors.Is(a.err, want) {
		a.e.Fatalf("error %v, want %v", a.err, want)
	}
	if a.hold != nil {
		a.e.Fatal("a hold with an error")
	}
}

func TestAloneOneTryOneLinkCheckOneUnlock(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for range 10 {
			h, err := e.l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			e.release(h)
		}
		for call, want := range map[string]int{"open": 1, "try": 10, "linked": 10, "unlock": 10, "sameAt": 0, "block": 0} {
			if n := e.k.called(call); n != want {
				t.Errorf("%d × %s, want %d", n, call, want)
			}
		}
		e.stats(Stats{Acquired: 10})
	})
}

func TestQueueIsServedInOrder(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		var line []*acquiring
		for range 10 {
			line = append(line, e.acquire(e.l))
		}
		e.stats(Stats{KernelWaits: 1, Waiting: 10, Parked: true})
		f.letGo()
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

// A waiter's context ends after the turn was given to it and before it runs:
// what it was given goes on to the next, in each way in which it can be given.
func TestCancelWinsOverGrant(t *testing.T) {
	for _, way := range []progress{hasTurn, granted, handedOver} {
		onFake(t, func(t *testing.T, e *engine) {
			for range 50 { // select picks at random among what is ready
				entry := e.l.entry.Load()
				h := e.try(e.l)
				a := acquisition{lock: e.l.lock, hold: &Hold{lock: e.l.lock}}
				a.needWaiter()
				first := a.waiter
				entry.mu.Lock()
				entry.enqueueLocked(first)
				entry.mu.Unlock()
				second := e.acquire(e.l)

				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if way == hasTurn {
					if !entry.file.(*fakeFile).tryLock() {
						t.Fatal("not locked")
					}
					entry.file.(*fakeFile).letGo()
					entry.mu.Lock()
					entry.hold = nil
					entry.mu.Unlock()
					entry.pass()
				} else {
					entry.mu.Lock()
					entry.grantLocked(way)
				}
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

// grantedInVain has a waiter be granted the lock whose context has ended, with
// another one behind it, after meanwhile has been called. It returns the latter,
// which is next.
func (e *engine) grantedInVain(meanwhile func(*entry)) (next *acquiring) {
	e.Helper()
	h := e.try(e.l)
	entry := e.l.entry.Load()
	a := acquisition{lock: e.l.lock, hold: &Hold{lock: e.l.lock}}
	a.needWaiter()
	entry.mu.Lock()
	entry.enqueueLocked(a.waiter)
	entry.mu.Unlock()
	next = e.acquire(e.l)
	meanwhile(entry)
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	entry.mu.Lock()
	entry.grantLocked(granted)
	if err := a.waiter.wait(ctx); !errors.Is(err, ErrCancelled) {
		e.Fatal(err)
	}
	if err := h.Release(); !errors.Is(err, ErrReleased) {
		e.Error(err)
	}
	return next
}

// What the kernel granted and a cancelled waiter gave back is verified by the
// one who gets it, however short the wait was.
func TestGrantThatWasGivenBackIsVerified(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		next := e.grantedInVain(func(*entry) {
			e.k.link(fakePath, otherPath) // keeps its link count
			e.k.unlink(fakePath)
		})
		if err := next.got().Check(); err != nil {
			t.Error(err)
		}
		e.release(next.hold)
	})
}

// Waiters who were granted the lock and have given up pass it on within the
// slice, like those who had it, and not for as long as there are such.
func TestGrantThatWasGivenBackKeepsToTheSlice(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		next := e.grantedInVain(func(entry *entry) { entry.fair.handOvers = sliceHandOvers })
		e.release(next.got())
		if n := e.k.called("unlock"); n != 2 {
			t.Errorf("unlocked %d times, want at the end of the slice and of the hold", n)
		}
	})
}

// The context ends while the acquire, which has no need to wait, is asking the
// kernel or looking at the path.
func TestCancelDuringTheAcquiresOwnCalls(t *testing.T) {
	for _, during := range []string{"try", "linked", "sameAt", "open"} {
		onFake(t, func(t *testing.T, e *engine) {
			ctx, cancel := context.WithCancel(t.Context())
			time.Sleep(time.Second)
			switch during {
			case "linked":
				e.release(e.try(e.l)) // looks at the path
			case "open":
				e.k.unlink(fakePath)
			}
			e.k.setHook(func(call, _ string) error {
				if call == during {
					cancel()
				}
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

// The look that was young enough when the kernel was asked is not when it
// answers.
func TestSlowTryTrustsNoOldLook(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.setHook(func(call, _ string) error {
			if call == "try" {
				e.k.setHook(nil)
				time.Sleep(time.Second)
				e.k.link(fakePath, otherPath)
				e.k.unlink(fakePath)
			}
			return nil
		})
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// The context ends in the moment in which the kernel grants the lock.
func TestCancelAgainstGrant(t *testing.T) {
	for _, others := range []int{0, 1} {
		onFake(t, func(t *testing.T, e *engine) {
			f := e.k.foreigner(t, fakePath)
			f.lock(t)
			first := e.acquire(e.l)
			var second *acquiring
			if others > 0 {
				second = e.acquire(e.l)
			}
			e.k.setHook(func(call, _ string) error {
				if call == "blocked" {
					first.cancel()
				}
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

func TestCancelOfTheHeadWithOthersQueued(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		first, second, third := e.acquire(e.l), e.acquire(e.l), e.acquire(e.l)
		first.cancel()
		first.failed(ErrCancelled)
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Waiting: 2, Parked: true})
		f.letGo()
		h := second.got()
		third.waits()
		e.release(h)
		e.release(third.got())
		e.stats(Stats{Acquired: 2, Contended: 2, HandedOver: 1, KernelWaits: 1, Cancelled: 1})
	})
}

func TestCancelOfTheLastWaiterDrainsLater(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		only := e.acquire(e.l)
		only.cancel()
		only.failed(ErrCancelled)
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Parked: true, Draining: true})
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) {
			t.Errorf("TryAcquire in the leak window: %v, want ErrBusy", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- e.l.WaitDrained(t.Context()) }()
		synctest.Wait()
		if len(drained) != 0 {
			t.Error("WaitDrained returned before the drain")
		}
		f.letGo()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, KernelWaits: 1, Cancelled: 1, Drained: 1})
		if err := e.l.WaitDrained(t.Context()); err != nil {
			t.Errorf("WaitDrained with nothing to wait for: %v", err)
		}
	})
}

func TestTenThousandCancelledLeaveOneParked(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		for range 10_000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := e.l.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrCancelled) {
				t.Fatal(err)
			}
			cancel()
		}
		e.stats(Stats{KernelWaits: 1, Cancelled: 10_000, Adopted: 9_999, Parked: true, Draining: true})
		if n := e.k.descriptors(); n != 1 {
			t.Errorf("%d descriptors", n)
		}
		f.letGo()
	})
}

func TestWaitDrainedEndsWithItsContextOrByAdoption(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		first := e.acquire(e.l)
		first.cancel()
		first.returns()

		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := e.l.WaitDrained(ctx); !errors.Is(err, ErrCancelled) || !errors.Is(err, cause) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}

		drained := make(chan error, 1)
		go func() { drained <- e.l.WaitDrained(t.Context()) }()
		synctest.Wait()
		second := e.acquire(e.l) // adopts
		if err := <-drained; err != nil {
			t.Error(err)
		}
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Adopted: 1, Waiting: 1, Parked: true})
		f.letGo()
		e.release(second.got())
		e.stats(Stats{Acquired: 1, Contended: 1, KernelWaits: 1, Cancelled: 1, Adopted: 1})
	})
}

// While the drained thread is unlocking, others come: those who try are told
// busy, those who queue are served when it has unlocked.
func TestArrivalsWhileDraining(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		gone := e.acquire(e.l)
		gone.cancel()
		gone.returns()
		unlock := make(chan struct{})
		e.k.setHook(func(call, _ string) error {
			if call == "unlock" {
				<-unlock
			}
			return nil
		})
		f.letGo()
		synctest.Wait()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1, Parked: true, Draining: true})
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
			t.Errorf("TryAcquire while draining: %v", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- e.l.WaitDrained(t.Context()) }()
		next := e.acquire(e.l)
		next.waits()
		if len(drained) != 0 {
			t.Error("WaitDrained returned before the drain had released")
		}
		close(unlock)
		e.release(next.got())
		if err := <-drained; err != nil {
			t.Error(err)
		}
		e.stats(Stats{Acquired: 1, Contended: 1, KernelWaits: 1, Cancelled: 1, Drained: 1})
	})
}

func TestArrivalWhileReleasing(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		unlock := make(chan struct{})
		e.k.setHook(func(call, _ string) error {
			if call == "unlock" {
				<-unlock
			}
			return nil
		})
		released := make(chan error, 1)
		go func() { released <- h.Release() }()
		synctest.Wait()
		next := e.acquire(e.l)
		next.waits()
		close(unlock)
		if err := <-released; err != nil {
			t.Error(err)
		}
		e.release(next.got())
		e.stats(Stats{Acquired: 2, Contended: 1})
	})
}

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

func TestKernelErrorGoesToOneWaiter(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		first, second := e.acquire(e.l), e.acquire(e.l)
		broken := errors.New("input/output error")
		fail := true
		e.k.setHook(func(call, _ string) error {
			if call == "blocked" && fail {
				fail = false
				// The kernel gives no lock with an error.
				f.k.mu.Lock()
				f.inode.locked = f.fakeFile
				f.k.mu.Unlock()
				return broken
			}
			return nil
		})
		f.letGo()
		first.failed(broken)
		second.waits()
		e.stats(Stats{KernelWaits: 2, Waiting: 1, Parked: true})
		f.letGo()
		e.release(second.got())

		e.k.setHook(func(call, _ string) error {
			if call == "try" {
				return broken
			}
			return nil
		})
		_, err := e.l.Acquire(t.Context())
		if pathErr := (*fs.PathError)(nil); !errors.Is(err, broken) || !errors.As(err, &pathErr) || pathErr.Path != fakePath || pathErr.Op != "acquire" {
			t.Errorf("%v", err)
		}
		e.k.setHook(nil)
		e.release(e.try(e.l))
	})
}

// The parked thread gets an error when nobody waits for it any more.
func TestKernelErrorWhileDraining(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		gone := e.acquire(e.l)
		gone.cancel()
		gone.returns()
		e.k.setHook(func(call, _ string) error {
			if call == "blocked" {
				f.k.mu.Lock()
				f.inode.locked = nil
				f.k.mu.Unlock()
				return errors.New("input/output error")
			}
			return nil
		})
		drained := make(chan error, 1)
		go func() { drained <- e.l.WaitDrained(t.Context()) }()
		synctest.Wait()
		f.letGo()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		e.k.setHook(nil)
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, KernelWaits: 1, Cancelled: 1})
	})
}

// The sidecar is replaced while a queue waits for the old one: all go on, in
// their order, with the new one.
func TestOrphanWithAQueue(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.k.foreigner(t, fakePath)
		old.lock(t)
		samePath := e.open(fakePath)
		idle := e.open(fakePath)
		line := []*acquiring{e.acquire(e.l), e.acquire(samePath), e.acquire(e.l), e.acquire(samePath)}
		e.k.unlink(fakePath)
		replaced := e.k.foreigner(t, fakePath)
		replaced.lock(t)
		old.letGo()
		for _, a := range line {
			a.waits()
		}
		e.stats(Stats{KernelWaits: 2, Reopened: 1, Waiting: 4, Parked: true})
		replaced.letGo()
		for i, a := range line {
			h := a.got()
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			if replaced.tryLock() {
				t.Error("the hold is of another file")
			}
			for _, behind := range line[i+1:] {
				behind.waits()
			}
			e.release(h)
		}
		want := Stats{Acquired: 4, Contended: 4, HandedOver: 3, KernelWaits: 2, Reopened: 1}
		e.stats(want)
		for _, l := range []*Lock{samePath, idle} {
			if got := l.Stats(); got != want {
				t.Errorf("%+v", got)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if n := e.k.descriptors(); n != 1 {
			t.Errorf("%d descriptors", n)
		}
	})
}

// Somebody in the process has opened the new file already, and waits there.
func TestOrphanJoinsTheQueueOfTheNewFile(t *testing.T) {
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

// A file with two names loses one: those who came by the other stay.
func TestOrphanByOneOfTwoNames(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		h := e.try(e.l)
		if _, err := other.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Fatalf("two names, two locks: %v", err)
		}
		line := []*acquiring{e.acquire(e.l), e.acquire(other), e.acquire(e.l), e.acquire(other)}
		e.k.unlink(fakePath)
		time.Sleep(time.Second)
		e.release(h)
		// Both files are locked now, each by the first who waited by its name.
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

func TestOrphanWhoseDirectoryIsGone(t *testing.T) {
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
			if _, err := e.l.TryAcquire(); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	})
}

func TestTryOnALostSidecar(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
			t.Fatalf("%v, want ErrBusy", err)
		}
		f.letGo()
		e.release(e.try(e.l))

		e.k.unlink(fakePath)
		fresh := e.open(fakePath)
		h := e.try(fresh)
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
			t.Fatalf("%v, want ErrBusy", err)
		}
		e.release(h)
		e.release(e.try(e.l))
		if s := e.l.Stats(); s.Reopened != 2 {
			t.Errorf("%+v", s)
		}
		fresh.Close()
	})
}

// The file is renamed away and back while it is being looked for.
func TestOrphanThatComesBack(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		time.Sleep(time.Second)
		e.k.unlink(fakePath)
		e.k.setHook(func(call, _ string) error {
			if call == "open" {
				e.k.setHook(nil)
				e.k.link(otherPath, fakePath)
			}
			return nil
		})
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1})
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

// A file system that does not know link counts, or gives a file a new identity
// each time.
func TestOddFileSystems(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.files[fakePath].links = 0
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1})
		e.k.setHook(func(call, path string) error {
			if call == "sameAt" {
				e.k.unlink(path)
				if _, err := e.k.openFile(path); err != nil {
					return err
				}
				e.k.mu.Lock()
				e.k.nopen--
				e.k.files[path].links = 0
				e.k.mu.Unlock()
			}
			return nil
		})
		e.k.files[fakePath].links = 0
		time.Sleep(time.Second)
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
	})
}

func TestErrorsOfTheLooks(t *testing.T) {
	for _, call := range []string{"linked", "sameAt"} {
		onFake(t, func(t *testing.T, e *engine) {
			broken := errors.New("input/output error")
			e.k.setHook(func(c, _ string) error {
				if c == call {
					return broken
				}
				return nil
			})
			if call == "sameAt" {
				time.Sleep(time.Second)
			}
			if _, err := e.l.TryAcquire(); !errors.Is(err, broken) {
				t.Errorf("%v", err)
			}
			e.k.setHook(nil)
			h := e.try(e.l)
			e.k.setHook(func(string, string) error { return broken })
			if err := h.Check(); !errors.Is(err, broken) {
				// Check looks at the path only.
				t.Errorf("%v", err)
			}
			e.k.setHook(nil)
			e.release(h)
		})
	}
}

func TestLooksAtThePath(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		looks := func(want int) {
			t.Helper()
			if n := e.k.called("sameAt"); n != want {
				t.Errorf("%d looks, want %d", n, want)
			}
		}
		e.release(e.try(e.l))
		looks(0) // Open has just looked
		time.Sleep(lookAge)
		e.release(e.try(e.l))
		looks(0)
		time.Sleep(time.Nanosecond)
		e.release(e.try(e.l))
		looks(1)
		e.release(e.try(e.l))
		looks(1)

		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		a, b := e.acquire(e.l), e.acquire(e.l)
		f.letGo()
		h := a.got()
		looks(2) // after a wait
		e.release(h)
		h = b.got()
		looks(2) // a hand-over, at once
		c := e.acquire(e.l)
		time.Sleep(sliceTime - 1)
		e.release(h)
		h = c.got()
		looks(2)
		e.release(h)
	})
}

// While one goroutine after another wants the lock it is handed over, but not
// longer than the slice: then it is really unlocked, and the other process gets
// it.
func TestSliceEnds(t *testing.T) {
	for _, end := range []string{"by count", "by time"} {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			f := e.k.foreigner(t, fakePath)
			waiting := make(chan struct{})
			go func() { f.waitForLock(); close(waiting) }()
			handOvers := sliceHandOvers
			if end == "by time" {
				handOvers = 3
			}
			for range handOvers {
				next := e.acquire(e.l)
				e.release(h)
				h = next.got()
			}
			if n := e.k.called("unlock"); n != 0 {
				t.Errorf("unlocked %d times within the slice", n)
			}
			if end == "by time" {
				time.Sleep(sliceTime)
			}
			next := e.acquire(e.l)
			e.release(h)
			synctest.Wait()
			<-waiting
			next.waits()
			if s := e.l.Stats(); s.HandedOver != uint64(handOvers) || !s.Parked {
				t.Errorf("%+v", s)
			}
			f.letGo()
			e.release(next.got())
		})
	}
}

// A process that competes with another for the lock steps aside when it has had
// it for a slice: before it asks for it again, it pauses.
func TestStepsAsideForARival(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		a := e.acquire(e.l) // sees the rival, and waits
		f.letGo()
		e.release(a.got())

		// For the rest of the second, each slice ends with a pause.
		const section = sliceTime / 4
		start := time.Now()
		pauses := 0
		for time.Since(start) < rivalMemory-2*sliceTime {
			for range 4 {
				e.lockFor(section)
				e.paused(&pauses, 0)
			}
			before := time.Now()
			h, err := e.l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if paused := time.Since(before); paused != asideTime {
				t.Fatalf("paused for %v", paused)
			}
			e.paused(&pauses, 1)
			e.release(h)
		}

		// Then, with nobody seen any more, it only probes.
		time.Sleep(rivalMemory)
		probed := e.k.called("pause")
		for range 400 { // 100 ms
			e.lockFor(section)
		}
		if n := e.k.called("pause") - probed; n != 9 {
			t.Errorf("%d probes in 100 ms, want 9", n)
		}
	})
}

// Where a try takes long, nobody asks many times more, nor parks for whom it has
// taken too long.
func TestAsksAgainOnceWhereItTakesLong(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		e.lockFor(0)
		f.lock(t)
		e.k.setHook(func(call, _ string) error {
			if call == "try" {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		})
		before := e.k.called("try")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := e.l.Acquire(ctx); !errors.Is(err, ErrCancelled) {
			t.Error(err)
		}
		if n := e.k.called("try") - before; n != 2 {
			t.Errorf("asked %d times", n)
		}
		e.stats(Stats{Acquired: 1, Cancelled: 1})
	})
}

// Who holds the lock for no time asks a few times more before it parks, and who
// holds it for longer does not.
func TestAsksAgainWhereHoldsAreShort(t *testing.T) {
	for _, section := range []time.Duration{0, shortHold} {
		onFake(t, func(t *testing.T, e *engine) {
			f := e.k.foreigner(t, fakePath)
			e.lockFor(section)
			f.lock(t)
			before, release := e.k.called("try"), 0
			e.k.setHook(func(call, _ string) error {
				if call == "try" && e.k.called("try") == release {
					f.letGo()
				}
				return nil
			})

			if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			if n := e.k.called("try") - before; n != 1 {
				t.Errorf("TryAcquire asked %d times", n)
			}

			release = before + 1 + 1 + tryAgainMax // the last that a short hold asks
			a := e.acquire(e.l)
			if section > 0 {
				e.stats(Stats{Acquired: 1, KernelWaits: 1, Waiting: 1, Parked: true})
				f.letGo()
			}
			e.release(a.got())
			want := Stats{Acquired: 2}
			if section > 0 {
				want.Contended, want.KernelWaits = 1, 1
			}
			e.stats(want)

			// Never let go in time: it parks.
			release = 0
			f.lock(t)
			a = e.acquire(e.l)
			want.Waiting, want.Parked = 1, true
			want.KernelWaits++
			e.stats(want)
			f.letGo()
			e.release(a.got())
		})
	}
}

// Where no rival is known, whoever has the lock most of the time offers it once
// in a while, be it for one long hold after the other or with short ones between.
func TestOffersTheLockNowAndThen(t *testing.T) {
	for _, sections := range [][]time.Duration{
		{10 * time.Millisecond},
		{0, 100 * time.Millisecond},
		{100 * time.Millisecond, 0, 0, asideTime, 0},
	} {
		onFake(t, func(t *testing.T, e *engine) {
			const rounds = 100
			for range rounds {
				for _, section := range sections {
					e.lockFor(section)
				}
			}
			if n := e.k.called("pause"); n < rounds-1 {
				t.Errorf("sections of %v: %d pauses, want one a round", sections, n)
			}
		})
	}
}

// To let the lock go takes its time on some file systems. Nobody else has had
// a chance meanwhile.
func TestStepsAsideWhereUnlockIsSlow(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.setHook(func(call, _ string) error {
			if call == "unlock" {
				time.Sleep(2 * asideTime)
			}
			return nil
		})
		for range 100 {
			e.lockFor(probeTime)
		}
		if n := e.k.called("pause"); n < 99 {
			t.Errorf("%d pauses", n)
		}
	})
}

// lockFor acquires, lets the section pass, and releases.
func (e *engine) lockFor(section time.Duration) {
	e.Helper()
	h, err := e.l.Acquire(e.Context())
	if err != nil {
		e.Fatal(err)
	}
	time.Sleep(section)
	e.release(h)
}

// paused checks that there were n more pauses than *seen.
func (e *engine) paused(seen *int, n int) {
	e.Helper()
	*seen += n
	if got := e.k.called("pause"); got != *seen {
		e.Fatalf("%d pauses, want %d", got, *seen)
	}
}

// Nobody pauses who lets the lock go all the time or leaves it free for a
// moment, and TryAcquire never does.
func TestDoesNotStepAside(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for range 100_000 { // a second in all, without knowing of a rival
			e.lockFor(10 * time.Microsecond)
		}
		pauses := 0
		e.paused(&pauses, 0)

		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		a := e.acquire(e.l) // from now on with a rival
		f.letGo()
		e.release(a.got())
		for range 100 {
			e.lockFor(sliceTime)
			time.Sleep(asideTime + 1)
		}
		e.paused(&pauses, 0)
		for range 100 {
			h := e.try(e.l)
			time.Sleep(sliceTime)
			e.release(h)
		}
		e.paused(&pauses, 0)
	})
}

// Past the cap on parked threads, further packs are polled; a thread that
// becomes free is used.
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
		polled.foreigner.letGo()
		time.Sleep(pollMax)
		h := polled.a.got()
		e.release(h)

		// Given up, it leaves nothing behind, at once.
		polled.foreigner.lock(t)
		polled.a = e.acquire(polled.Lock)
		polled.a.cancel()
		polled.a.failed(ErrCancelled)
		synctest.Wait()
		polled.foreigner.letGo()
		e.release(e.try(polled.Lock))

		// Not so if somebody came in time.
		polled.foreigner.lock(t)
		polled.a = e.acquire(polled.Lock)
		polled.Lock.entry.Load().abandoned <- struct{}{}
		polled.a.waits()
		if err := polled.Lock.Close(); err != nil {
			t.Error(err)
		}
		polled.a.failed(fs.ErrClosed)
		polled.foreigner.letGo()

		// An error ends polling as it ends parking.
		last := &packs[maxParked+1]
		broken := errors.New("input/output error")
		e.k.setHook(func(call, _ string) error {
			if call == "try" {
				return broken
			}
			return nil
		})
		time.Sleep(pollMax)
		last.a.failed(broken)
		e.k.setHook(nil)

		// A thread becomes free for who polls.
		last.a = e.acquire(last.Lock)
		if last.Stats().Parked {
			t.Error("parked beyond the cap")
		}
		packs[0].foreigner.letGo()
		e.release(packs[0].a.got())
		time.Sleep(pollMax)
		synctest.Wait()
		if !last.Stats().Parked {
			t.Error("still polling")
		}

		for i := range packs {
			p := &packs[i]
			if i != 0 && i != maxParked {
				p.foreigner.letGo()
				e.release(p.a.got())
			}
			p.Lock.Close()
		}
	})
}

// If the kernel refuses to unlock, the file is closed and not used again.
func TestUnlockFailure(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a, b := e.acquire(e.l), e.acquire(e.l)
		broken := errors.New("input/output error")
		e.k.setHook(func(call, _ string) error {
			if call == "unlock" {
				e.k.setHook(nil)
				return broken
			}
			return nil
		})
		time.Sleep(sliceTime)
		if err := h.Release(); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		if err := h.Release(); !errors.Is(err, ErrReleased) {
			t.Errorf("%v", err)
		}
		e.release(a.got())
		e.release(b.got())
		if n := e.k.descriptors(); n != 1 {
			t.Errorf("%d descriptors", n)
		}
		if n := e.k.called("open"); n != 2 {
			t.Errorf("opened %d times", n)
		}

		// The same with nobody waiting.
		h = e.try(e.l)
		e.k.setHook(func(call, _ string) error {
			if call == "unlock" {
				e.k.setHook(nil)
				return broken
			}
			return nil
		})
		if err := h.Release(); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		f := e.k.foreigner(t, fakePath)
		f.lock(t) // it is let go
		f.letGo()
		e.release(e.try(e.l))
	})
}

// Dup keeps the file open that a failed unlock wants to close, for as long as
// it needs it, and returns no duplicate of a lock that was let go meanwhile.
func TestDupAgainstRelease(t *testing.T) {
	for _, unlock := range []error{nil, errors.New("input/output error")} {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			if err := e.l.Close(); err != nil {
				t.Fatal(err)
			}
			dup := make(chan struct{})
			e.k.setHook(func(call, _ string) error {
				switch call {
				case "dup":
					<-dup
				case "unlock":
					return unlock
				}
				return nil
			})
			done := make(chan error, 1)
			go func() { _, err := h.Dup(); done <- err }()
			synctest.Wait()
			if err := h.Release(); !errors.Is(err, unlock) {
				t.Error(err)
			}
			if n := e.k.descriptors(); n != 1 {
				t.Errorf("%d descriptors during Dup", n)
			}
			close(dup)
			if err := <-done; !errors.Is(err, ErrReleased) {
				t.Error(err)
			}
		})
	}
}

func TestAcquireBlockingWaitsOnItsOwnThread(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lock(t)
		a := e.blocking(e.l)
		e.stats(Stats{Waiting: 1})
		b := e.blocking(e.l)
		c := e.acquire(e.l)
		e.stats(Stats{Waiting: 3})
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v", err)
		}
		f.letGo()
		h := a.got()
		b.waits()
		e.release(h)
		e.release(b.got())
		e.release(c.got())
		e.stats(Stats{Acquired: 3, Contended: 3, HandedOver: 2})

		f.lock(t)
		broken := errors.New("input/output error")
		e.k.setHook(func(call, _ string) error {
			if call == "block" {
				return broken
			}
			return nil
		})
		e.blocking(e.l).failed(broken)
		e.k.setHook(nil)

		// Close cannot call it off, but it gets nothing.
		a = e.blocking(e.l)
		if err := e.l.Close(); err != nil {
			t.Fatal(err)
		}
		a.waits()
		f.letGo()
		a.failed(fs.ErrClosed)
		f.lock(t)
		f.letGo()
	})
}

func TestReentry(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		h, err := e.l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx := h.Context(t.Context())
		refused := func(err error) {
			t.Helper()
			if !errors.Is(err, ErrReentrant) || !errors.Is(err, ErrBusy) {
				t.Errorf("%v, want ErrReentrant", err)
			}
		}
		_, err = e.l.Acquire(t.Context())
		refused(err)
		_, err = e.l.AcquireBlocking()
		refused(err)
		_, err = e.l.TryAcquire()
		refused(err)
		elsewhere := make(chan error)
		go func() {
			_, err := e.l.Acquire(ctx)
			elsewhere <- err
		}()
		refused(<-elsewhere)
		go func() {
			_, err := e.l.TryAcquire()
			elsewhere <- err
		}()
		if err := <-elsewhere; !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) {
			t.Errorf("%v on another goroutine, want ErrBusy only", err)
		}

		// Another pack is another matter.
		h2, err := other.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.l.Acquire(h2.Context(ctx))
		refused(err)
		e.release(h2)
		other.Close()

		// A detached hold is nobody's, but a context remembers it.
		h.Detach()
		a := e.acquire(e.l)
		_, err = e.l.TryAcquire()
		if !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) {
			t.Errorf("%v after Detach, want ErrBusy only", err)
		}
		_, err = e.l.Acquire(ctx)
		refused(err)
		e.release(h)
		e.release(a.got())

		// What is released does not count, nor does a mark made after it.
		for _, ctx := range []context.Context{ctx, h.Context(ctx)} {
			h, err := e.l.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			inner := h.Context(ctx)
			_, err = e.l.Acquire(inner)
			refused(err)
			e.release(h)
		}
	})
}

// The hold of a lost sidecar does not stand in the way of the new one.
func TestReentryOnALostSidecar(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.k.unlink(fakePath)
		fresh := e.open(fakePath)
		h2, err := fresh.Acquire(h.Context(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		e.release(h2)
		e.release(h)
		fresh.Close()
	})
}

// Who holds the lock of the file that took the place of the lost one, and waits
// by way of the lost one, would wait for itself, too.
func TestReentryByWayOfALostSidecar(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.try(e.l)
		e.k.unlink(fakePath)
		fresh := e.open(fakePath)

		first := e.acquire(e.l)
		release := make(chan struct{})
		queued := make(chan error, 2)
		var ctx context.Context
		go func() {
			h, err := fresh.Acquire(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			ctx = h.Context(t.Context())
			_, err = e.l.Acquire(t.Context()) // behind first, for the old file
			queued <- err
			<-release
			e.release(h)
		}()
		synctest.Wait()
		go func() {
			_, err := e.l.Acquire(ctx)
			queued <- err
		}()
		synctest.Wait()
		if len(queued) != 0 {
			t.Fatalf("refused while the old file's lock was held: %v", <-queued)
		}
		time.Sleep(time.Second)
		e.release(old)
		for range 2 {
			if err := <-queued; !errors.Is(err, ErrReentrant) {
				t.Errorf("%v, want ErrReentrant", err)
			}
		}
		first.waits()
		close(release)
		e.release(first.got())

		// The same with nobody else about, and without a queue.
		h := e.try(fresh)
		e.k.unlink(fakePath)
		newest := e.open(fakePath)
		h2 := e.try(newest)
		e.release(h)
		for range 2 {
			if _, err := e.l.Acquire(h2.Context(t.Context())); !errors.Is(err, ErrReentrant) {
				t.Errorf("%v, want ErrReentrant", err)
			}
			if _, err := fresh.TryAcquire(); !errors.Is(err, ErrReentrant) {
				t.Errorf("%v, want ErrReentrant", err)
			}
		}
		e.release(h2)
		newest.Close()
		fresh.Close()
	})
}

func TestDo(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		own := errors.New("mine")
		err := e.l.Do(t.Context(), func(ctx context.Context) error {
			if _, err := e.l.Acquire(ctx); !errors.Is(err, ErrReentrant) {
				t.Errorf("%v", err)
			}
			return own
		})
		if err != own {
			t.Errorf("%v", err)
		}
		broken := errors.New("input/output error")
		e.k.setHook(func(call, _ string) error {
			if call == "unlock" {
				return broken
			}
			return nil
		})
		if err := e.l.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		if err := e.l.Do(t.Context(), func(context.Context) error { return own }); !errors.Is(err, broken) || !errors.Is(err, own) {
			t.Errorf("%v", err)
		}
		e.k.setHook(nil)
		func() {
			defer func() { recover() }()
			e.l.Do(t.Context(), func(context.Context) error { panic("in the section") })
		}()
		e.release(e.try(e.l))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.l.Do(ended, func(context.Context) error { t.Error("ran"); return nil }); !errors.Is(err, ErrCancelled) {
			t.Errorf("%v", err)
		}
	})
}

// Queues are rings: leaving from the middle keeps the order.
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
		"twice": func() { q.pushBack(&ws[0]); q.pushBack(&ws[0]) },
		"not":   func() { q.remove(&ws[1]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("queued %s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}
