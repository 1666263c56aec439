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

// A member of a cycle is a goroutine that holds a pack and waits for the next member's.
type member struct {
	hold *Hold
	next chan *Lock
	wait *acquiring // for the next member's pack
}

// ways are the ways in which a member waits.
var ways = []struct {
	name    string
	acquire func(m *member, l *Lock) (*Hold, error)
}{

	{"Acquire", func(m *member, l *Lock) (*Hold, error) { return l.Acquire(context.Background()) }},
	{"AcquireBlocking", func(m *member, l *Lock) (*Hold, error) { return l.AcquireBlocking() }},
	{"Do", func(m *member, l *Lock) (*Hold, error) {
		return nil, l.Do(context.Background(), func(context.Context) error { return nil })
	}},
	{"AcquireAll", func(m *member, l *Lock) (*Hold, error) {
		holds, err := AcquireAll(context.Background(), l)
		if err != nil {
			return nil, err
		}
		return holds[0], nil
	}},
	{"the context of the hold", func(m *member, l *Lock) (h *Hold, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			h, err = l.Acquire(m.hold.Context(context.Background()))
		}()
		<-done
		return h, err
	}},
}

// cycle starts n members, each of which holds a pack. After startWait(i), the ith member waits
// for the pack of the next one. When the wait ends, it releases all that it holds.
func (e *engine) cycle(n int, acquire func(m *member, l *Lock) (*Hold, error)) (members []*member, startWait func(i int)) {
	locks := e.packs(n)
	for i := range n {
		m := &member{next: make(chan *Lock)}
		holding := make(chan struct{})
		m.wait = &acquiring{e: e, done: make(chan struct{})}
		go func() {
			defer close(m.wait.done)
			m.hold = e.try(locks[i])
			close(holding)
			m.wait.hold, m.wait.err = acquire(m, <-m.next)
			if m.wait.hold != nil {
				m.wait.hold.Release()
			}
			e.release(m.hold)
		}()
		<-holding
		members = append(members, m)
	}
	return members, func(i int) {
		members[i].next <- locks[(i+1)%n]
		synctest.Wait()
	}
}

// A cycle that has stood for deadlockAge is broken: the wait that began last fails with
// ErrDeadlock, and the others succeed.
func TestCycleIsBroken(t *testing.T) {
	for _, way := range ways {
		for _, n := range []int{2, 3, 10} {
			t.Run(fmt.Sprintf("%s, %d goroutines", way.name, n), func(t *testing.T) {
				onFake(t, func(t *testing.T, e *engine) {
					members, startWait := e.cycle(n, way.acquire)
					for i := range n {
						startWait(i)
						time.Sleep(time.Millisecond)
					}
					last := members[n-1]
					time.Sleep(deadlockAge - time.Millisecond - 1)
					for _, m := range members {
						m.wait.waits()
					}
					time.Sleep(time.Nanosecond)
					last.wait.returns() // as soon as the cycle has stood for long enough
					for i, m := range members {
						<-m.wait.done
						if broken := errors.Is(m.wait.err, ErrDeadlock); broken != (m == last) {
							t.Errorf("member %d: %v", i, m.wait.err)
						}
					}
				})
			})
		}
	}
}

// A cycle is broken whichever of its waits begins last.
func TestCycleIsBrokenWhicheverWaitClosesIt(t *testing.T) {
	for last := range 3 {
		onFake(t, func(t *testing.T, e *engine) {
			members, startWait := e.cycle(3, ways[0].acquire)
			for i := range 3 {
				if i != last {
					startWait(i)
				}
			}
			time.Sleep(time.Hour) // however long the others have waited
			for i, m := range members {
				if i != last {
					m.wait.waits()
				}
			}
			startWait(last)
			time.Sleep(2 * deadlockAge)
			for i, m := range members {
				<-m.wait.done
				if broken := errors.Is(m.wait.err, ErrDeadlock); broken != (i == last) {
					t.Errorf("member %d of 3, the last is %d: %v", i, last, m.wait.err)
				}
			}
		})
	}
}

