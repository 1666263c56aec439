package packlock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
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

// acquiringAll starts an AcquireAll on a goroutine of its own.
func (e *engine) acquiringAll(locks ...*Lock) (a *acquiring, holds *Holds) {
	holds = new(Holds)
	return e.start(func(ctx context.Context) (*Hold, error) {
		var err error
		*holds, err = AcquireAll(ctx, locks...)
		return nil, err
	}), holds
}

// free checks that none of the locks is held.
func (e *engine) free(locks ...*Lock) {
	e.Helper()
	for _, l := range locks {
		e.release(e.try(l))
	}
}

// AcquireAll acquires the locks in the order of their files' identities, whatever the order
// of its arguments. Release releases them in reverse.
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
				t.Errorf("%v: released, in reverse, %v", order, unlocked)
			}
			if err := holds.Release(); !errors.Is(err, ErrReleased) {
				t.Errorf("%v, want ErrReleased", err)
			}
		}
	})
}

// AcquireAll of no locks succeeds and returns no holds.
func TestAllOfNoLocks(t *testing.T) {
	if holds, err := AcquireAll(t.Context()); len(holds) != 0 || err != nil {
		t.Error(holds, err)
	}
}

// AcquireAll that fails has released all that it had acquired, and its error has the path of
// the lock that failed.
func TestAllOrNothing(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(e *engine, a *acquiring, last *Lock)
		want error
	}{
		"cancelled": {func(e *engine, a *acquiring, last *Lock) { a.cancel() }, ErrCancelled},
		"closed":    {func(e *engine, a *acquiring, last *Lock) { last.Close() }, fs.ErrClosed},
		"directory missing": {func(e *engine, a *acquiring, last *Lock) {
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
					t.Errorf("%v, want the path %s", a.err, locks[2].Path())
				}
				e.free(locks[:2]...)
				f.release()
				synctest.Wait()
			})
		})
	}
}

// A context whose methods panic, at any of their calls, leaves none of the locks held.
func TestPanicOfAContextLeavesNoneOfAllHeld(t *testing.T) {
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

// AcquireAll refuses duplicate locks, locks that the caller holds, and an ended context before
// it acquires anything.
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
		e.called("try", tries+1) // by elsewhere
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

// AcquireAll checks the path of a lock that the caller holds. If the check fails, it returns
// the error of the check.
func TestErrorOfThePathCheckOfAll(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		time.Sleep(pathCheckAge + 1)
		e.failNext("sameAt", errBroken)
		if _, err := AcquireAll(t.Context(), e.l); !errors.Is(err, errBroken) {
			t.Errorf("%v, want %v", err, errBroken)
		}
		e.release(h)
	})
}

// If the file is replaced each time that AcquireAll tries it, AcquireAll fails with ErrLost in
// the end.
func TestAllStartsAgainABoundedNumberOfTimes(t *testing.T) {
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

// AcquireAll waits in a queue and gets the turn, but the file was replaced, and the lock of
// the new file is held. AcquireAll leaves the old queue and enters the new one once.
func TestAllStartsAgainFromTheQueue(t *testing.T) {
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
		h, err := e.l.acquire(t.Context(), parking, false, other.entry())
		if h != nil || !errors.Is(err, errMoved) {
			t.Errorf("%v, %v; want errMoved", h, err)
		}
		e.called("try", tries)
		e.close(other)
		e.works()
	})
}

// The context of AcquireAll reports its end once and not again. No hold is lost by that.
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

// momentary is a context whose first Err returns an error, and whose later ones return nil.
type momentary struct {
	context.Context
	called bool
}

func (c *momentary) Err() error {
	if c.called {
		return nil
	}
	c.called = true
	return context.Canceled
}

// AcquireAll returns no holds with an error.
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

// File identities are ordered by volume first.
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

// A hold of a lost file does not make AcquireAll fail with ErrReentrant.
func TestAllIsNotRefusedBecauseOfALostFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		h := e.try(locks[0])
		time.Sleep(pathCheckAge + 1)
		e.k.replace(locks[0].Path())
		holds := e.all(locks...)
		e.release(h)
		if err := holds.Release(); err != nil {
			t.Error(err)
		}

		h = e.try(locks[0])
		time.Sleep(pathCheckAge + 1)
		e.k.removeDir(filepath.Dir(locks[0].Path()))
		if _, err := AcquireAll(t.Context(), locks...); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want fs.ErrNotExist", err)
		}
		e.release(h)
	})
}

