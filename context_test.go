package packlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// brokenContext is a context with a method that misbehaves after a number of calls.
type brokenContext struct {
	context.Context
	method    string
	after     int // how many calls of method are in order
	calls     int
	misbehave func()
}

func (c *brokenContext) called(method string) {
	if c.method != method {
		return
	}
	if c.calls++; c.calls > c.after {
		c.misbehave()
	}
}

func (c *brokenContext) Err() error            { c.called("Err"); return c.Context.Err() }
func (c *brokenContext) Done() <-chan struct{} { c.called("Done"); return c.Context.Done() }
func (c *brokenContext) Value(key any) any     { c.called("Value"); return c.Context.Value(key) }

// When a method of the context panics, in whichever call, the acquire gives back what it
// has, and the lock can be acquired again.
func TestPanickingContextLosesNoLock(t *testing.T) {
	for _, state := range []struct {
		name    string
		prepare func(e *engine)
	}{
		{"free", func(*engine) {}},
		{"held by a goroutine", func(e *engine) {
			held := make(chan *Hold)
			go func() { held <- e.try(e.l) }()
			h := <-held
			time.AfterFunc(time.Second, func() { e.release(h) })
		}},
		{"held by another process", func(e *engine) {
			f := e.lockedElsewhere()
			time.AfterFunc(time.Second, f.release)
		}},
		{"lost", func(e *engine) { e.k.replace(fakePath) }},
		{"deleted, and the name is not free yet", func(e *engine) {
			e.deletePendingFor(deletePendingTimeout / 20)
		}},
		{"deleted, and the name is not free in time", func(e *engine) {
			e.deletePendingFor(2*deletePendingTimeout - 1)
		}},
		{"lost, and held", func(e *engine) {
			e.k.replace(fakePath)
			f := e.lockedElsewhere()
			time.AfterFunc(time.Second, f.release)
		}},
	} {
		for _, method := range []string{"Err", "Done", "Value"} {
			t.Run(state.name+", "+method, func(t *testing.T) {
				panics := 0
				for after := 0; after == 0 || panics == after; after++ {
					onFake(t, func(t *testing.T, e *engine) {
						state.prepare(e)
						ctx := &brokenContext{Context: t.Context(), method: method, after: after, misbehave: func() { panic("broken") }}
						func() {
							defer func() {
								if recover() != nil {
									panics++
								}
							}()
							h, err := e.l.Acquire(ctx)
							switch {
							case err == nil:
								e.release(h)
							case !errors.Is(err, errDeletePending):
								t.Fatal(err)
							}
						}()
						time.Sleep(2 * time.Second)
						e.works()
					})
				}
				if method == "Err" && panics < 2 {
					t.Errorf("%d panics", panics)
				}
			})
		}
	}
}

// silent is a context that is done but whose Err is nil.
type silent struct{ context.Context }

func (silent) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// A context that is done ends the acquire with ErrCancelled, even if its Err is nil.
func TestContextThatIsDoneWithoutAReason(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		_, err := e.l.Acquire(silent{t.Context()})
		if !errors.Is(err, ErrCancelled) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%v, want ErrCancelled", err)
		}
		f.release()
	})
}

// The error of an acquire whose deadline passed is a timeout, as in package net.
// os.IsTimeout reports that. The error of one that was cancelled is no timeout.
func TestEndOfADeadlineIsATimeout(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := e.l.Acquire(ctx)
		if !os.IsTimeout(err) {
			t.Errorf("%v is no timeout", err)
		}
		if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		drained := e.l.WaitDrained(ctx)
		if !os.IsTimeout(drained) {
			t.Errorf("%v is no timeout", drained)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.l.Acquire(cancelled); os.IsTimeout(err) {
			t.Errorf("%v is a timeout", err)
		}
		f.release()
	})
}

