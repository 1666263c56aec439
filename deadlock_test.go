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
	ctx   context.Context
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
					time.Sleep(circleTime + 1)
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
			e.release(knights[0].hold)
			knights[0].hold = e.try(e.packs(4)[3]) // for the knight to release
		}},
		{"a holder that waits for something else", func(e *engine, knights []*knight, sit func(int)) {
			sit(0)
			sit(1)
			time.Sleep(time.Minute)
			knights[0].wants.waits()
			knights[1].wants.waits()
			sit(2) // ends the waiting: now it is a circle
			time.Sleep(2 * circleTime)
			if !errors.Is(knights[2].wants.err, ErrDeadlock) {
				e.Error(knights[2].wants.err)
			}
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