// Waits that form no cycle go on.
func TestWaitsThatFormNoCycleGoOn(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(e *engine, members []*member, startWait func(int))
	}{
		{"a hold is detached", func(e *engine, members []*member, startWait func(int)) {
			members[0].hold.Detach()
			startWait(0)
			startWait(1)
			startWait(2)
			time.Sleep(time.Minute)
			for _, m := range members {
				m.wait.waits()
			}
			first := members[0].hold
			members[0].hold = e.try(e.packs(4)[3]) // for the member to release
			e.release(first)
		}},
		{"a holder does not wait", func(e *engine, members []*member, startWait func(int)) {
			startWait(0)
			startWait(1)
			time.Sleep(time.Minute)
			members[0].wait.waits()
			members[1].wait.waits()
			startWait(2) // now it is a cycle
			time.Sleep(2 * deadlockAge)
			members[2].wait.failed(ErrDeadlock)
			members[2].wait.err = nil
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				members, startWait := e.cycle(3, ways[0].acquire)
				row.do(e, members, startWait)
				for i, m := range members {
					<-m.wait.done
					if m.wait.err != nil {
						t.Errorf("member %d: %v", i, m.wait.err)
					}
				}
			})
		})
	}
}

// A detached hold belongs to no goroutine. A wait under its context closes no cycle, even if
// the context was made before the hold was detached.
func TestContextMadeBeforeDetachClosesNoCycle(t *testing.T) {
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

// noSearch stops the watch from searching for deadlocks for the next searchWindow.
func (e *engine) noSearch() {
	e.reg.long.mu.Lock()
	defer e.reg.long.mu.Unlock()
	e.reg.long.budget.paidUntil = now() + int64(searchWindow)
}

// A cycle that was found may have ended before it is broken. Then no acquire fails.
func TestCycleThatHasEndedIsNotBroken(t *testing.T) {
	nothing := func() {}
	for name, end := range map[string]func(e *engine, cycle []waitEdge) (goOn func()){
		"the first hold is detached": func(e *engine, cycle []waitEdge) func() {
			cycle[0].entry.hold.Detach()
			return nothing
		},
		"the last hold is detached": func(e *engine, cycle []waitEdge) func() {
			cycle[1].entry.hold.Detach()
			return nothing
		},
		"a hold is being released": func(e *engine, cycle []waitEdge) func() {
			goOn := e.holdUp("unlock")
			go cycle[0].entry.hold.Release()
			return goOn
		},
		"a waiter is about to be woken": func(e *engine, cycle []waitEdge) func() {
			w := cycle[1].waiter
			cycle[1].entry.mu.Lock()
			cycle[1].entry.queue.remove(w)
			cycle[1].entry.mu.Unlock()
			return func() { deliverError([]*waiter{w}, ErrCancelled) }
		},
		"the waiters serve other acquires": func(e *engine, cycle []waitEdge) func() {
			for i := range cycle {
				other := *cycle[i].longWait
				other.hold = &Hold{}
				cycle[i].longWait = &other
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
				e.noSearch()
				for i := range 2 {
					both.Go(func() {
						h := e.try(locks[i])
						time.Sleep(time.Nanosecond)
						var h2 *Hold
						if h2, errs[i] = locks[1-i].Acquire(ctx); h2 != nil {
							h2.Release()
						}
						h.Release() // it may have been released already
					})
				}
				time.Sleep(deadlockAge + 1)
				synctest.Wait()
				var cycle []waitEdge
				for _, l := range locks {
					on := l.entry()
					e.reg.long.mu.Lock()
					cycle = append(cycle, waitEdge{e.reg.long.byOwner[on.queue.sentinel.next.owner], on})
					e.reg.long.mu.Unlock()
				}
				goOn := end(e, cycle)
				synctest.Wait()
				if e.reg.breakCycle(cycle) != nil {
					t.Error("the cycle was broken")
				}
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

// A wait under a context that was made after the hold was detached closes no cycle, either.
func TestContextMadeAfterDetachClosesNoCycle(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		members, startWait := e.cycle(2, ways[len(ways)-1].acquire)
		members[0].hold.Detach()
		startWait(0)
		startWait(1)
		time.Sleep(time.Minute)
		for _, m := range members {
			m.wait.waits()
		}
		first := members[0].hold
		members[0].hold = e.try(e.packs(3)[2]) // for the member to release
		e.release(first)
		for _, m := range members {
			<-m.wait.done
		}
	})
}

// A wait on behalf of several holds closes a cycle through any of them, and a cycle may go
// through any of several waits on behalf of a hold.
func TestDeadlockThroughAnyHoldOfAContext(t *testing.T) {
	for _, which := range []int{0, 1, 2} {
		onFake(t, func(t *testing.T, e *engine) {
			locks := e.packs(5)
			holds := Holds{e.try(locks[0]), e.try(locks[1]), e.try(locks[2])}
			// A different goroutine holds locks[3] and waits for one of holds.
			waits := &acquiring{e: e, done: make(chan struct{})}
			held := make(chan *Hold)
			go func() {
				defer close(waits.done)
				h := e.try(locks[3])
				held <- h
				if waits.hold, waits.err = locks[which].Acquire(t.Context()); waits.hold != nil {
					waits.hold.Release()
				}
				h.Release()
			}()
			<-held
			elsewhere := e.k.foreigner(t, locks[4].Path())
			elsewhere.lock(t)
			under := func(l *Lock) *acquiring {
				return e.start(func(ctx context.Context) (*Hold, error) { return l.Acquire(holds.Context(ctx)) })
			}
			bystanders := []*acquiring{under(locks[4]), under(locks[4])}
			time.Sleep(time.Nanosecond)
			closes := under(locks[3])
			bystanders = append(bystanders, under(locks[4]))
			time.Sleep(2 * deadlockAge)
			closes.failed(ErrDeadlock)
			for _, a := range bystanders {
				a.waits()
				a.givesUp()
			}
			waits.waits()
			e.release(holds[which])
			waits.succeeds()
			for i, h := range holds {
				if i != which {
					e.release(h)
				}
			}
			elsewhere.release()
			synctest.Wait()
		})
	}
}

// A waiter that moves to a different file may close a cycle there, long after it began to
// wait.
func TestDeadlockThatAMoveCloses(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		elsewhere := e.lockedElsewhere()
		holding, second := make(chan struct{}), make(chan *Lock)
		first, closes := &acquiring{e: e, done: make(chan struct{})}, &acquiring{e: e, done: make(chan struct{})}
		go func() { // holds other, and waits for the old file
			defer close(first.done)
			h := e.try(other)
			close(holding)
			var h2 *Hold
			if h2, first.err = e.l.Acquire(t.Context()); h2 != nil {
				h2.Release()
			}
			h.Release()
		}()
		<-holding
		time.Sleep(watchInterval / 2)
		e.k.replace(fakePath)
		go func() { // holds the new file, and waits for other
			defer close(closes.done)
			h := e.try(<-second)
			var h2 *Hold
			if h2, closes.err = other.Acquire(t.Context()); h2 != nil {
				h2.Release()
			}
			h.Release()
		}()
		second <- e.open(fakePath)
		time.Sleep(watchInterval/2 + 2*deadlockAge)
		<-first.done
		<-closes.done
		if first.err != nil || !errors.Is(closes.err, ErrDeadlock) {
			t.Errorf("%v and %v, want ErrDeadlock of the second", first.err, closes.err)
		}
		elsewhere.release()
		synctest.Wait()
	})
}

// A search that the budget does not allow is made later, when the budget allows it.
func TestCycleIsBrokenWhenTheBudgetAllowsIt(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		members, startWait := e.cycle(2, ways[0].acquire)
		startWait(0)
		e.noSearch()
		time.Sleep(time.Nanosecond)
		startWait(1)
		time.Sleep(searchWindow - 2*time.Nanosecond)
		for _, m := range members {
			m.wait.waits()
		}
		time.Sleep(2 * deadlockAge)
		for _, m := range members {
			<-m.wait.done
		}
		if err := members[1].wait.err; !errors.Is(err, ErrDeadlock) {
			t.Error(err)
		}
	})
}

