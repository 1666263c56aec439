package packlock

import (
	"context"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

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

// A file that is lost and delete-pending is given up by a waiter that has waited for
// longer than deletePendingTimeout. It has that time from then on.
func TestLongWaiterAwaitsTheDeletion(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		old := e.k.inode(fakePath)
		a := e.acquire(e.l)
		time.Sleep(2 * deletePendingTimeout)
		e.k.unlink(fakePath)
		e.before("open", func() error {
			if e.k.isOpen(old) {
				return errDeletePending
			}
			return nil
		})
		f.letGo()
		time.Sleep(deletePendingTimeout / 2)
		a.waits()
		f.close()
		time.Sleep(deletePendingTimeout / 50)
		e.release(a.got())
	})
}

// A search for deadlocks uses up some of the budget.
func TestSearchUsesTheBudget(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByAnother()
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

// A context panics when it is asked why it has ended. The turn is passed once.
func TestPanicAtTheEndPassesTheTurnOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		goOn := e.holdUp("try")
		ctx := &endsAndPanics{Context: t.Context()}
		a := e.panicking(ctx)
		b, c := e.acquire(e.l), e.acquire(e.l)
		ctx.end()
		e.before("try", func() error { // or two would not meet there
			time.Sleep(time.Microsecond)
			return nil
		})
		goOn()
		<-a.done
		time.Sleep(time.Millisecond)
		b.waits()
		c.waits()
		f.letGo()
		e.release(b.got())
		e.release(c.got())
	})
}

// A context panics while its acquire reoffers the lock. The waiter that gets the lock
// then checks the path, however new the last check is.
func TestLockGivenBackAfterAPanicIsVerified(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(0)
		e.lockFor(sliceTime * 6 / 10)
		e.lockFor(sliceTime / 2)
		var next *acquiring
		e.beforeNext("pause", func() error {
			next = e.acquire(e.l)
			e.l.location.Load().passed(now())
			e.k.rename(fakePath, otherPath)
			return nil
		})
		e.called("pause", 0)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			e.l.Acquire(panicsInAPause{t.Context(), e})
		}()
		h := next.got()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
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
		f.letGo()
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

// A search that comes upon a cycle elsewhere ends.
func TestSearchLeavesACycleElsewhere(t *testing.T) {
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
		if cycle := locks[2].entry().findCycle(); cycle != nil {
			t.Errorf("%d waits in a cycle that the hold is not part of", len(cycle))
		}
		if cycle := locks[0].entry().findCycle(); len(cycle) != 2 {
			t.Errorf("%d waits in the cycle, want 2", len(cycle))
		}
		for _, c := range all {
			<-c.done
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
		time.Sleep(deadlockAge / 2)
		a.failed(ErrDeadlock)
		b.succeeds()
		e.release(bystander.got())
	})
}

// One of two Locks of a path is closed while its acquire opens the path again. The other
// Lock moves, and the acquire fails without waiting for the file that is there.
func TestCloseOfOneOfTwoWhileReopening(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(fakePath)
		e.k.replace(fakePath)
		fresh := e.open(fakePath)
		h := e.try(fresh)
		goOn := e.holdUp("open")
		a := e.acquire(e.l)
		e.close(e.l)
		goOn()
		a.failed(fs.ErrClosed)
		e.release(h)
		e.release(e.try(other))
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
		time.Sleep(2 * searchWindow / 3)
		entry := locks[1].entry()
		entry.mu.Lock()
		entry.findDeadlock = false
		entry.deadlockAlarm = alarm{set: entry.deadlockAlarm.set + 1} // goes off no more
		w := entry.queue.popFront()
		entry.mu.Unlock()
		entry.breakCycles()
		entry.mu.Lock()
		again := entry.findDeadlock && entry.deadlockAlarm.isSet
		entry.mu.Unlock()
		if !again {
			t.Error("no search will be made again")
		}
		deliverError([]*waiter{w}, ErrCancelled)
		a.failed(ErrCancelled)
		b.succeeds()
	})
}

// WaitDrained of a Lock that was closed meanwhile waits on when a different Lock moves away
// from the orphaned wait.
func TestWaitDrainedOutlastsCloseAndAMove(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		a := e.drain(other)
		e.close(other)
		time.Sleep(pathCheckAge + 1)
		e.k.replace(fakePath)
		h := e.try(e.l)
		a.waits()
		f.letGo()
		a.succeeds()
		e.release(h)
	})
}

