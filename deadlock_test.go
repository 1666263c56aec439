package packlock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A knight has a pack and waits for the next one's.
type knight struct {
	wants *acquiring
	hold  *Hold
	next  chan *Lock
}

// ways are those in which a knight waits.
var ways = []struct {
	name    string
	acquire func(k *knight, l *Lock) (*Hold, error)
}{
	{"Acquire", func(k *knight, l *Lock) (*Hold, error) { return l.Acquire(context.Background()) }},
	{"AcquireBlocking", func(k *knight, l *Lock) (*Hold, error) { return l.AcquireBlocking() }},
	{"Do", func(k *knight, l *Lock) (*Hold, error) {
		return nil, l.Do(context.Background(), func(context.Context) error { return nil })
	}},
	{"AcquireAll", func(k *knight, l *Lock) (*Hold, error) {
		holds, err := AcquireAll(context.Background(), l)
		if err != nil {
			return nil, err
		}
		return holds[0], nil
	}},
	{"the context of the hold", func(k *knight, l *Lock) (h *Hold, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			h, err = l.Acquire(k.hold.Context(context.Background()))
		}()
		<-done
		return h, err
	}},
}

// round seats n knights, each of which has a pack. Told by sit, the ith waits for
// the pack of the next one, and in the end releases what it has.
func (e *engine) round(n int, acquire func(k *knight, l *Lock) (*Hold, error)) (knights []*knight, sit func(i int)) {
	locks := e.packs(n)
	for i := range n {
		k := &knight{next: make(chan *Lock)}
		seated := make(chan struct{})
		k.wants = &acquiring{e: e, done: make(chan struct{})}
		go func() {
			defer close(k.wants.done)
			k.hold = e.try(locks[i])
			close(seated)
			k.wants.hold, k.wants.err = acquire(k, <-k.next)
			if k.wants.hold != nil {
				k.wants.hold.Release()
			}
			e.release(k.hold)
		}()
		<-seated
		knights = append(knights, k)
	}
	return knights, func(i int) {
		knights[i].next <- locks[(i+1)%n]
		synctest.Wait()
	}
}

// The youngest in a circle fails, once it has stood for a while, and the others go
// on.
func TestCircleIsBroken(t *testing.T) {
	for _, way := range ways {
		for _, n := range []int{2, 3, 10} {
			t.Run(fmt.Sprintf("%s, %d goroutines", way.name, n), func(t *testing.T) {
				onFake(t, func(t *testing.T, e *engine) {
					knights, sit := e.round(n, way.acquire)
					for i := range n {
						sit(i)
						time.Sleep(time.Millisecond)
					}
					youngest := knights[n-1]
					time.Sleep(circleTime - time.Millisecond - 1)
					for _, k := range knights {
						k.wants.waits()
					}
					time.Sleep(time.Nanosecond)
					youngest.wants.returns() // as soon as it has stood for long enough
					for i, k := range knights {
						<-k.wants.done
						if broken := errors.Is(k.wants.err, ErrDeadlock); broken != (k == youngest) {
							t.Errorf("knight %d: %v", i, k.wants.err)
						}
					}
				})
			})
		}
	}
}

// It does not matter who comes last.
func TestCircleIsBrokenWhoeverClosesIt(t *testing.T) {
	for last := range 3 {
		onFake(t, func(t *testing.T, e *engine) {
			knights, sit := e.round(3, ways[0].acquire)
			for i := range 3 {
				if i != last {
					sit(i)
				}
			}
			time.Sleep(time.Hour) // and how long the others have waited
			for i, k := range knights {
				if i != last {
					k.wants.waits()
				}
			}
			sit(last)
			time.Sleep(2 * circleTime)
			for i, k := range knights {
				<-k.wants.done
				if broken := errors.Is(k.wants.err, ErrDeadlock); broken != (i == last) {
					t.Errorf("%d of 3, the last is %d: %v", i, last, k.wants.err)
				}
			}
		})
	}
}