// The text of the error has the Err of the context, and its Cause if that is different, once
// each. The error is a timeout if the context's deadline passed, whatever the Cause is.
func TestErrorOfEndedContext(t *testing.T) {
	reason := errors.New("reason")
	for _, row := range []struct {
		name    string
		ctx     func() (context.Context, func())
		want    string
		timeout bool
		is      []error
	}{
		{"cancelled", func() (context.Context, func()) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, cancel
		}, "wait cancelled: context canceled", false, []error{context.Canceled}},
		{"cancelled with a cause", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(reason)
			return ctx, func() { cancel(nil) }
		}, "wait cancelled: context canceled: reason", false, []error{context.Canceled, reason}},
		{"cancelled with a cause that wraps Canceled", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(fmt.Errorf("reason: %w", context.Canceled))
			return ctx, func() { cancel(nil) }
		}, "wait cancelled: reason: context canceled", false, []error{context.Canceled}},
		{"cancelled with a cause that is a timeout", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(os.ErrDeadlineExceeded)
			return ctx, func() { cancel(nil) }
		}, "wait cancelled: context canceled: i/o timeout", false, []error{context.Canceled, os.ErrDeadlineExceeded}},
		{"deadline", func() (context.Context, func()) {
			return context.WithDeadline(t.Context(), time.Now().Add(-1))
		}, "wait cancelled: context deadline exceeded", true, []error{context.DeadlineExceeded}},
		{"deadline with a cause", func() (context.Context, func()) {
			return context.WithDeadlineCause(t.Context(), time.Now().Add(-1), reason)
		}, "wait cancelled: context deadline exceeded: reason", true, []error{context.DeadlineExceeded, reason}},
	} {
		ctx, stop := row.ctx()
		err := cancelled(ctx)
		if err.Error() != row.want {
			t.Errorf("%s: %q, want %q", row.name, err, row.want)
		}
		if os.IsTimeout(err) != row.timeout {
			t.Errorf("%s: timeout %t", row.name, !row.timeout)
		}
		for _, is := range append(row.is, ErrCancelled) {
			if !errors.Is(err, is) {
				t.Errorf("%s: not %v", row.name, is)
			}
		}
		stop()
	}
}

// panicOf returns what fn panics with, nil if it does not.
func panicOf(fn func()) (what any) {
	defer func() { what = recover() }()
	fn()
	return nil
}

// A nil context panics, and the lock can be acquired afterwards.
func TestNilContextPanics(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for name, call := range map[string]func(){
			"Acquire":     func() { e.l.Acquire(nil) },     //lint:ignore SA1012 this is the test of it
			"WaitDrained": func() { e.l.WaitDrained(nil) }, //lint:ignore SA1012 this is the test of it
			"Do":          func() { e.l.Do(nil, nil) },     //lint:ignore SA1012 this is the test of it
		} {
			if panicOf(call) == nil {
				t.Errorf("%s without a context did not panic", name)
			}
		}
		e.works()
	})
}

// A method of a Lock that Open did not return, or of a Hold that no acquire returned, panics
// with a message of this package.
func TestUseOfUnopenedLockOrHoldPanics(t *testing.T) {
	var noLock *Lock
	var noHold *Hold
	for name, call := range map[string]func(){
		"nil Lock":   func() { noLock.TryAcquire() },
		"zero Lock":  func() { new(Lock).Acquire(t.Context()) },
		"Close":      func() { new(Lock).Close() },
		"Stats":      func() { noLock.Stats() },
		"Path":       func() { new(Lock).Path() },
		"nil Hold":   func() { noHold.Release() },
		"zero Hold":  func() { new(Hold).Release() },
		"nil Option": func() { Open(t.TempDir(), nil) },
		"Check":      func() { new(Hold).Check() },
		"Detach":     func() { noHold.Detach() },
		"Context":    func() { new(Hold).Context(t.Context()) },
	} {
		if what, _ := panicOf(call).(string); !strings.HasPrefix(what, "packlock: use of a ") {
			t.Errorf("%s: %q", name, what)
		}
	}
}

// An acquire fails with ErrReentrant if the calling goroutine, or a hold of its context,
// holds the lock. A detached hold counts only through the context, and a released one does
// not count.
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
			t.Errorf("%v on a different goroutine, want ErrBusy only", err)
		}

		// A different pack can be acquired, and the first hold still counts.
		h2, err := other.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.l.Acquire(h2.Context(ctx))
		refused(err)
		e.release(h2)
		other.Close()

		// A detached hold belongs to no goroutine, but its context is still marked.
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

		// A released hold does not count, nor does a mark that was made after the release.
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