// A lock file that was replaced has a different place in the order. Whenever it is replaced,
// AcquireAll releases all that it has acquired, and starts again in the new order.
func TestAllStartsAgainWhenALockFileIsReplaced(t *testing.T) {
	for _, when := range []string{"before", "while it is tried", "while it is waited for", "while a thread is parked for a different acquire"} {
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
				case "while a thread is parked for a different acquire":
					old.lock(t)
					e.acquire(moving).givesUp()
					f = fresh()
					time.Sleep(pathCheckAge + 1)
					a, holds = e.acquiringAll(locks...)
				}
				// AcquireAll waits for the new file, which comes last. It holds the others,
				// including the one that it released and yielded before.
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

// An acquire of any of the locks, with a context that their Holds have marked, fails with
// ErrReentrant.
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

// If a release fails, the other locks are released nevertheless, and the errors are joined.
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

		// The same holds when AcquireAll releases the locks.
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

// contend has a goroutine hold first, and then wait for second, both until it has the latter.
func contend(t testing.TB, first, second *Lock) (done chan error) {
	t.Helper()
	done = make(chan error, 1)
	holds := make(chan struct{})
	go func() {
		h, err := first.Acquire(t.Context())
		close(holds)
		if err != nil {
			done <- err
			return
		}
		other, err := second.Acquire(t.Context())
		if err == nil {
			err = other.Release()
		}
		done <- errors.Join(err, h.Release())
	}()
	<-holds
	return done
}

// One wait may close several cycles. All of them are broken.
func TestCyclesThatOneWaitCloses(t *testing.T) {
	for range 30 { // the table of long waits has no order
		onFake(t, func(t *testing.T, e *engine) {
			packs := e.packs(2)
			h := e.try(e.l)
			bystander := e.acquire(e.l) // its alarm is set before those of the cycles
			time.Sleep(time.Millisecond)
			done := make(chan error, 1)
			go func() {
				holds, err := AcquireAll(t.Context(), packs...)
				if err != nil {
					done <- err
					return
				}
				other, err := e.l.Acquire(t.Context())
				if err == nil {
					err = other.Release()
				}
				done <- errors.Join(err, holds.Release())
			}()
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
			var under []*acquiring
			for _, l := range packs {
				under = append(under, e.start(func(ctx context.Context) (*Hold, error) { return l.Acquire(h.Context(ctx)) }))
			}
			time.Sleep(5 * deadlockAge)
			for _, a := range under {
				a.failed(ErrDeadlock)
			}
			e.release(h)
			e.release(bystander.got())
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// The goroutine of a hold waits elsewhere, and a goroutine under its context closes the cycle.
func TestCycleBesideTheHoldersOwnWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		packs := e.packs(2)
		held := make(chan *Hold)
		go func() { held <- e.try(packs[1]) }()
		elsewhere := <-held
		marked := make(chan context.Context)
		first := make(chan error, 1)
		go func() { // holds e.l, and waits for a pack whose holder waits for nothing
			h, err := e.l.Acquire(t.Context())
			if err != nil {
				t.Error(err)
			}
			marked <- h.Context(t.Context())
			other, err := packs[1].Acquire(t.Context())
			if err == nil {
				err = other.Release()
			}
			first <- errors.Join(err, h.Release())
		}()
		ctx := <-marked
		second := contend(t, packs[0], e.l)
		time.Sleep(time.Millisecond)
		under := e.start(func(context.Context) (*Hold, error) { return packs[0].Acquire(ctx) })
		time.Sleep(3 * deadlockAge)
		under.failed(ErrDeadlock)
		e.release(elsewhere)
		for _, done := range []chan error{first, second} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// A waiter that was entered in the table of long waits, is granted the turn, finds the file
// lost and queues at the new one is entered there, too.
func TestDeadlockAfterALongWaitersOwnMove(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		old := e.heldByOtherGoroutine()
		old.Detach()
		first := contend(t, other, e.l)
		time.Sleep(3 * deadlockAge)
		e.k.replace(fakePath)
		second := contend(t, e.open(fakePath), other)
		time.Sleep(2 * deadlockAge)
		e.release(old)
		time.Sleep(10 * deadlockAge)
		if err := <-second; !errors.Is(err, ErrDeadlock) {
			t.Errorf("%v, want ErrDeadlock", err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// A hold is released while a search is on its way back to it. The next holder waits for
// nothing, so there is no cycle any more.
func TestCycleThatEndsDuringTheSearch(t *testing.T) {
	reg, locks := manyPacks(t, 2)
	a, b := locks[0], locks[1]
	reg.long.mu.Lock()
	reg.long.searching = true // no other search
	reg.long.mu.Unlock()
	hold, err := a.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	ctx := hold.Context(t.Context())
	waiting := func(l *Lock, n int) {
		t.Helper()
		until(t, "a goroutine to wait", func() bool { return l.Stats().Waiting == n })
	}
	next := make(chan *Hold)
	go func() {
		h, err := a.Acquire(t.Context())
		if err != nil {
			t.Error(err)
		}
		next <- h
	}()
	waiting(a, 1)
	second := contend(t, b, a)
	waiting(a, 2)
	under := make(chan error, 1)
	go func() {
		h, err := b.Acquire(ctx)
		if err == nil {
			err = h.Release()
		}
		under <- err
	}()
	until(t, "the waits to be long", func() bool {
		reg.long.mu.Lock()
		defer reg.long.mu.Unlock()
		return len(reg.long.byOwner) == 3
	})
	b.entry().mu.Lock() // where the search waits, having read that a is held by hold
	all := make(chan bool)
	go func() { all <- a.entry().breakCycles() }()
	until(t, "the search to be at the second pack", func() bool {
		return slices.ContainsFunc(stacks(), func(s string) bool {
			return strings.Contains(s, "[sync.Mutex.Lock]:") && strings.Contains(s, ").breakCycles")
		})
	})
	release(t, hold)
	h := <-next
	b.entry().mu.Unlock()
	if <-all {
		t.Error("a cycle that ended was broken")
	}
	release(t, h)
	for _, done := range []chan error{second, under} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// There is one search at a time. An alarm that goes off meanwhile is set again for soon.
func TestOneSearchAtATime(t *testing.T) {
	var l longWaits
	const t0 = int64(5 * time.Second)
	if ok, _ := l.beginSearch(t0); !ok {
		t.Fatal("no search")
	}
	if ok, retry := l.beginSearch(t0); ok || retry >= deadlockAge/10 {
		t.Errorf("a second search: %t, retry in %v", ok, retry)
	}
	l.searchEnded(t0)
	l.budget.paidUntil = t0 + int64(searchWindow)
	if ok, retry := l.beginSearch(t0); ok || retry != deadlockAge {
		t.Errorf("a search beyond the budget: %t, retry in %v", ok, retry)
	}
}

// Many cycles through one hold are all broken by one search.
func TestManyCyclesThroughOneHold(t *testing.T) {
	const n = 200
	reg, locks := manyPacks(t, n+1)
	hub := locks[n]
	hold, err := hub.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	reg.long.mu.Lock()
	reg.long.searching = true // until all wait
	reg.long.mu.Unlock()
	ctx := hold.Context(t.Context())
	var others []chan error
	for _, l := range locks[:n] {
		others = append(others, contend(t, l, hub))
	}
	until(t, "all to wait for the hub", func() bool { return hub.Stats().Waiting == n })
	under := make(chan error, n)
	for _, l := range locks[:n] {
		go func() {
			h, err := l.Acquire(ctx)
			if err == nil {
				err = h.Release()
			}
			under <- err
		}()
	}
	until(t, "all to wait for long", func() bool {
		reg.long.mu.Lock()
		defer reg.long.mu.Unlock()
		return len(reg.long.byOwner) == 2*n
	})
	hub.entry().breakCycles()
	for range n {
		if err := <-under; !errors.Is(err, ErrDeadlock) {
			t.Errorf("%v, want ErrDeadlock", err)
		}
	}
	release(t, hold)
	for _, done := range others {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Two waits on behalf of one hold, for the same pack, are part of two cycles. One search
// breaks both.
func TestCyclesThatShareAWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		e.noSearch()
		h := e.try(e.l)
		marked := make(chan context.Context)
		goOn, releases := make(chan struct{}), make(chan struct{})
		own := make(chan error, 1)
		go func() { // holds other, and waits for e.l
			hold, err := other.Acquire(t.Context())
			if err != nil {
				t.Error(err)
			}
			marked <- hold.Context(t.Context())
			<-goOn
			_, err = e.l.Acquire(t.Context())
			<-releases // or the other cycle may end before it is broken
			own <- errors.Join(err, hold.Release())
		}()
		ctx := <-marked
		// On behalf of h, and so the first of the waits.
		first := e.start(func(ctx context.Context) (*Hold, error) { return other.Acquire(h.Context(ctx)) })
		time.Sleep(time.Millisecond)
		close(goOn)
		under := e.start(func(context.Context) (*Hold, error) { return e.l.Acquire(ctx) })
		time.Sleep(searchWindow / 2)
		other.entry().breakCycles()
		under.failed(ErrDeadlock)
		close(releases)
		if err := <-own; !errors.Is(err, ErrDeadlock) {
			t.Errorf("%v, want ErrDeadlock", err)
		}
		e.release(first.got())
		e.release(h)
	})
}