// What looks like a circle and is none, and what was one.
func TestWhatIsNoCircleIsLeftAlone(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(e *engine, knights []*knight, sit func(int))
	}{
		{"a hold that was detached", func(e *engine, knights []*knight, sit func(int)) {
			knights[0].hold.Detach()
			sit(0)
			sit(1)
			sit(2)
			time.Sleep(time.Minute)
			for _, k := range knights {
				k.wants.waits()
			}
			first := knights[0].hold
			knights[0].hold = e.try(e.packs(4)[3]) // for the knight to release
			e.release(first)
		}},
		{"a holder that waits for something else", func(e *engine, knights []*knight, sit func(int)) {
			sit(0)
			sit(1)
			time.Sleep(time.Minute)
			knights[0].wants.waits()
			knights[1].wants.waits()
			sit(2) // ends the waiting: now it is a circle
			time.Sleep(2 * circleTime)
			knights[2].wants.failed(ErrDeadlock)
			knights[2].wants.err = nil
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				knights, sit := e.round(3, ways[0].acquire)
				row.do(e, knights, sit)
				for i, k := range knights {
					<-k.wants.done
					if k.wants.err != nil {
						t.Errorf("knight %d: %v", i, k.wants.err)
					}
				}
			})
		})
	}
}

// Nor does the context of a hold that was detached close a circle: it belongs to
// nobody.
func TestContextOfADetachedHoldClosesNoCircle(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		detached := e.try(locks[0])
		ctx := detached.Context(t.Context())
		detached.Detach()
		held := make(chan *Hold)
		var waits *acquiring
		go func() {
			h := e.try(locks[1])
			waits = &acquiring{e: e, done: make(chan struct{})}
			held <- h
			waits.hold, waits.err = locks[0].Acquire(t.Context())
			close(waits.done)
		}()
		h := <-held
		under := e.start(func(context.Context) (*Hold, error) { return locks[1].Acquire(ctx) })
		time.Sleep(time.Minute)
		waits.waits()
		under.waits()
		e.release(detached)
		e.release(waits.got())
		e.release(h)
		e.release(under.got())
	})
}

// A circle that was found is none any more when it is to be broken: nobody fails.
func TestCircleThatHasEndedIsNotBroken(t *testing.T) {
	nothing := func() {}
	for name, end := range map[string]func(e *engine, circle []wait) (goOn func()){
		"the first hold is detached": func(e *engine, circle []wait) func() {
			circle[0].on.hold.Detach()
			return nothing
		},
		"the last hold is detached": func(e *engine, circle []wait) func() {
			circle[1].on.hold.Detach()
			return nothing
		},
		"a hold is being released": func(e *engine, circle []wait) func() {
			goOn := e.holdUp("unlock")
			go circle[0].on.hold.Release()
			return goOn
		},
		"the waiters serve other acquires": func(e *engine, circle []wait) func() {
			for i := range circle {
				circle[i].hold = &Hold{}
			}
			return nothing
		},
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				locks := e.packs(2)
				ctx, cancel := context.WithCancel(t.Context())
				var both sync.WaitGroup
				errs := make([]error, 2)
				for i := range 2 {
					both.Go(func() {
						h := e.try(locks[i])
						time.Sleep(time.Nanosecond)
						var h2 *Hold
						if h2, errs[i] = locks[1-i].Acquire(ctx); h2 != nil {
							h2.Release()
						}
						h.Release() // it may have been
					})
				}
				time.Sleep(circleTime)
				e.reg.mu.Lock()
				circle := findCircle(e.reg.waitedForLocked(now() + 1))
				e.reg.mu.Unlock()
				if len(circle) != 2 {
					t.Fatalf("%d waits in the circle", len(circle))
				}
				goOn := end(e, circle)
				synctest.Wait()
				e.reg.mu.Lock()
				breakCircleLocked(circle)
				e.reg.mu.Unlock()
				synctest.Wait()
				goOn()
				cancel()
				both.Wait()
				for _, err := range errs {
					if err != nil && !errors.Is(err, ErrCancelled) {
						t.Error(err)
					}
				}
			})
		})
	}
}

// What a hold's context is used for after the hold was detached belongs to nobody.
func TestContextOfADetachedHoldClosesNoCircleEither(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		knights, sit := e.round(2, ways[len(ways)-1].acquire)
		knights[0].hold.Detach()
		sit(0)
		sit(1)
		time.Sleep(time.Minute)
		for _, k := range knights {
			k.wants.waits()
		}
		first := knights[0].hold
		knights[0].hold = e.try(e.packs(3)[2]) // for the knight to release
		e.release(first)
		for _, k := range knights {
			<-k.wants.done
		}
	})
}