// On the real kernel, too, re-entry is refused, by each method and each Lock of the pack.
func TestReentryIsRefused(t *testing.T) {
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	h := acquireReal(t, l)
	for _, l := range []*Lock{l, same} {
		for _, by := range acquirers {
			_, err := by.acquire(bounded(t), l)
			checkPathError(t, err, "acquire", l.Path(), ErrReentrant, ErrBusy)
		}
		checkPathError(t, l.Do(bounded(t), neverRun(t)), "acquire", l.Path(), ErrReentrant)
	}
	elsewhere := make(chan bool)
	go func() {
		defer close(elsewhere)
		checkBusy(t, l)
		checkBusy(t, same)
	}()
	<-elsewhere
	release(t, h)
	release(t, acquireReal(t, same))
}

// On the real kernel, too, a context that descends from the hold is refused on any
// goroutine, also after Detach, and no longer after Release.
func TestReentryThroughContextIsRefused(t *testing.T) {
	dir := t.TempDir()
	l, same := openReal(t, dir), openReal(t, dir)
	h := acquireReal(t, l)
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(h.Context(bounded(t)), key{}, 0))
	defer cancel()

	for _, detached := range []bool{false, true} {
		if detached {
			h.Detach()
		}
		elsewhere := make(chan bool)
		go func() {
			defer close(elsewhere)
			for _, l := range []*Lock{l, same} {
				_, err := l.Acquire(ctx)
				checkPathError(t, err, "acquire", l.Path(), ErrReentrant, ErrBusy)
			}
		}()
		<-elsewhere
	}

	release(t, h)
	again, err := same.Acquire(ctx)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	// The mark of the released hold does not count for the new hold.
	elsewhere := queueUp(t, l, 1, func(int) { takeTurn(ctx, t, l) })
	release(t, again)
	elsewhere.Wait()
}

// After Detach the goroutine that acquired the hold may wait for the lock.
func TestDetachedHoldMayBeWaitedFor(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	h.Detach()
	checkBusy(t, l)
	go func() {
		until(t, "the main goroutine to queue", func() bool { return l.Stats().Waiting == 1 })
		release(t, h)
	}()
	release(t, acquireReal(t, l))
}

// A hold of a lost file does not prevent an acquire of the new file with its context.
func TestReentryOnALostLockFile(t *testing.T) {
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

// A goroutine that holds the lock of the new file, and acquires it by way of the lost file,
// would wait for itself. The acquire fails with ErrReentrant.
func TestReentryByWayOfALostLockFile(t *testing.T) {
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

		// The same without other waiters and without a queue.
		h := e.try(fresh)
		e.k.unlink(fakePath)
		newest := e.open(fakePath)
		h2 := e.try(newest)
		e.release(h)
		for range 2 {
			if _, err := e.l.Acquire(h2.Context(t.Context())); !errors.Is(err, ErrReentrant) {
				t.Errorf("%v, want ErrReentrant", err)
			}
			checkTry(t, fresh, ErrReentrant)
		}
		e.release(h2)
		newest.Close()
		fresh.Close()
	})
}

// The garbage collector closes a Lock that is no longer reachable, but not while an acquire
// of it is under way.
func TestCollectorSparesALockInUse(t *testing.T) {
	for _, row := range []struct {
		name, during string
		acquire      func(l *Lock) (*Hold, error)
	}{
		{"Acquire", "block", func(l *Lock) (*Hold, error) { return l.Acquire(context.Background()) }},
		{"AcquireBlocking", "block", (*Lock).AcquireBlocking},
		{"TryAcquire", "open", (*Lock).TryAcquire},
		{"AcquireAll", "block", func(l *Lock) (*Hold, error) {
			holds, err := AcquireAll(context.Background(), l)
			if err != nil {
				return nil, err
			}
			return holds[0], nil
		}},
	} {
		k := newFakeKernel()
		l, err := newRegistry(k).openFile(fakePath)
		if err != nil {
			t.Fatal(err)
		}
		f := k.foreigner(t, fakePath)
		if row.during == "open" {
			k.unlink(fakePath)
		} else {
			f.lock(t)
		}
		calling, resume := make(chan struct{}), make(chan struct{})
		k.setHook(func(call, _ string) error {
			if call == row.during {
				close(calling)
				<-resume
			}
			return nil
		})
		inner, got := l.lock, make(chan *Hold)
		go func(l *Lock) { // the only reference to the Lock
			h, err := row.acquire(l)
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
			got <- h
		}(l)
		l = nil
		<-calling
		collectAll(t)
		if closedByCollector(inner) {
			t.Errorf("%s: the Lock was closed", row.name)
		}
		close(resume)
		if row.during == "block" {
			f.release()
		}
		if h := <-got; h != nil {
			release(t, h)
		}
	}
}

