package packlock

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

func TestReleasedHoldRefuses(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	release(t, h)
	checkReleased := func() {
		t.Helper()
		checkPathError(t, h.Release(), "release", l.Path(), ErrReleased)
		checkPathError(t, h.Check(), "check", l.Path(), ErrReleased)
		_, err := h.Dup()
		checkPathError(t, err, "dup", l.Path(), ErrReleased)
	}
	checkReleased()
	again := acquireReal(t, l)
	checkReleased()
	checkExcludes(t, again) // and the second Release has not let it go
	release(t, again)
}

func TestReleaseByOneOfMany(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	const n = 10
	errs := make(chan error)
	for range n {
		go func() { errs <- h.Release() }()
	}
	released := 0
	for range n {
		if err := <-errs; err == nil {
			released++
		} else {
			checkPathError(t, err, "release", l.Path(), ErrReleased)
		}
	}
	if released != 1 {
		t.Errorf("released %d times, want 1", released)
	}
	release(t, acquireReal(t, l))
}

// Dup keeps the file open that a failed unlock wants to close, for as long as
// it needs it, and returns no duplicate of a lock that was let go meanwhile.
func TestDupAgainstRelease(t *testing.T) {
	for _, unlock := range []error{nil, errors.New("input/output error")} {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			e.close(e.l)
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
			e.descriptors(1)
			close(dup)
			if err := <-done; !errors.Is(err, ErrReleased) {
				t.Error(err)
			}
		})
	}
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
		e.fail("unlock", errBroken)
		if err := e.l.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		if err := e.l.Do(t.Context(), func(context.Context) error { return own }); !errors.Is(err, errBroken) || !errors.Is(err, own) {
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
		if err := e.l.Do(ended, neverRun(t)); !errors.Is(err, ErrCancelled) {
			t.Errorf("%v", err)
		}
	})
}

func TestDoHoldsMarksAndReleases(t *testing.T) {
	l := openReal(t, t.TempDir())
	errInside := errors.New("inside")
	err := l.Do(bounded(t), func(ctx context.Context) error {
		if !isLocked(t, l.Path()) {
			t.Error("not locked")
		}
		elsewhere := make(chan error)
		go func() {
			_, err := l.Acquire(ctx)
			elsewhere <- err
		}()
		checkPathError(t, <-elsewhere, "acquire", l.Path(), ErrReentrant)
		return errInside
	})
	if err != errInside {
		t.Errorf("got %v, want the function's own error", err)
	}
	checkFree(t, l)
}

func TestDoReleasesOnPanic(t *testing.T) {
	l := openReal(t, t.TempDir())
	func() {
		defer func() {
			if got := recover(); got != "inside" {
				t.Errorf("recovered %v", got)
			}
		}()
		l.Do(bounded(t), func(context.Context) error { panic("inside") })
	}()
	checkFree(t, l)
	release(t, acquireReal(t, l))
}

func TestDoReleasesOnGoexit(t *testing.T) {
	l := openReal(t, t.TempDir())
	ctx := bounded(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		l.Do(ctx, func(context.Context) error {
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()
	checkFree(t, l)
	release(t, acquireReal(t, l))
}

// A Dup that meets a Release returns no file, and leaves none open.
func TestDupAgainstReleaseLeavesNothingOpen(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.beforeNext("dup", h.Release)
		f, err := h.Dup()
		if f != nil || !errors.Is(err, ErrReleased) {
			t.Errorf("%v, %v; want ErrReleased", f, err)
		}
		for _, dup := range e.k.dups {
			if err := dup.Close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("the duplicate is open: %v", err)
			}
		}
		if len(e.k.dups) != 1 {
			t.Errorf("%d duplicates", len(e.k.dups))
		}
	})
}