// The budget allows a burst of searches, then one in searchShare of the time. Neither a
// stop of the process during a search nor a different clock uses it up.
func TestSearchesTakeAShareOfTheTime(t *testing.T) {
	const ms = int64(time.Millisecond)
	type step struct {
		at      int64
		allowed bool
		took    int64 // of the search, if allowed
	}
	for name, steps := range map[string][]step{
		"a burst": {{5000 * ms, true, 50 * ms}, {5050 * ms, true, 50 * ms}, {5100 * ms, true, 20 * ms}, {5120 * ms, false, 0}, {5199 * ms, false, 0}, {5200 * ms, true, 0}},
		"one after another": {
			{5000 * ms, true, 100 * ms}, {5100 * ms, true, 10 * ms}, {5110 * ms, true, 10 * ms}, {5120 * ms, false, 0}, {5200 * ms, true, 2 * ms},
			{5219 * ms, false, 0}, {5220 * ms, true, 0},
		},
		"a stop of the process": {{5000 * ms, true, 60_000 * ms}, {5999 * ms, false, 0}, {6000 * ms, true, 0}},
		"into a bubble and back": {
			{5000 * ms, true, 60_000 * ms}, {-1 << 60, true, 60_000 * ms}, {-1<<60 + 999*ms, false, 0}, {-1<<60 + 1000*ms, true, 60_000 * ms},
			{6000 * ms, true, 10 * ms}, {6001 * ms, true, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b searchBudget
			for i, s := range steps {
				if got := b.allows(s.at); got != s.allowed {
					t.Errorf("step %d: allowed %t", i, got)
				}
				if s.allowed {
					b.spend(s.at, time.Duration(s.took))
				}
			}
		})
	}
}