// collectAll waits until the garbage collector has run the cleanups of unreachable Locks. It
// waits for several cleanups of its own, because cleanups run concurrently.
func collectAll(t *testing.T) {
	t.Helper()
	for range 5 {
		collected := make(chan struct{})
		runtime.AddCleanup(new([16]byte), func(done chan struct{}) { close(done) }, collected)
		until(t, "the garbage collector", func() bool {
			runtime.GC()
			select {
			case <-collected:
				return true
			default:
				return false
			}
		})
	}
}

// WaitTime and LongestWait are of the acquires that waited and got the lock. They include
// neither acquires that did not wait nor those that gave up.
func TestWaitsAreTimed(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		times := func(sum, longest time.Duration) {
			t.Helper()
			// A pause or two may be part of it.
			if s := e.l.Stats(); s.WaitTime.Round(time.Second) != sum || s.LongestWait.Round(time.Second) != longest {
				t.Errorf("%v, longest %v; want %v, longest %v", s.WaitTime, s.LongestWait, sum, longest)
			}
		}
		e.release(e.try(e.l))
		times(0, 0) // no acquire has waited

		h := e.try(e.l)
		a := e.acquire(e.l)
		time.Sleep(time.Minute)
		e.acquire(e.l).givesUp() // whose wait does not count
		time.Sleep(time.Minute)
		e.release(h)
		e.release(a.got())
		times(2*time.Minute, 2*time.Minute)

		f := e.lockedElsewhere()
		a, b := e.acquire(e.l), e.blocking(e.l)
		time.Sleep(time.Minute)
		f.release()
		e.release(a.got())
		e.release(b.got())
		times(4*time.Minute, 2*time.Minute)

		f.lock(t)
		b = e.blocking(e.l) // in the kernel, on its own thread
		time.Sleep(time.Hour)
		f.release()
		e.release(b.got())
		times(time.Hour+4*time.Minute, time.Hour)

		// An acquire that finds the file lost, and the new one held, waits from then on.
		e.k.replace(fakePath)
		f = e.lockedElsewhere()
		a = e.acquire(e.l)
		time.Sleep(time.Minute)
		f.release()
		e.release(a.got())
		times(time.Hour+5*time.Minute, time.Hour)

		// The file that takes the place of a lost one keeps the times.
		e.k.replace(fakePath)
		e.release(e.try(e.l))
		times(time.Hour+5*time.Minute, time.Hour)
	})
}