// Opening a file that was renamed away and back counts as a check: none is made after it.
func TestFileThatComesBackIsCheckedOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		tries := func(what string) {
			t.Helper()
			time.Sleep(pathCheckAge + 1)
			e.k.rename(fakePath, otherPath)
			e.beforeNext("open", func() error {
				e.k.rename(otherPath, fakePath)
				return nil
			})
			before := e.k.called("sameAt")
			checkTry(t, e.l, ErrBusy)
			if n := e.k.called("sameAt") - before; n != 1 {
				t.Errorf("%s: %d checks, want 1", what, n)
			}
		}
		tries("with the turn")
		e.acquire(e.l).givesUp()
		tries("without the turn")
		f.letGo()
		synctest.Wait()
	})
}

// A check opens the path and is late: an acquire has moved the Locks of the path meanwhile,
// and those of a different path are still there. Nothing is moved twice.
func TestLateCheckMovesNothingTwice(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp() // a thread is parked
		time.Sleep(pathCheckAge + 1)
		e.k.replace(fakePath)
		late := make(chan struct{})
		e.beforeNext("open", func() error {
			<-late
			return nil
		})
		a := e.acquire(e.l)
		a.waits()
		f.letGo() // the parked thread gets the lock for a, which moves
		h := a.got()
		close(late)
		synctest.Wait()
		checkTry(t, e.l, ErrBusy)
		e.release(h)
		e.release(e.try(other))
		e.stats(Stats{Acquired: 1, Contended: 1, Reopened: 1})
	})
}

// A file system gives a file a different identity each time: that ends after maxMoves.
func TestMovesInARowAreBounded(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.before("sameAt", func() error {
			e.k.replace(fakePath)
			return nil
		})
		time.Sleep(pathCheckAge + 1)
		checkTry(t, e.l, ErrLost)
		e.called("open", 1+maxMoves)
		e.works()
	})
}

// A deletion shows in the link count, even where it does not change the change time.
func TestDeletionThatKeepsTheChangeTime(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.works()
		e.settleCtime()
		inode := e.k.inode(fakePath)
		e.k.unlink(fakePath)
		inode.changed--
		e.works()
	})
}

// The check was new enough when the kernel's lock was tried, and is not when the kernel
// returns. The renaming of a directory shows in no change time.
func TestCheckIsTooOldAfterASlowTry(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.works()
		e.settleCtime()
		e.beforeNext("try", func() error {
			e.movedAway()
			return longerThanTrusted()
		})
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// Opening the lock file counts as a check of its path.
func TestOpeningIsACheck(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		checkTry(t, e.l, ErrBusy)
		e.called("sameAt", 0)
		f.letGo()
	})
}

// A context panics after a rival has taken the lock that was reoffered to it. The lock,
// which is not ours, is not unlocked.
func TestPanicAfterAReofferThatWasTaken(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(sliceTime)
		late := e.k.foreigner(t, fakePath)
		ctx := &endsAndPanics{Context: t.Context(), asked: 1}
		pauses := 0
		e.before("pause", func() error {
			if pauses++; pauses == 2 {
				late.lock(t)
				ctx.end()
			}
			return nil
		})
		a := e.panicking(ctx)
		time.Sleep(sliceTime)
		<-a.done
		checkTry(t, e.l, ErrBusy)
		late.letGo()
		e.works()
	})
}

// A context panics when the lock has just been handed over. The lock is released.
func TestPanicAfterAHandOver(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		ctx := &endsAndPanics{Context: t.Context(), asked: 1}
		a := e.panicking(ctx)
		ctx.end()
		e.release(h)
		<-a.done
		e.works()
	})
}

// An acquire that queues behind a goroutine of this process leaves the check of the path to
// the watch.
func TestQueueingBehindAGoroutineChecksNothing(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByAnother()
		time.Sleep(pathCheckAge + 1)
		before := e.k.called("sameAt")
		a := e.acquire(e.l)
		e.called("sameAt", before)
		time.Sleep(watchInterval + 1)
		e.called("sameAt", before+1)
		e.release(h)
		e.release(a.got())
	})
}

// The watch does not check a path that was checked just before.
func TestWatchLeavesFreshPathsAlone(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		time.Sleep(watchInterval - pathCheckAge/2)
		checkTry(t, e.l, ErrBusy)
		before := e.k.called("sameAt")
		time.Sleep(pathCheckAge)
		e.called("sameAt", before)
		time.Sleep(watchInterval)
		e.called("sameAt", before+1)
		f.letGo()
		e.release(a.got())
	})
}
