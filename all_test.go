package packlock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// packs opens n packs, in the order of their files' identities.
func (e *engine) packs(n int) []*Lock {
	e.Helper()
	var locks []*Lock
	for i := range n {
		l := e.open(fakeAbs(fmt.Sprintf("/packs/%d/.grex-lock", i)))
		locks = append(locks, l)
	}
	return locks
}

// all acquires all of the locks on the calling goroutine.
func (e *engine) all(locks ...*Lock) Holds {
	e.Helper()
	holds, err := AcquireAll(e.Context(), locks...)
	if err != nil {
		e.Fatal(err)
	}
	for i, h := range holds {
		if h.Path() != locks[i].Path() {
			e.Errorf("hold %d is of %s, want %s", i, h.Path(), locks[i].Path())
		}
	}
	return holds
}

// acquiringAll is an AcquireAll on a goroutine of its own.
func (e *engine) acquiringAll(locks ...*Lock) (a *acquiring, holds *Holds) {
	holds = new(Holds)
	return e.start(func(ctx context.Context) (*Hold, error) {
		var err error
		*holds, err = AcquireAll(ctx, locks...)
		return nil, err
	}), holds
}

// free checks that nobody has any of the locks.
func (e *engine) free(locks ...*Lock) {
	e.Helper()
	for _, l := range locks {
		e.release(e.try(l))
	}
}

func TestAllAreAcquiredInOneOrder(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(3)
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
			var args []*Lock
			for _, i := range order {
				args = append(args, locks[i])
			}
			var tried, unlocked []string
			e.k.setHook(func(call, path string) error {
				switch call {
				case "try":
					tried = append(tried, path)
				case "unlock":
					unlocked = append(unlocked, path)
				}
				return nil
			})
			holds := e.all(args...)
			want := []string{locks[0].Path(), locks[1].Path(), locks[2].Path()}
			if !slices.Equal(tried, want) {
				t.Errorf("%v: acquired %v", order, tried)
			}
			if err := holds.Release(); err != nil {
				t.Error(err)
			}
			slices.Reverse(unlocked)
			if !slices.Equal(unlocked, want) {
				t.Errorf("%v: released, the other way round, %v", order, unlocked)
			}
			if err := holds.Release(); !errors.Is(err, ErrReleased) {
				t.Errorf("%v, want ErrReleased", err)
			}
		}
	})
}

func TestNoneAreAcquiredOfNone(t *testing.T) {
	if holds, err := AcquireAll(t.Context()); len(holds) != 0 || err != nil {
		t.Error(holds, err)
	}
}

// Whatever ends it, AcquireAll has let go of what it got.
func TestAllOrNothing(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(e *engine, a *acquiring, last *Lock)
		want error
	}{
		"cancelled": {func(e *engine, a *acquiring, last *Lock) { a.cancel() }, ErrCancelled},
		"closed":    {func(e *engine, a *acquiring, last *Lock) { last.Close() }, fs.ErrClosed},
		"gone": {func(e *engine, a *acquiring, last *Lock) {
			e.k.removeDir(filepath.Dir(last.Path()))
			time.Sleep(watchInterval)
		}, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				locks := e.packs(3)
				f := e.k.foreigner(t, locks[2].Path())
				f.lock(t)
				a, _ := e.acquiringAll(locks...)
				a.waits()
				checkTry(t, locks[0], ErrBusy)
				end.do(e, a, locks[2])
				a.failed(end.want)
				var failed *fs.PathError
				if !errors.As(a.err, &failed) || failed.Path != locks[2].Path() {
					t.Errorf("%v, which names another path", a.err)
				}
				e.free(locks[:2]...)
				f.release()
				synctest.Wait()
			})
		})
	}
}

// A method of the context panics, whenever it is called.
func TestPanicOfAContextLosesNoneOfAll(t *testing.T) {
	for _, method := range []string{"Err", "Done", "Value"} {
		panics := 0
		for after := 0; panics == after && !t.Failed(); after++ {
			onFake(t, func(t *testing.T, e *engine) {
				locks := e.packs(3)
				f := e.k.foreigner(t, locks[2].Path())
				f.lock(t)
				time.AfterFunc(time.Second, f.release)
				ctx := &brokenContext{Context: t.Context(), method: method, after: after, misbehave: func() { panic("broken") }}
				func() {
					defer func() {
						if recover() != nil {
							panics++
						}
					}()
					holds, err := AcquireAll(ctx, locks...)
					if err != nil {
						t.Fatal(err)
					}
					if err := holds.Release(); err != nil {
						t.Error(err)
					}
				}()
				time.Sleep(2 * time.Second)
				e.free(locks...)
			})
		}
		if panics == 0 {
			t.Errorf("%s is never called", method)
		}
	}
}