// The alarm for deadlocks is set once for a waiter, and not again when the waiter is in the
// table.
func TestAlarmForDeadlocksGoesQuiet(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByOtherGoroutine()
		a := e.acquire(e.l)
		entry := e.l.entry()
		set := func() (uint64, bool) {
			entry.mu.Lock()
			defer entry.mu.Unlock()
			return entry.deadlockAlarm.set, entry.deadlockAlarm.isSet
		}
		if _, isSet := set(); !isSet {
			t.Error("not set for the first waiter")
		}
		time.Sleep(time.Minute)
		if n, isSet := set(); n != 1 || isSet {
			t.Errorf("set %d times, still set: %t", n, isSet)
		}
		a.givesUp()
		e.release(h)
	})
}

// Short waits are never entered in the table. Long waits are, and leave it when they end.
func TestTableOfLongWaits(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		entered := func(want int) {
			t.Helper()
			e.reg.long.mu.Lock()
			defer e.reg.long.mu.Unlock()
			if n := len(e.reg.long.byOwner); n != want {
				t.Errorf("%d waits in the table, want %d", n, want)
			}
			if n := len(e.reg.long.byMark); n != want {
				t.Errorf("%d marked waits in the table, want %d", n, want)
			}
		}
		mark := e.try(e.packs(1)[0])
		marked := func() *acquiring {
			return e.start(func(ctx context.Context) (*Hold, error) { return e.l.Acquire(mark.Context(ctx)) })
		}
		h := e.heldByOtherGoroutine()
		for range 20 {
			a := marked()
			time.Sleep(deadlockAge / 2)
			e.release(h)
			h = a.got()
			entered(0)
		}
		a := marked()
		time.Sleep(2 * deadlockAge)
		entered(1)
		a.givesUp()
		entered(0)
		a = marked()
		time.Sleep(2 * deadlockAge)
		e.release(h)
		e.release(a.got())
		entered(0)
		e.release(mark)
	})
}