// A search that took its time is followed by a rest. What it leaves undone is done
// after that.
func TestCircleIsBrokenAfterTheRestOfASearch(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.reg.restsUntil = now() + int64(circleTime+circleTime/2)
		knights, sit := e.round(2, ways[0].acquire)
		sit(0)
		time.Sleep(time.Nanosecond)
		sit(1)
		time.Sleep(circleTime + circleTime/2 - 1)
		for _, k := range knights {
			k.wants.waits()
		}
		time.Sleep(circleTime)
		for _, k := range knights {
			<-k.wants.done
		}
		if err := knights[1].wants.err; !errors.Is(err, ErrDeadlock) {
			t.Error(err)
		}
	})
}

func TestSearchIsFollowedByARest(t *testing.T) {
	r := newRegistry(newFakeKernel())
	for i := range 1000 {
		l, err := r.openFile(fakeAbs(fmt.Sprintf("/packs/%d/.grex-lock", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	for range 1000 { // the processor may be somebody else's in between
		r.restsUntil = 0
		r.breakCircles(now())
		if r.restsUntil > now() {
			return
		}
	}
	t.Error("no search was")
}

// The watch comes by less often once it has been found that there is no circle, and
// where the hold belongs to nobody.
func TestWatchSlowsDown(t *testing.T) {
	for _, detached := range []bool{false, true} {
		onFake(t, func(t *testing.T, e *engine) {
			held := make(chan *Hold)
			go func() { held <- e.try(e.l) }()
			h := <-held
			if detached {
				h.Detach()
			}
			a := e.acquire(e.l)
			time.Sleep(4 * circleTime)
			entry := e.l.entry.Load()
			entry.mu.Lock()
			pace := entry.watch.pace
			entry.mu.Unlock()
			if pace != slow {
				t.Errorf("detached %t: pace %d", detached, pace)
			}
			a.givesUp()
			e.release(h)
		})
	}
}

// Where the hold is another one each time the watch comes by, nothing is searched for.
func TestNoSearchWhereTheLockGoesRound(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		const never = -1
		e.reg.restsUntil = never
		h := e.try(e.l)
		for range 20 {
			a := e.acquire(e.l)
			time.Sleep(circleTime / 2)
			e.release(h)
			h = a.got()
		}
		if e.reg.restsUntil != never {
			t.Error("there was a search")
		}
		e.release(h)
	})
}

// One in the circle is cancelled before it has stood for long enough.
func TestCircleThatIsCancelledIsNoDeadlock(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		ctx, cancel := context.WithTimeout(t.Context(), circleTime/2)
		defer cancel()
		var both sync.WaitGroup
		errs := make([]error, 2)
		held := make(chan struct{}, 2)
		for i := range 2 {
			both.Go(func() {
				h := e.try(locks[i])
				held <- struct{}{}
				for len(held) < 2 {
					time.Sleep(time.Microsecond)
				}
				wait := t.Context()
				if i == 0 {
					wait = ctx
				}
				var h2 *Hold
				if h2, errs[i] = locks[1-i].Acquire(wait); h2 != nil {
					h2.Release()
				}
				e.release(h)
			})
		}
		both.Wait()
		if !errors.Is(errs[0], ErrCancelled) || errs[1] != nil {
			t.Error(errs)
		}
	})
}

// Goroutines that take packs in any order, several at a time, all come to an end.
func TestRandomCirclesAreBroken(t *testing.T) {
	for seed := range uint64(20) {
		onFake(t, func(t *testing.T, e *engine) {
			const goroutines, packs, rounds = 12, 5, 10
			locks := e.packs(packs)
			var all sync.WaitGroup
			broken := make(chan struct{}, goroutines*rounds*100)
			for g := range goroutines {
				random := rand.New(rand.NewPCG(seed, uint64(g)))
				all.Go(func() {
					for range rounds {
						for !acquireSome(t, random, locks) {
							broken <- struct{}{}
						}
					}
				})
			}
			all.Wait()
			t.Logf("seed %d: %d circles", seed, len(broken))
			e.free(locks...)
		})
	}
}

// acquireSome acquires up to three packs, one after the other, and releases them. It
// reports whether it got them.
func acquireSome(t *testing.T, random *rand.Rand, locks []*Lock) bool {
	var holds Holds
	defer func() {
		if err := holds.Release(); err != nil {
			t.Error(err)
		}
	}()
	for _, i := range random.Perm(len(locks))[:1+random.IntN(3)] {
		h, err := locks[i].Acquire(context.Background())
		if errors.Is(err, ErrDeadlock) {
			return false
		}
		if err != nil {
			t.Error(err)
			return true
		}
		holds = append(holds, h)
		time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond)
	}
	return true
}