func TestAllRefusesBeforeAnythingIsAcquired(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(3)
		e.k.link(locks[1].Path(), otherPath)
		alias := e.open(otherPath)
		defer alias.Close()
		h := e.try(locks[2])
		tries := e.k.called("try")
		refused := func(ctx context.Context, locks ...*Lock) {
			t.Helper()
			if _, err := AcquireAll(ctx, locks...); !errors.Is(err, ErrReentrant) {
				t.Errorf("%v, want ErrReentrant", err)
			}
		}
		refused(t.Context(), locks[0], locks[1], locks[0])
		refused(t.Context(), locks[0], locks[1], alias)
		refused(t.Context(), locks...)
		elsewhere, holds := e.acquiringAll(locks[0])
		elsewhere.succeeds()
		done := make(chan struct{})
		go func() {
			defer close(done)
			refused(h.Context(t.Context()), locks[1:]...)
		}()
		<-done
		e.called("try", tries+1) // that of elsewhere
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := AcquireAll(ended, locks[1:]...); !errors.Is(err, ErrCancelled) {
			t.Errorf("%v, want ErrCancelled", err)
		}
		e.called("try", tries+1)
		e.release(h)
		if err := holds.Release(); err != nil {
			t.Error(err)
		}
	})
}

// The hold of a file that is lost is not in the way.
// Whether the file is lost cannot be found out: that is the reason to give.
func TestErrorOfTheLookOfAll(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.failNext("sameAt", errBroken)
		if _, err := AcquireAll(t.Context(), e.l); !errors.Is(err, errBroken) {
			t.Errorf("%v, want %v", err, errBroken)
		}
		e.release(h)
	})
}

// The file is another one each time: AcquireAll gives up in the end.
func TestAllDoesNotBeginAgainForEver(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.before("try", func() error {
			e.k.replace(fakePath)
			if e.k.called("try") > 2*maxMoves {
				return errBroken
			}
			return nil
		})
		if _, err := AcquireAll(t.Context(), e.l); !errors.Is(err, ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
		e.works()
	})
}

// Who waits in a queue finds, when it is its turn, that the file is another one,
// which somebody has: it leaves the old queue and enters the new one once.
func TestAllBeginsAgainFromTheQueue(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a, holds := e.acquiringAll(e.l)
		time.Sleep(pathCheckAge + 1)
		e.k.replace(fakePath)
		samePath := e.open(fakePath)
		h2 := e.try(samePath)
		e.release(h)
		time.Sleep(2 * yieldPause)
		a.waits()
		if s := e.l.Stats(); s.Waiting != 1 {
			t.Errorf("%+v", s)
		}
		e.release(h2)
		a.succeeds()
		if err := holds.Release(); err != nil {
			t.Error(err)
		}
		e.works()
	})
}

// An acquire of AcquireAll does not take the turn of a different entry, even if it is free.
func TestOrderedAcquireTakesNoOtherTurn(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		tries := e.k.called("try")
		h, err := e.l.acquire(t.Context(), parking, other.entry())
		if h != nil || !errors.Is(err, errMoved) {
			t.Errorf("%v, %v; want errMoved", h, err)
		}
		e.called("try", tries)
		e.close(other)
		e.works()
	})
}

// The context of AcquireAll ends, and then it has not: no hold is lost by that.
func TestAllWithAContextThatEndsForAMoment(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		ctx := &momentary{Context: t.Context()}
		holds, err := AcquireAll(ctx, e.l)
		if holds != nil || !errors.Is(err, ErrCancelled) {
			t.Errorf("%v, %v; want ErrCancelled", holds, err)
		}
		if s := e.l.Stats(); s.Cancelled != 1 || s.Acquired != 0 {
			t.Errorf("%+v", s)
		}
		e.works()
	})
}

// momentary is a context that has ended when it is asked for the first time.
type momentary struct {
	context.Context
	asked bool
}

func (c *momentary) Err() error {
	if c.asked {
		return nil
	}
	c.asked = true
	return context.Canceled
}

// On error there are no holds.
func TestAllReturnsNoHoldsWithAnError(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		f := e.k.foreigner(t, locks[1].Path())
		f.lock(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if holds, err := AcquireAll(ctx, locks...); holds != nil || !errors.Is(err, ErrCancelled) {
			t.Errorf("%v, %v; want no holds", holds, err)
		}
		f.release()
		synctest.Wait()
	})
}

