package packlock

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// lostTo has the sidecar be lost, and returns a Lock on the file that took its
// place with a hold of it that belongs to no goroutine.
func (e *engine) lostTo() (fresh *Lock, h *Hold) {
	e.Helper()
	e.k.unlink(fakePath)
	fresh = e.open(fakePath)
	h = e.try(fresh)
	h.Detach()
	return fresh, h
}

// acquireUnder starts an Acquire with a context that runs under h.
func (e *engine) acquireUnder(h *Hold) *acquiring {
	return e.start(func(ctx context.Context) (*Hold, error) { return e.l.Acquire(h.Context(ctx)) })
}

// Who comes by a lost sidecar, with a context that runs under a hold of the new
// one, would wait for itself. It need not have waited before, nor be the
// goroutine that has the hold.
func TestReentryByContextOnALostSidecar(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		fresh, h := e.lostTo()
		e.acquireUnder(h).failed(ErrReentrant)
		e.release(h)
		closeLock(e, fresh)
	})
}

// The same of who was queued at the lost sidecar, behind another who noticed.
func TestReentryByContextOfAWaiterOnALostSidecar(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.try(e.l)
		first := e.acquire(e.l)
		fresh, h := e.lostTo()
		second := e.acquireUnder(h)
		second.waits()
		time.Sleep(sliceTime) // so that the next one looks
		e.release(old)
		second.failed(ErrReentrant)
		first.waits()
		e.release(h)
		e.release(first.got())
		closeLock(e, fresh)
	})
}

// A waiter is used for one acquire after another. What an earlier one ran under
// is nothing to the later one.
func TestWaiterForgetsTheContextOfAnEarlierAcquire(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.try(e.l)
		first := e.acquire(e.l)
		fresh, h := e.lostTo()
		e.reg.waiters.New = func() any { return &waiter{marks: &mark{hold: h}} }
		second := e.acquire(e.l)
		time.Sleep(sliceTime) // so that the next one looks
		e.release(old)
		first.waits()
		second.waits()
		e.release(h)
		e.release(first.got())
		e.release(second.got())
		closeLock(e, fresh)
	})
}

// The history of a sidecar goes on with those who leave it last. Those who came
// by another name, and stay, keep it.
func TestCountsStayWithTheOtherName(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		e.release(e.try(other))
		e.release(e.try(other))
		e.k.unlink(fakePath)
		e.k.createLocked(fakePath)
		e.l.location.Load().passed(now() - int64(pathCheckAge) - 1)
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, Reopened: 1})
		if got, want := other.Stats(), (Stats{Acquired: 2}); got != want {
			t.Errorf("the other name: %+v, want %+v", got, want)
		}
		closeLock(e, other)
	})
}

// A file that would not unlock is opened anew like a lost one. But it was not
// lost, and is not counted so.
func TestFileThatWouldNotUnlockIsNotCountedAsLost(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.failNext("unlock", errBroken)
		if err := h.Release(); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		e.works()
		e.stats(Stats{Acquired: 2})
	})
}

// Who has found the entry of a Lock and waits for its mutex, while the Lock
// moves to another entry, follows.
func TestEntryIsLookedUpAgainAfterTheWaitForItsMutex(t *testing.T) {
	reg := newRegistry(newFakeKernel())
	l, err := reg.openFile(fakePath)
	if err != nil {
		t.Fatal(err)
	}
	other, err := reg.openFile(otherPath)
	if err != nil {
		t.Fatal(err)
	}
	from, to := l.location.Load(), other.location.Load()
	got := make(chan *entry)
	from.entry.mu.Lock()
	go func() {
		e := l.lockEntry()
		e.mu.Unlock()
		got <- e
	}()
	until(t, "a goroutine to wait for the mutex", func() bool {
		return slices.ContainsFunc(stacks(), func(s string) bool {
			return strings.Contains(s, "[sync.Mutex.Lock]:") && strings.Contains(s, ").lockEntry(")
		})
	})
	l.location.Store(to)
	from.entry.mu.Unlock()
	if <-got != to.entry {
		t.Error("the entry that the Lock has left")
	}
	l.location.Store(from)
	closeLock(t, l)
	closeLock(t, other)
}

// stacks describes what every goroutine is doing.
func stacks() []string {
	buf := make([]byte, 1<<20)
	return strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
}
