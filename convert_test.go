package packlock

import (
	"context"
	"errors"
	"testing"
	"time"
)

// An upgrade succeeds for the only shared hold of all processes, and changes nothing beside
// another one.
func TestUpgrade(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h, other := e.tryShared(e.l), e.shared(e.l).got()
		if ok, err := h.upgrade(); ok || err != nil {
			t.Errorf("beside a hold of this process: %v, %v", ok, err)
		}
		e.called("unlock", 0)
		e.release(other)
		f := e.k.foreigner(t, fakePath)
		f.lockShared(t)
		if ok, err := h.upgrade(); ok || err != nil || !h.Shared() {
			t.Errorf("beside a hold of another process: %v, %v, shared %v", ok, err, h.Shared())
		}
		f.release()
		e.release(e.shared(e.l).got())
		waiting := e.acquire(e.l)
		if ok, err := h.upgrade(); !ok || err != nil || h.Shared() {
			t.Errorf("%v, %v, shared %v", ok, err, h.Shared())
		}
		if ok, err := h.upgrade(); !ok || err != nil {
			t.Errorf("of an exclusive hold: %v, %v", ok, err)
		}
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrReentrant) {
			t.Error(err)
		}
		waiting.waits()
		e.release(h)
		e.release(waiting.got())
		if _, err := h.upgrade(); !errors.Is(err, ErrReleased) {
			t.Errorf("after Release: %v", err)
		}
		e.works()
	})
}

// A downgrade lets the shared waiters in.
func TestDowngrade(t *testing.T) {
	for _, remote := range []bool{false, true} {
		onKernel(t, remote, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			r := e.shared(e.l)
			r.waits()
			if err := h.downgrade(); err != nil || !h.Shared() {
				t.Errorf("%v, shared %v", err, h.Shared())
			}
			if err := h.downgrade(); err != nil {
				t.Errorf("of a shared hold: %v", err)
			}
			e.release(r.got())
			e.release(h)
			if err := h.downgrade(); !errors.Is(err, ErrReleased) {
				t.Errorf("after Release: %v", err)
			}
			e.works()
		})
	}
}

// If another process acquires the lock while it is converted, the hold has ended, and the
// waiters go on.
func TestConversionThatLosesTheLock(t *testing.T) {
	for name, convert := range map[string]func(e *engine) (*Hold, error){
		"upgrade": func(e *engine) (*Hold, error) {
			h := e.tryShared(e.l)
			_, err := h.upgrade()
			return h, err
		},
		"downgrade": func(e *engine) (*Hold, error) {
			h := e.try(e.l)
			return h, h.downgrade()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onRemote(t, func(t *testing.T, e *engine) {
				f := e.k.foreigner(t, fakePath)
				n := 0
				e.before("try", func() error {
					if n++; n == 2 {
						f.lock(t)
					}
					return nil
				})
				h, err := convert(e)
				if !errors.Is(err, ErrLost) {
					t.Errorf("%v, want ErrLost", err)
				}
				e.k.setHook(nil)
				if err := h.Release(); !errors.Is(err, ErrReleased) {
					t.Errorf("Release: %v", err)
				}
				a := e.acquire(e.l)
				a.waits()
				f.release()
				e.release(a.got())
			})
		})
	}
}

// A shared try that comes during a downgrade waits for how it ends. One that comes during an
// upgrade finds the lock busy.
func TestTryDuringAConversion(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByOtherGoroutine()
		goOn := e.holdUp("toShared")
		converted := e.start(func(context.Context) (*Hold, error) { return nil, h.downgrade() })
		try := e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() })
		try.waits()
		goOn()
		converted.succeeds()
		e.release(try.got())
		goOn = e.holdUp("try")
		converted = e.start(func(context.Context) (*Hold, error) { _, err := h.upgrade(); return nil, err })
		e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() }).failed(ErrBusy)
		goOn()
		converted.succeeds()
		e.release(h)
		e.works()
	})
}

// A shared acquire of an unowned Lock joins whenever this process holds the lock shared.
func TestUnownedLockPassesTheQueue(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		w := e.acquire(e.l)
		e.l.options.unowned = true
		a := e.shared(e.l).got()
		b := e.tryShared(e.l)
		e.l.options.unowned = false
		time.Sleep(time.Second)
		w.waits()
		for _, h := range []*Hold{h, a, b} {
			e.release(h)
		}
		e.release(w.got())
	})
}