// A cycle is no deadlock if one of its waits is cancelled in time.
func TestCycleThatIsCancelledIsNoDeadlock(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		ctx, cancel := context.WithTimeout(t.Context(), deadlockAge/2)
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

// Goroutines that acquire several packs each, in any order, all finish, and no deadlock stands
// for long. Some wait on behalf of holds of other goroutines.
func TestRandomCyclesAreBroken(t *testing.T) {
	for seed := range uint64(20) {
		onFake(t, func(t *testing.T, e *engine) {
			const goroutines, packs, rounds = 12, 5, 10
			locks := e.packs(packs)
			var all sync.WaitGroup
			broken := make(chan struct{}, goroutines*rounds*100)
			start := time.Now()
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
			// Without a deadlock, a round takes less than 3 × 10 ms × goroutines.
			atMost := time.Duration(len(broken))*3*deadlockAge + goroutines*rounds*30*time.Millisecond
			if took := time.Since(start); took > atMost {
				t.Errorf("seed %d: %d deadlocks in %v, want %v at most", seed, len(broken), took, atMost)
			}
			e.free(locks...)
		})
	}
}

// acquireSome acquires up to three packs, one after the other, and releases them. It reports
// whether it could acquire them without a deadlock.
func acquireSome(t *testing.T, random *rand.Rand, locks []*Lock) bool {
	var holds Holds
	defer func() {
		if err := holds.Release(); err != nil {
			t.Error(err)
		}
	}()
	for _, i := range random.Perm(len(locks))[:1+random.IntN(3)] {
		acquire := locks[i].Acquire
		if random.IntN(3) == 0 {
			acquire = func(ctx context.Context) (h *Hold, err error) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					h, err = locks[i].Acquire(ctx)
				}()
				<-done
				return h, err
			}
		}
		h, err := acquire(holds.Context(context.Background()))
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

// The tests of this file were written for mutations that no other test noticed.

// chain is a goroutine that holds one pack and then waits for another.
type chain struct {
	*acquiring
	hold *Hold // of the first
	next chan *Lock
}

// holding returns a goroutine that holds l. Told by waitFor, it waits for a different
// pack, and in the end releases what it has.
func (e *engine) holding(l *Lock) *chain {
	e.Helper()
	c := &chain{acquiring: &acquiring{e: e, done: make(chan struct{})}, next: make(chan *Lock)}
	held := make(chan struct{})
	go func() {
		defer close(c.done)
		c.hold = e.try(l)
		close(held)
		c.acquiring.hold, c.err = (<-c.next).Acquire(context.Background())
		if c.acquiring.hold != nil {
			c.acquiring.hold.Release()
			c.acquiring.hold = nil
		}
		e.release(c.hold)
	}()
	<-held
	return c
}

func (c *chain) waitFor(l *Lock) {
	c.next <- l
	synctest.Wait()
}

// A search for deadlocks uses up some of the budget.
func TestSearchUsesTheBudget(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByOtherGoroutine()
		a := e.acquire(e.l)
		time.Sleep(deadlockAge)
		synctest.Wait()
		e.reg.long.mu.Lock()
		paid := e.reg.long.budget.paidUntil
		e.reg.long.mu.Unlock()
		if want := now() - int64(searchWindow); paid != want {
			t.Errorf("paid until %d, want %d", paid, want)
		}
		e.release(h)
		e.release(a.got())
	})
}

// Time without a search counts for searchWindow and no more.
func TestBudgetIsNotSavedUp(t *testing.T) {
	const ms = int64(time.Millisecond)
	var b searchBudget
	b.spend(5000*ms, time.Millisecond)
	b.spend(60_000*ms, 200*time.Millisecond)
	if b.allows(60_200 * ms) {
		t.Error("a minute was saved up")
	}
	if !b.allows(61_000 * ms) {
		t.Error("a search is not allowed after searchWindow")
	}
}

// endsAndPanics is a context that panics when it is asked for the second time after its
// end.
type endsAndPanics struct {
	context.Context
	mu    sync.Mutex
	ended bool
	asked int
}

func (c *endsAndPanics) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}

func (c *endsAndPanics) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		return nil
	}
	if c.asked++; c.asked > 1 {
		panic("in Err")
	}
	return context.Canceled
}

// panicking starts an Acquire of e.l whose context panics.
func (e *engine) panicking(ctx context.Context) *acquiring {
	return e.start(func(context.Context) (*Hold, error) {
		defer func() {
			if recover() == nil {
				e.Error("no panic")
			}
		}()
		return e.l.Acquire(ctx)
	})
}

// A waiter that has waited for long at one entry waits for long at another. That may
// close a cycle, too.
func TestDeadlockInASecondWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		f := e.lockedElsewhere()
		first := e.holding(other)
		first.waitFor(e.l)
		time.Sleep(2 * deadlockAge)
		e.k.replace(fakePath)
		second := e.holding(e.open(fakePath))
		second.waitFor(other)
		time.Sleep(2 * deadlockAge)
		first.waits()
		second.waits()
		e.failNext("blocked", errFileLost) // so that it moves by itself
		f.release()
		time.Sleep(2 * deadlockAge)
		second.failed(ErrDeadlock)
		first.succeeds()
	})
}

