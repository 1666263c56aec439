package packlock

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// When the kernel is in trouble, whoever asked gets the error, nobody else does,
// and nothing is left of it.

func TestKernelErrorGoesToOneWaiter(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		first, second := e.acquire(e.l), e.acquire(e.l)
		e.beforeNext("blocked", func() error {
			// The kernel gives no lock with an error.
			f.k.mu.Lock()
			f.inode.locked = f.fakeFile
			f.k.mu.Unlock()
			return errBroken
		})
		f.letGo()
		first.failed(errBroken)
		second.waits()
		e.stats(Stats{KernelWaits: 2, Waiting: 1, Parked: true})
		f.letGo()
		e.release(second.got())

		e.fail("try", errBroken)
		_, err := e.l.Acquire(t.Context())
		checkPathError(t, err, "acquire", fakePath, errBroken)
		e.k.setHook(nil)
		e.release(e.try(e.l))
	})
}

func TestErrorsOfTheLooks(t *testing.T) {
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
				// Check looks at the path only.
				t.Errorf("%v", err)
			}
			e.k.setHook(nil)
			e.release(h)
		})
	}
}

// If the kernel refuses to unlock, the file is closed and not used again.
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

		// The same with nobody waiting.
		h = e.try(e.l)
		e.failNext("unlock", errBroken)
		if err := h.Release(); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		f := e.k.foreigner(t, fakePath)
		f.lock(t) // it is let go
		f.letGo()
		e.release(e.try(e.l))
	})
}

// While the kernel takes its time over a call, nobody waits who need not.
func TestSlowCall(t *testing.T) {
	const delay = 100 * time.Millisecond
	for _, call := range []string{"try", "stat", "sameAt", "open", "blocked", "unlock"} {
		t.Run(call, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				other := e.open(otherPath)
				f := e.k.foreigner(t, fakePath)
				e.lookDue(call)
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
						f.letGo()
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
