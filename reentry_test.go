package packlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

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
	// The mark of the hold that is gone says nothing about this one.
	elsewhere := queueUp(t, l, 1, func(int) { takeTurn(ctx, t, l) })
	release(t, again)
	elsewhere.Wait()
}

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
			checkTry(t, fresh, ErrReentrant)
		}
		e.release(h2)
		newest.Close()
		fresh.Close()
	})
}