// Two waits on behalf of one hold each close a cycle, at the same time. Both cycles are
// broken, the second after a further deadlockAge if the first wait is still in the table.
func TestSearchBreaksAllCyclesOfAHold(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		h := e.try(locks[0])
		elsewhere := e.holding(locks[1])
		elsewhere.waitFor(locks[0])
		time.Sleep(2 * deadlockAge)
		under := func() *acquiring {
			return e.start(func(ctx context.Context) (*Hold, error) { return locks[1].Acquire(h.Context(ctx)) })
		}
		a, b := under(), under()
		time.Sleep(3 * deadlockAge)
		a.failed(ErrDeadlock)
		b.failed(ErrDeadlock)
		elsewhere.waits()
		e.release(h)
		elsewhere.succeeds()
	})
}

// A search that comes upon a cycle elsewhere breaks it, and ends.
func TestSearchBreaksACycleElsewhere(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(3)
		e.noSearch()
		var all []*chain
		for _, l := range locks {
			all = append(all, e.holding(l))
		}
		for i, next := range []int{1, 0, 0} {
			all[i].waitFor(locks[next])
		}
		time.Sleep(2 * deadlockAge)
		if !locks[2].entry().breakCycles() {
			t.Error("the cycle was not broken")
		}
		for _, c := range all {
			<-c.done
		}
	})
}

// A search visits each entry once, however many ways lead there.
func TestSearchVisitsEachEntryOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.noSearch()
		locks := e.packs(2 * 32)
		var holds []*Hold
		for _, l := range locks {
			holds = append(holds, e.try(l))
		}
		var all []*acquiring
		for i := range len(locks) - 2 { // two waits for each of the next two
			for _, l := range locks[i/2*2+2:][:2] {
				all = append(all, e.start(func(ctx context.Context) (*Hold, error) { return l.Acquire(holds[i].Context(ctx)) }))
			}
		}
		time.Sleep(2 * deadlockAge)
		if !locks[0].entry().breakCycles() {
			t.Error("found a cycle where there is none")
		}
		for _, a := range all {
			a.waits()
			a.cancel()
			a.failed(context.Canceled)
		}
		for _, h := range holds {
			e.release(h)
		}
	})
}

// A wait closes a cycle just before the alarm that an earlier waiter has set. The cycle is
// broken when the wait is as old as deadlockAge.
func TestCycleIsNotBrokenBeforeItIsOld(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		a, b := e.holding(locks[0]), e.holding(locks[1])
		bystander := e.acquire(locks[1])
		b.waitFor(locks[0])
		time.Sleep(deadlockAge / 2)
		a.waitFor(locks[1])
		time.Sleep(deadlockAge - 1)
		a.waits()
		time.Sleep(deadlockAge/2 + deadlockAge/20) // there is one search at a time
		a.failed(ErrDeadlock)
		b.succeeds()
		e.release(bystander.got())
	})
}

// A cycle that a search found has ended, but its wait is in the table still. The search is
// made again after deadlockAge, as there may be other cycles.
func TestSearchIsMadeAgainAfterACycleThatEnded(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		locks := e.packs(2)
		a, b := e.holding(locks[0]), e.holding(locks[1])
		e.noSearch()
		a.waitFor(locks[1])
		b.waitFor(locks[0])
		bystander := e.acquire(locks[1])
		time.Sleep(2 * searchWindow / 3)
		entry := locks[1].entry()
		entry.mu.Lock()
		entry.deadlockAlarm = alarm{set: entry.deadlockAlarm.set + 1} // goes off no more
		w := entry.queue.popFront()
		entry.mu.Unlock()
		e.reg.long.mu.Lock()
		e.reg.long.budget = searchBudget{}
		e.reg.long.mu.Unlock()
		entry.findDeadlocks()
		entry.mu.Lock()
		again := entry.findDeadlock && entry.deadlockAlarm.isSet
		entry.mu.Unlock()
		if !again {
			t.Error("no search will be made again")
		}
		deliverError([]*waiter{w}, ErrCancelled)
		a.failed(ErrCancelled)
		b.succeeds()
		e.release(bystander.got())
	})
}