func TestFilesAreOrderedByVolumeFirst(t *testing.T) {
	order := []fileID{
		{1, [2]uint64{1, 1}}, {1, [2]uint64{1, 2}}, {1, [2]uint64{2, 0}}, {2, [2]uint64{0, 0}},
	}
	for i, a := range order {
		for j, b := range order {
			if got := a.compare(b); got != cmp.Compare(i, j) {
				t.Errorf("%v and %v: %d", a, b, got)
			}
		}
	}
}

func TestAllIsNotRefusedBecauseOfALostFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		h := e.try(locks[0])
		e.k.replace(locks[0].Path())
		holds := e.all(locks...)
		e.release(h)
		if err := holds.Release(); err != nil {
			t.Error(err)
		}

		h = e.try(locks[0])
		e.k.removeDir(filepath.Dir(locks[0].Path()))
		if _, err := AcquireAll(t.Context(), locks...); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want fs.ErrNotExist", err)
		}
		e.release(h)
	})
}

// A sidecar that was replaced has another place in the order: whenever it is
// replaced, all that was got is let go of before it is waited for anew.
func TestAllBeginsAgainWhenASidecarIsReplaced(t *testing.T) {
	for _, when := range []string{"before", "while it is tried", "while it is waited for", "while a thread is parked for somebody else"} {
		t.Run(when, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				locks := e.packs(3)
				moving, last := locks[1], locks[2]
				fresh := func() foreigner {
					e.k.replace(moving.Path())
					f := e.k.foreigner(t, moving.Path())
					f.lock(t)
					return f
				}
				old := e.k.foreigner(t, moving.Path())
				var f foreigner
				var a *acquiring
				var holds *Holds
				switch when {
				case "before":
					f = fresh()
					a, holds = e.acquiringAll(locks...)
				case "while it is tried":
					goOn := e.holdUp("try")
					a, holds = e.acquiringAll(moving, last)
					f = fresh()
					goOn()
				case "while it is waited for":
					old.lock(t)
					a, holds = e.acquiringAll(locks...)
					f = fresh()
					time.Sleep(watchInterval + 1)
				case "while a thread is parked for somebody else":
					old.lock(t)
					e.acquire(moving).givesUp()
					f = fresh()
					time.Sleep(pathCheckAge + 1)
					a, holds = e.acquiringAll(locks...)
				}
				// It waits for the new file, which comes last, and has the others, also
				// the one that it let go of and before which it has stepped aside.
				time.Sleep(2 * yieldPause)
				a.waits()
				checkTry(t, last, ErrBusy)
				f.release()
				a.succeeds()
				checkTry(t, moving, ErrBusy)
				if s := moving.Stats(); s.Reopened != 1 {
					t.Errorf("%+v", s)
				}
				if when != "before" && when != "while it is tried" {
					old.release()
				}
				synctest.Wait()
				if err := holds.Release(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestHoldsMarkAContext(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(3)
		holds := e.all(locks...)
		ctx := holds.Context(t.Context())
		elsewhere := make(chan error, 3)
		for _, l := range locks {
			go func() {
				_, err := l.Acquire(ctx)
				elsewhere <- err
			}()
			if err := <-elsewhere; !errors.Is(err, ErrReentrant) {
				t.Errorf("%v, want ErrReentrant", err)
			}
		}
		if err := holds.Release(); err != nil {
			t.Error(err)
		}
	})
}

// A release that fails is no hindrance to the others.
func TestErrorsOfReleasingAllAreJoined(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(3)
		holds := e.all(locks...)
		e.release(holds[0])
		e.failNext("unlock", errBroken)
		if err := holds.Release(); !errors.Is(err, ErrReleased) || !errors.Is(err, errBroken) {
			t.Errorf("%v, want both errors", err)
		}
		e.free(locks...)

		// Also when it is AcquireAll that releases.
		f := e.k.foreigner(t, locks[2].Path())
		f.lock(t)
		a, _ := e.acquiringAll(locks...)
		e.failNext("unlock", errBroken)
		a.cancel()
		a.returns()
		if !errors.Is(a.err, ErrCancelled) || !errors.Is(a.err, errBroken) {
			t.Errorf("%v, want both errors", a.err)
		}
		f.release()
		synctest.Wait()
		e.free(locks...)
	})
}