// A wait for a hand-over ends with the hand-over, and not when the hold before it began.
func TestWaitForAHandOverIsTimedToItsEnd(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a := e.acquire(e.l)
		time.Sleep(sliceTime / 2)
		e.release(h)
		e.release(a.got())
		if s := e.l.Stats(); s.WaitTime != sliceTime/2 || s.HandedOver != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// The counts of a lost file are added to those of the one that took its place, and
// nothing is left behind.
func TestCountsMoveWhole(t *testing.T) {
	fill := func(c *counters, n uint64) {
		for i, u := range []*atomic.Uint64{
			&c.acquired, &c.contended, &c.handedOver, &c.kernelWaits, &c.cancelled, &c.adopted, &c.drained, &c.reopened,
		} {
			u.Store(n + uint64(i))
		}
		c.waitTime.Store(int64(n + 8))
		c.longestWait.Store(int64(n + 9))
	}
	read := func(c *counters) (all []uint64) {
		for _, u := range []*atomic.Uint64{
			&c.acquired, &c.contended, &c.handedOver, &c.kernelWaits, &c.cancelled, &c.adopted, &c.drained, &c.reopened,
		} {
			all = append(all, u.Load())
		}
		return append(all, uint64(c.waitTime.Load()), uint64(c.longestWait.Load()))
	}
	for _, n := range []uint64{100, 1000} { // either file may have the longest wait
		var to, from counters
		fill(&to, 300)
		fill(&from, n)
		to.take(&from)
		var want []uint64
		for i := range uint64(9) {
			want = append(want, 300+n+2*i)
		}
		want = append(want, max(300, n)+9)
		if got := read(&to); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got := read(&from); slices.Max(got) != 0 {
			t.Errorf("%v are left", got)
		}
	}
}

// When an acquire that ends its wait, and a move, raise the longest wait at the same time,
// the longer one stays.
func TestLongestWaitIsRaisedByTwo(t *testing.T) {
	for range 1000 {
		var c counters
		var both sync.WaitGroup
		for _, d := range []int64{1, 2} {
			both.Go(func() { c.maxLongestWait(d) })
		}
		both.Wait()
		if d := c.longestWait.Load(); d != 2 {
			t.Fatalf("the longest wait is %d, want 2", d)
		}
		c.maxLongestWait(1)
		if d := c.longestWait.Load(); d != 2 {
			t.Fatalf("the longest wait is %d after a shorter one", d)
		}
	}
}

// Holders of a free lock returns none on Linux, and errors.ErrUnsupported on other systems.
func TestHoldersIsForLinuxOnly(t *testing.T) {
	l := openReal(t, t.TempDir())
	holders, err := l.Holders()
	if runtime.GOOS == "linux" || runtime.GOOS == "android" {
		if err != nil || holders != nil {
			t.Errorf("%+v, %v of a free lock", holders, err)
		}
		return
	}
	checkPathError(t, err, "holders", l.Path(), errors.ErrUnsupported)
}

// A context panics when it is asked why it has ended. The turn is passed once.
func TestPanicAtTheEndPassesTheTurnOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		goOn := e.holdUp("try")
		ctx := &endsAndPanics{Context: t.Context()}
		a := e.panicking(ctx)
		b, c := e.acquire(e.l), e.acquire(e.l)
		ctx.end()
		e.before("try", func() error { // or two would not meet there
			time.Sleep(time.Microsecond)
			return nil
		})
		goOn()
		<-a.done
		time.Sleep(time.Millisecond)
		b.waits()
		c.waits()
		f.release()
		e.release(b.got())
		e.release(c.got())
	})
}

// A context panics while its acquire reoffers the lock. The waiter that gets the lock
// then checks the path, however new the last check is.
func TestLockGivenBackAfterAPanicIsVerified(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(0)
		e.lockFor(sliceTime * 6 / 10)
		e.lockFor(sliceTime / 2)
		var next *acquiring
		e.beforeNext("pause", func() error {
			next = e.acquire(e.l)
			e.l.location.Load().passed(now())
			e.k.rename(fakePath, otherPath)
			return nil
		})
		e.called("pause", 0)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			e.l.Acquire(panicsInAPause{t.Context(), e})
		}()
		h := next.got()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// A context panics after a rival has taken the lock that was reoffered to it. The lock,
// which is not ours, is not unlocked.
func TestPanicAfterAReofferThatWasTaken(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(sliceTime)
		late := e.k.foreigner(t, fakePath)
		ctx := &endsAndPanics{Context: t.Context(), asked: 1}
		pauses := 0
		e.before("pause", func() error {
			if pauses++; pauses == 2 {
				late.lock(t)
				ctx.end()
			}
			return nil
		})
		a := e.panicking(ctx)
		time.Sleep(sliceTime)
		<-a.done
		checkTry(t, e.l, ErrBusy)
		late.release()
		e.works()
	})
}

// A context panics when the lock has just been handed over. The lock is released.
func TestPanicAfterAHandOver(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		ctx := &endsAndPanics{Context: t.Context(), asked: 1}
		a := e.panicking(ctx)
		ctx.end()
		e.release(h)
		<-a.done
		e.works()
	})
}
