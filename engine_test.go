package packlock

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A test on the fake kernel runs in a bubble, in which time passes only when
// everybody waits: synctest.Wait returns when every goroutine is where it can get.

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

	opened []*Lock // closed at the end, if the test has not
}

// onFake runs test in a bubble and, after it, checks that nothing is left
// behind when its Locks are closed: no descriptor, entry, thread or goroutine.
func onFake(t *testing.T, test func(t *testing.T, e *engine)) {
	t.Helper()
	onKernel(t, false, test)
}

// onKernel is onFake, perhaps on a network file system.
func onKernel(t *testing.T, remote bool, test func(t *testing.T, e *engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		k.remote = remote
		e := &engine{T: t, k: k, reg: newRegistry(k)}
		e.l = e.open(fakePath)
		test(t, e)
		e.k.setHook(nil)
		for _, l := range e.opened {
			if err := l.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
				t.Error(err)
			}
		}
		synctest.Wait()
		e.descriptors(0)
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
	e.opened = append(e.opened, l)
	return l
}

func (e *engine) close(l *Lock) {
	e.Helper()
	closeLock(e, l)
}

// settleCtime has an acquire check the path of e.l when the tick of the file's last
// change is over, so that the next one can trust the change time.
func (e *engine) settleCtime() {
	e.Helper()
	time.Sleep(ctimeTick + 1)
	e.release(e.try(e.l))
}

// lockedElsewhere returns another process that has the lock of fakePath.
func (e *engine) lockedElsewhere() foreigner {
	e.Helper()
	f := e.k.foreigner(e, fakePath)
	f.lock(e)
	return f
}

// heldByAnother returns a hold of e.l that belongs to a different goroutine.
func (e *engine) heldByAnother() *Hold {
	e.Helper()
	held := make(chan *Hold)
	go func() { held <- e.try(e.l) }()
	return <-held
}

// try acquires l, which needs no waiting.
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

// heldAfterRival waits for another process, and so knows of it, has the lock for the
// section, and lets it go. It returns that process.
func (e *engine) heldAfterRival(section time.Duration) foreigner {
	e.Helper()
	f := e.lockedElsewhere()
	a := e.acquire(e.l)
	f.letGo()
	h := a.got()
	time.Sleep(section)
	e.release(h)
	return f
}

// errBroken is what a kernel answers that is not in order.
var errBroken = errors.New("input/output error")

// before has do be called before each call of a kind. An error that it returns
// is the answer to the call.
func (e *engine) before(call string, do func() error) {
	e.k.setHook(func(c, _ string) error {
		if c != call {
			return nil
		}
		return do()
	})
}

// beforeNext has do be called before the next call of a kind.
func (e *engine) beforeNext(call string, do func() error) {
	e.before(call, func() error {
		e.k.setHook(nil)
		return do()
	})
}

// fail makes each call of a kind fail.
func (e *engine) fail(call string, err error) {
	e.before(call, func() error { return err })
}

// failNext makes the next call of a kind fail.
func (e *engine) failNext(call string, err error) {
	e.beforeNext(call, func() error { return err })
}

// holdUp lets no call of a kind go on until goOn is called.
func (e *engine) holdUp(call string) (goOn func()) {
	answer := make(chan struct{})
	e.before(call, func() error {
		<-answer
		return nil
	})
	return func() { close(answer) }
}

// untimed returns the Stats of l without the times in it.
func untimed(l *Lock) Stats {
	s := l.Stats()
	s.WaitTime, s.LongestWait = 0, 0
	return s
}

// stats compares the Stats of e.l, but for the times.
func (e *engine) stats(want Stats) {
	e.Helper()
	if got := untimed(e.l); got != want {
		e.Errorf("Stats:\n got %+v\nwant %+v", got, want)
	}
}

// called checks how often a call was made.
func (e *engine) called(call string, want int) {
	e.Helper()
	if n := e.k.called(call); n != want {
		e.Fatalf("%d × %s, want %d", n, call, want)
	}
}

// descriptors checks how many are open.
func (e *engine) descriptors(want int) {
	e.Helper()
	if n := e.k.descriptors(); n != want {
		e.Errorf("%d descriptors are open, want %d", n, want)
	}
}

// works checks that the lock can be had, and that one descriptor is enough.
func (e *engine) works() {
	e.Helper()
	e.k.setHook(nil)
	h := e.try(e.l)
	if err := h.Check(); err != nil {
		e.Error(err)
	}
	e.release(h)
	e.descriptors(1)
}

// acquiring is an acquire, or another call that may wait, on a goroutine of its own.
type acquiring struct {
	e      *engine
	cancel context.CancelFunc
	done   chan struct{} // closed when the following are set
	hold   *Hold
	err    error
}

// start makes a call on a goroutine of its own and waits until it is where it can
// get.
func (e *engine) start(call func(ctx context.Context) (*Hold, error)) *acquiring {
	ctx, cancel := context.WithCancel(context.Background())
	a := &acquiring{e: e, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.hold, a.err = call(ctx)
	}()
	synctest.Wait()
	return a
}

// acquire starts an Acquire.
func (e *engine) acquire(l *Lock) *acquiring { return e.start(l.Acquire) }

// blocking starts an AcquireBlocking.
func (e *engine) blocking(l *Lock) *acquiring {
	return e.start(func(context.Context) (*Hold, error) { return l.AcquireBlocking() })
}

// drain starts a WaitDrained, which gets no hold.
func (e *engine) drain(l *Lock) *acquiring {
	return e.start(func(ctx context.Context) (*Hold, error) { return nil, l.WaitDrained(ctx) })
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
	case <-time.After(yieldPause + 1):
		a.e.Fatal("it still waits")
	}
	synctest.Wait() // for what it left behind to be where it can get, too
}

// succeeds checks that there is no error.
func (a *acquiring) succeeds() {
	a.e.Helper()
	a.returns()
	if a.err != nil {
		a.e.Fatal(a.err)
	}
}

// got checks that the acquire has succeeded and returns its hold.
func (a *acquiring) got() *Hold {
	a.e.Helper()
	a.succeeds()
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

// givesUp cancels the acquire, which has waited in vain.
func (a *acquiring) givesUp() {
	a.e.Helper()
	a.cancel()
	a.failed(ErrCancelled)
}

// grantedInVain has a waiter be granted the lock whose context has ended, with
// another one behind it, after meanwhile has been called. It returns the latter,
// which is next.
func (e *engine) grantedInVain(meanwhile func(*entry)) (next *acquiring) {
	e.Helper()
	h := e.try(e.l)
	entry := e.l.entry()
	a := acquisition{lock: e.l.lock, hold: &Hold{lock: e.l.lock}}
	a.needWaiter(now())
	entry.mu.Lock()
	entry.enqueueLocked(a.waiter, now())
	entry.mu.Unlock()
	next = e.acquire(e.l)
	meanwhile(entry)
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	entry.mu.Lock()
	entry.grantLocked(granted)
	a.waiter.done = ctx.Done()
	if err := a.waiter.wait(ctx); !errors.Is(err, ErrCancelled) {
		e.Fatal(err)
	}
	if err := h.Release(); !errors.Is(err, ErrReleased) {
		e.Error(err)
	}
	return next
}

// lookDue lets time pass until the next acquire looks at the path, if that is
// the call in question, and not at the link count.
func (e *engine) lookDue(call string) {
	if call == "sameAt" {
		time.Sleep(pathCheckAge + 1)
	}
}
