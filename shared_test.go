package packlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// shared starts an AcquireShared.
func (e *engine) shared(l *Lock) *acquiring { return e.start(l.AcquireShared) }

// tryShared acquires l shared, which needs no waiting.
func (e *engine) tryShared(l *Lock) *Hold {
	e.Helper()
	h, err := l.TryAcquireShared()
	if err != nil {
		e.Fatal(err)
	}
	if !h.Shared() {
		e.Error("the hold is not shared")
	}
	return h
}

// lockShared acquires the lock shared, which must not be held exclusively.
func (f foreigner) lockShared(t testing.TB) {
	t.Helper()
	if !f.tryLock(true) {
		t.Fatalf("%s is locked", f.path)
	}
}

// Shared holds of goroutines and processes do not exclude each other.
func TestSharedHoldsDoNotExcludeEachOther(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lockShared(t)
		first := e.tryShared(e.l)
		second := e.shared(e.l).got()
		third := e.shared(e.open(fakePath)).got()
		e.stats(Stats{Acquired: 3, SharedHolds: 3})
		f.release()
		for _, h := range []*Hold{first, second, third} {
			e.release(h)
			if err := h.Release(); !errors.Is(err, ErrReleased) {
				t.Errorf("second Release: %v", err)
			}
		}
		e.works()
	})
}

// A shared hold excludes exclusive ones, and an exclusive one shared ones, in the process
// and between processes.
func TestSharedAndExclusiveExcludeEachOther(t *testing.T) {
	for _, shared := range []bool{false, true} {
		onFake(t, func(t *testing.T, e *engine) {
			try, other := e.try, e.tryShared
			tryOther := e.l.TryAcquireShared
			if shared {
				try, other, tryOther = e.tryShared, e.try, e.l.TryAcquire
			}
			held := make(chan *Hold)
			go func() { held <- try(e.l) }()
			h := <-held
			if _, err := tryOther(); !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) {
				t.Errorf("in the process: %v, want ErrBusy", err)
			}
			e.release(h)
			f := e.k.foreigner(t, fakePath)
			f.tryLock(shared)
			time.Sleep(time.Second)
			if _, err := tryOther(); !errors.Is(err, ErrBusy) {
				t.Errorf("between processes: %v, want ErrBusy", err)
			}
			f.release()
			e.release(other(e.l))
			e.works()
		})
	}
}

// The first shared hold takes the kernel's lock and the last gives it back. Between them
// no system call is made but one path check in handOverCheckAge.
func TestJoiningMakesNoSystemCall(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		first := e.tryShared(e.l)
		calls := 0
		e.k.setHook(func(call, _ string) error {
			if call != "openBoard" && call != "find" { // see TestReadersAskOnceInAskInterval
				calls++
			}
			return nil
		})
		var holds []*Hold
		for range 100 {
			holds = append(holds, e.shared(e.l).got())
		}
		for _, h := range holds {
			e.release(h)
		}
		if calls != 0 {
			t.Errorf("%d system calls", calls)
		}
		time.Sleep(handOverCheckAge + 1)
		e.release(e.shared(e.l).got())
		e.release(e.shared(e.l).got())
		if calls != 2 { // serverStillGrants, sameAt
			t.Errorf("%d system calls, want one path check", calls)
		}
		e.k.setHook(nil)
		e.release(first)
		e.called("unlock", 1)
	})
}

// Acquires of both kinds are served first come, first served, and neighbouring shared ones
// together.
func TestBothKindsAreServedInOrder(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		writer := e.acquire(e.l)
		readers := []*acquiring{e.shared(e.l), e.shared(e.l)}
		last := e.acquire(e.l)
		late := e.shared(e.l)
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy behind a waiting writer", err)
		}
		for _, a := range append(readers, writer, last, late) {
			a.waits()
		}
		e.release(h)
		e.release(writer.got())
		for _, r := range readers {
			r.succeeds()
		}
		last.waits()
		late.waits()
		e.release(readers[0].hold)
		last.waits()
		e.release(readers[1].hold)
		e.release(last.got())
		e.release(late.got())
		e.works()
	})
}

// However an exclusive waiter leaves the queue of an open group, the shared ones behind it
// join at once.
func TestReadersJoinWhenTheWriterInFrontOfThemLeaves(t *testing.T) {
	for name, leave := range map[string]func(e *engine, w *acquiring, l *Lock){
		"cancelled": func(e *engine, w *acquiring, _ *Lock) { w.givesUp() },
		"its Lock is closed": func(e *engine, w *acquiring, l *Lock) {
			e.close(l)
			synctest.Wait()
		},
		"its path is lost": func(e *engine, w *acquiring, l *Lock) {
			e.k.replace(l.Path())
			time.Sleep(2 * watchInterval)
			e.release(w.got())
		},
		"its directory is gone": func(e *engine, w *acquiring, l *Lock) {
			e.k.removeDir(l.Path()[:len(l.Path())-len("/.grex-lock")])
			time.Sleep(2 * watchInterval)
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				e.k.link(fakePath, otherPath)
				l := e.open(otherPath) // the same file by another path
				h := e.shared(e.l).got()
				w := e.acquire(l)
				readers := []*acquiring{e.shared(e.l), e.shared(e.l)}
				next := e.acquire(e.l)
				behind := e.shared(e.l)
				w.waits()
				leave(e, w, l)
				for _, r := range readers {
					e.release(r.got())
				}
				next.waits()
				behind.waits()
				e.release(h)
				e.release(next.got())
				e.release(behind.got())
			})
		})
	}
}

// Whoever holds the lock shared is granted it once more, past the queue and a writer
// elsewhere, on its own goroutine or by a context of Hold.Context.
func TestSharedWithinSharedIsGranted(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.tryShared(e.l)
		w := e.acquire(e.l)
		own := e.tryShared(e.l)
		again, err := e.l.AcquireShared(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		byContext := e.start(func(ctx context.Context) (*Hold, error) { return e.l.AcquireShared(h.Context(ctx)) }).got()
		w.waits()
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("exclusive within shared: %v, want ErrReentrant", err)
		}
		for _, h := range []*Hold{h, own, again, byContext} {
			w.waits()
			e.release(h)
		}
		x := w.got()
		e.release(x)
		x = e.try(e.l)
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrReentrant) {
			t.Errorf("shared within exclusive: %v, want ErrReentrant", err)
		}
		if _, err := e.l.AcquireShared(x.Context(t.Context())); !errors.Is(err, ErrReentrant) {
			t.Errorf("shared within exclusive: %v, want ErrReentrant", err)
		}
		e.release(x)
	})
}

// A detached shared hold belongs to no goroutine.
func TestDetachedSharedHold(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h, other := e.tryShared(e.l), e.tryShared(e.l)
		h.Detach()
		h.Detach()
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("%v, want ErrReentrant: the other hold is not detached", err)
		}
		e.release(other)
		if _, err := e.l.TryAcquire(); errors.Is(err, ErrReentrant) || !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		e.release(h)
		e.works()
	})
}
