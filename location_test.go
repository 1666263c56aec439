package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pathCheck keeps its rules. Each step is an event, its time, and what is trusted then.
func TestRulesOfPathChecks(t *testing.T) {
	const ms = int64(time.Millisecond)
	const bubble = -1 << 60
	type step struct {
		at               int64
		do               func(c *pathCheck, t int64)
		due              bool
		vouches          bool // for change time 7
		dueAfterHandOver bool
	}
	none := func(c *pathCheck, t int64) {}
	passed := func(c *pathCheck, t int64) { c.passed(t) }
	noted := func(ctime int64) func(c *pathCheck, t int64) {
		return func(c *pathCheck, t int64) { c.passed(t); c.noteCtime(ctime, t) }
	}
	for name, steps := range map[string][]step{
		"a check is trusted for a time": {
			{100 * ms, passed, false, false, false}, {101 * ms, none, false, false, false}, {101*ms + 1, none, false, false, true},
			{110 * ms, none, false, false, true}, {110*ms + 1, none, true, false, true},
		},
		"a check from the future is not trusted": {{100 * ms, passed, false, false, false}, {100*ms - 1, none, true, false, true}},
		"nor one from inside a bubble":           {{bubble, passed, false, false, false}, {100 * ms, none, true, false, true}},
		"nor one from outside a bubble":          {{100 * ms, passed, false, false, false}, {bubble, none, true, false, true}},
		"a change time is trusted when its tick is over": {
			{100 * ms, noted(7), false, false, false}, {110*ms - 1, noted(7), false, false, false}, {110 * ms, noted(7), false, true, false},
			{111 * ms, noted(8), false, false, false}, {121 * ms, noted(8), false, false, false},
		},
		"a later check that does not read the change time counts": {{100 * ms, noted(7), false, false, false}, {110 * ms, passed, false, true, false}},
		"time that passes without a check does not":               {{100 * ms, noted(7), false, false, false}, {110 * ms, none, false, false, true}},
		"a change time that comes back starts a new tick": {
			{100 * ms, noted(7), false, false, false}, {110 * ms, noted(8), false, false, false}, {111 * ms, noted(7), false, false, false},
			{121 * ms, noted(7), false, true, false},
		},
		"a change time that is read in a bubble does, too": {
			{100 * ms, noted(7), false, false, false}, {bubble, noted(7), false, false, false}, {200 * ms, noted(7), false, false, false},
			{210 * ms, noted(7), false, true, false},
		},
		"noCtime is never trusted": {{100 * ms, noted(noCtime), false, false, false}, {120 * ms, noted(noCtime), false, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var c pathCheck
			for i, s := range steps {
				s.do(&c, s.at)
				if got := [3]bool{c.due(s.at), c.vouches(7), c.dueAfterHandOver(s.at)}; got != [3]bool{s.due, s.vouches, s.dueAfterHandOver} {
					t.Errorf("step %d: due %t, vouches %t, due after a hand-over %t", i, got[0], got[1], got[2])
				}
				if c.vouches(noCtime) {
					t.Errorf("step %d: noCtime vouches", i)
				}
			}
		})
	}
}

// The clock of a file system may stand still for a tick. A rename within the tick of the
// file's last change leaves the change time as it was, and is noticed nevertheless.
func TestRenameWithinATickIsNoticed(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for range 3 {
			e.release(e.try(e.l))
			old := e.k.inode(fakePath)
			e.k.rename(fakePath, otherPath)
			e.k.mu.Lock()
			old.changed-- // the tick is not over
			e.k.mu.Unlock()
			h := e.try(e.open(fakePath))
			checkTry(t, e.l, ErrBusy)
			e.release(h)
		}
	})
}

// withAlarm runs test with an alarm of an entry. Its set sets the alarm, and its wentOff
// checks when the alarm has gone off.
func withAlarm(t *testing.T, test func(e *entry, a *alarm, set func(interval time.Duration), wentOff func(want ...time.Duration))) {
	synctest.Test(t, func(t *testing.T) {
		e := &entry{}
		e.queue.init()
		var a alarm
		var mu sync.Mutex
		var at []time.Duration
		start := time.Now()
		set := func(interval time.Duration) {
			e.mu.Lock()
			defer e.mu.Unlock()
			a.setLocked(e, now(), interval, func(*entry) {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(start))
			})
		}
		test(e, &a, set, func(want ...time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(at, want) {
				t.Errorf("the alarm went off at %v, want %v", at, want)
			}
		})
	})
}

// An alarm that is set several times goes off once. It can be set again after that.
func TestAlarmThatIsSetTwiceGoesOffOnce(t *testing.T) {
	withAlarm(t, func(e *entry, a *alarm, set func(time.Duration), wentOff func(...time.Duration)) {
		for range 3 {
			set(time.Second)
			time.Sleep(time.Second / 4)
		}
		wentOff()
		time.Sleep(time.Second)
		wentOff(time.Second)
		set(time.Second)
		time.Sleep(time.Second)
		wentOff(time.Second, 2750*time.Millisecond)
	})
}

// The timer of a bubble that has ended never fires, and the alarm is set again. If the old
// timer fires after all, the alarm does not go off, and the new timer stays.
func TestAlarmThatNeverGoesOffIsReplaced(t *testing.T) {
	for _, due := range []time.Duration{-time.Hour, time.Hour} {
		withAlarm(t, func(e *entry, a *alarm, set func(time.Duration), wentOff func(...time.Duration)) {
			set(time.Second)
			time.Sleep(time.Second / 2)
			e.mu.Lock()
			a.due = now() + int64(due)
			e.mu.Unlock()
			set(time.Second)
			time.Sleep(time.Second / 2)
			wentOff() // the old one does not
			e.mu.Lock()
			if !a.isSet {
				t.Error("the old timer cleared the alarm")
			}
			e.mu.Unlock()
			time.Sleep(time.Second / 2)
			wentOff(1500 * time.Millisecond)
		})
	}
}

// hangingCheck makes the path checks of a file that another process holds hang until goOn is
// called.
func hangingCheck(e *engine) (f foreigner, first *acquiring, goOn func()) {
	f = e.lockedElsewhere()
	first = e.acquire(e.l)
	time.Sleep(pathCheckAge + 1)
	goOn = e.holdUp("sameAt")
	return f, first, goOn
}

// A server does not answer. One check hangs for all Locks of a path, and every acquire that
// is cancelled returns.
func TestOneCheckOfAPathHangs(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f, first, goOn := hangingCheck(e)
		before := e.k.called("sameAt")
		line := []*acquiring{first}
		for range 100 {
			line = append(line, e.acquire(e.open(fakePath)))
		}
		other := e.open(fakePath)
		time.Sleep(time.Minute)
		var tries []*acquiring
		for _, l := range []*Lock{e.l, other} {
			tries = append(tries, e.start(func(context.Context) (*Hold, error) { return l.TryAcquire() }))
		}
		time.Sleep(time.Minute)
		e.called("sameAt", before+1)
		for _, a := range line {
			a.givesUp()
		}
		e.k.setHook(nil)
		goOn()
		// The result is old. One more check is needed to refuse the tries.
		for _, a := range tries {
			a.failed(ErrBusy)
		}
		e.called("sameAt", before+2)
		f.release()
		synctest.Wait()
	})
}

// A TryAcquire that would be refused waits for two checks at most, even if both are too old
// at their end.
func TestRefusalTakesTwoChecksAtMost(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		e.before("sameAt", longerThanTrusted) // each is too old at its end
		before := e.k.called("sameAt")
		time.Sleep(pathCheckAge + 1)
		checkTry(t, e.l, ErrBusy)
		e.called("sameAt", before+2)
		e.k.setHook(nil)
		f.release()
		synctest.Wait()
	})
}

// An acquire that would be refused with ErrReentrant can be cancelled while it waits for
// the check, too.
func TestCancelWhileACheckHangs(t *testing.T) {
	for name, acquire := range map[string]func(ctx context.Context, l *Lock) (*Hold, error){
		"Acquire": func(ctx context.Context, l *Lock) (*Hold, error) { return l.Acquire(ctx) },
		"AcquireAll": func(ctx context.Context, l *Lock) (*Hold, error) {
			_, err := AcquireAll(ctx, l)
			return nil, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				h := e.try(e.l)
				time.Sleep(pathCheckAge + 1)
				goOn := e.holdUp("sameAt")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := acquire(ctx, e.l); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want ErrCancelled", err)
				}
				if s := e.l.Stats(); s.Cancelled != 1 {
					t.Errorf("%+v", s)
				}
				e.k.setHook(nil)
				goOn()
				synctest.Wait()
				_, err := acquire(t.Context(), e.l)
				if !errors.Is(err, ErrReentrant) {
					t.Errorf("%v, want ErrReentrant", err)
				}
				e.release(h)
			})
		})
	}
}

// At most maxChecks path checks hang on a network file system, over all paths. Beyond that,
// its paths are not checked, and nothing else changes. Those of other file systems are.
func TestChecksThatHangAreBounded(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		local := e.open(fakeLocalPath)
		elsewhere := e.k.foreigner(t, fakeLocalPath)
		elsewhere.lock(t)
		waits := e.acquire(local)
		var line []*acquiring
		var others []foreigner
		var locks []*Lock
		for i := range maxChecks + 20 {
			path := fakeAbs(fmt.Sprintf("/packs/%d", i))
			l := e.open(path)
			f := e.k.foreigner(t, path)
			f.lock(t)
			locks, others = append(locks, l), append(others, f)
			line = append(line, e.acquire(l))
		}
		answer := make(chan struct{})
		remoteChecks := 0
		e.k.setHook(func(call, path string) error {
			if call == "sameAt" && path != fakeLocalPath {
				e.k.mu.Lock()
				remoteChecks++
				e.k.mu.Unlock()
				<-answer
			}
			return nil
		})
		goOn := func() { close(answer) }
		checked := func(want int) {
			t.Helper()
			e.k.mu.Lock()
			defer e.k.mu.Unlock()
			if remoteChecks != want {
				t.Errorf("%d checks, want %d", remoteChecks, want)
			}
		}
		time.Sleep(time.Minute + watchInterval/2)
		checked(maxChecks)
		e.k.replace(fakeLocalPath)
		time.Sleep(watchInterval)
		e.release(waits.got()) // that of the local file has moved
		elsewhere.release()
		for i, l := range locks { // one of them is not checked
			if loc := l.location.Load(); loc.check == nil {
				checkTry(t, locks[i], ErrBusy)
				break
			}
		}
		goOn()
		synctest.Wait()
		time.Sleep(watchInterval)
		synctest.Wait()
		checked(maxChecks + len(locks)) // every path is checked again
		if n := len(e.reg.checks.n); n != 0 {
			t.Errorf("checks of %d file systems are counted", n)
		}
		e.k.setHook(nil)
		for i, f := range others {
			f.release()
			e.release(line[i].got())
		}
	})
}

// A search for deadlocks in a bubble works while goroutines outside of the bubble wait, too.
func TestSearchForDeadlocksStaysInItsBubble(t *testing.T) {
	_, locks := manyPacks(t, 4)
	outside := make(chan error)
	h := make(chan *Hold)
	go func() {
		hold, err := locks[2].Acquire(context.Background())
		if err != nil {
			t.Error(err)
		}
		h <- hold
	}()
	hold := <-h
	go func() {
		hold, err := locks[2].Acquire(context.Background())
		if err == nil {
			hold.Release()
		}
		outside <- err
	}()
	until(t, "a goroutine to wait outside", func() bool { return locks[2].Stats().Waiting == 1 })
	synctest.Test(t, func(t *testing.T) {
		var both sync.WaitGroup
		errs := make([]error, 2)
		for i := range 2 {
			both.Go(func() {
				h, err := locks[i].Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer h.Release()
				time.Sleep(time.Duration(1 + i))
				var other *Hold
				if other, errs[i] = locks[1-i].Acquire(t.Context()); other != nil {
					other.Release()
				}
			})
		}
		both.Wait()
		if errs[0] != nil || !errors.Is(errs[1], ErrDeadlock) {
			t.Error(errs)
		}
	})
	release(t, hold)
	if err := <-outside; err != nil {
		t.Error(err)
	}
}

// WaitDrained returns when its Lock moves away from the orphaned wait, as Stats shows no
// orphaned wait then. WaitDrained of a Lock that stays goes on.
func TestWaitDrainedEndsWithAMove(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		other := e.open(otherPath)
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		moves, stays := e.drain(e.l), e.drain(other)
		moves.waits()
		time.Sleep(pathCheckAge + 1)
		e.k.replace(fakePath)
		h := e.try(e.l)
		moves.succeeds()
		stays.waits()
		if s := e.l.Stats(); s.Draining {
			t.Errorf("%+v", s)
		}
		f.release()
		stays.succeeds()
		e.release(h)
	})
}

// The bound on moves is one on moves in a row: an acquire that waits in between moves any
// number of times.
func TestWaiterMovesAnyNumberOfTimes(t *testing.T) {
	for _, way := range waysToWait {
		t.Run(way.what, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				f := e.lockedElsewhere()
				a := way.acquire(e)
				for range maxMoves + 1 {
					e.k.replace(fakePath)
					next := e.lockedElsewhere()
					f.release()
					synctest.Wait()
					f = next
				}
				a.waits()
				f.release()
				e.release(a.got())
			})
		})
	}
}

// A file that was renamed away and back is not lost. An acquire that finds this out keeps its
// turn, and its check of the path counts.
func TestFileThatComesBackCountsAsChecked(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		away := func() {
			time.Sleep(pathCheckAge + 1)
			e.k.rename(fakePath, otherPath)
			e.beforeNext("open", func() error {
				e.k.rename(otherPath, fakePath)
				return nil
			})
		}
		away()
		checkTry(t, e.l, ErrBusy) // by the owner of the turn
		before := e.k.called("sameAt")
		checkTry(t, e.l, ErrBusy)
		e.called("sameAt", before)

		e.acquire(e.l).givesUp()
		away()
		checkTry(t, e.l, ErrBusy) // by an acquire that would be refused
		before = e.k.called("sameAt")
		checkTry(t, e.l, ErrBusy)
		e.called("sameAt", before)
		f.release()
		synctest.Wait()
		e.works()
		if s := e.l.Stats(); s.Reopened != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// An acquire that has the turn leaves path checks to a goroutine of their own, too: a server
// that does not answer holds up no cancelled acquire, and few threads.
func TestChecksOfTheTurnsOwnersAreBounded(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		var line []*acquiring
		var others []foreigner
		for i := range 4 * maxChecks {
			path := fakeAbs(fmt.Sprintf("/packs/%d", i))
			e.open(path)
			f := e.k.foreigner(t, path)
			f.lock(t)
			others = append(others, f)
		}
		time.Sleep(pathCheckAge + 1)
		before := e.k.called("sameAt")
		goOn := e.holdUp("sameAt")
		for _, l := range e.opened[1:] {
			line = append(line, e.acquire(l))
		}
		e.called("sameAt", before+maxChecks)
		for _, a := range line {
			a.givesUp()
		}
		e.k.setHook(nil)
		goOn()
		synctest.Wait()
		for _, f := range others {
			f.release()
		}
		synctest.Wait()
	})
}

// AcquireAll of a lock that the caller holds does not rely on a check that began before the
// file was lost.
func TestAllTrustsNoOldCheck(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		time.Sleep(pathCheckAge + 1)
		// A check that the watch began has its result, and has not ended.
		entry := e.l.entry()
		old := &check{done: make(chan struct{})}
		entry.mu.Lock()
		e.l.location.Load().check = old
		entry.mu.Unlock()
		e.k.replace(fakePath)
		time.AfterFunc(time.Minute, func() {
			entry.mu.Lock()
			e.opened[0].location.Load().check = nil
			entry.mu.Unlock()
			close(old.done)
		})
		holds := e.all(e.l)
		e.release(h)
		if err := holds.Release(); err != nil {
			t.Error(err)
		}
	})
}

// Close ends an acquire that waits for a path check, and a check that is under way then
// creates no lock file.
func TestCloseWhileACheckHangs(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		h.Detach()
		time.Sleep(pathCheckAge + 1)
		goOn := e.holdUp("sameAt")
		a := e.start(func(ctx context.Context) (*Hold, error) { return e.l.Acquire(h.Context(ctx)) })
		a.waits()
		e.close(e.l)
		a.failed(fs.ErrClosed)
		e.k.unlink(fakePath)
		e.k.setHook(nil)
		goOn()
		synctest.Wait()
		if e.k.inode(fakePath) != nil {
			t.Error("the lock file was created after Close")
		}
		e.release(h)
	})
}

// No check is begun for a Lock that was closed during the try before it.
func TestClosedDuringTheTryBeforeACheck(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		elsewhere := e.lockedElsewhere()
		time.Sleep(pathCheckAge + 1)
		e.beforeNext("try", func() error {
			e.close(e.l)
			return nil
		})
		checkTry(t, e.l, fs.ErrClosed)
		e.called("sameAt", 0)
		elsewhere.release()
	})
}

// The checks that hang on one network file system leave room for those on a different one.
func TestChecksAreCountedByFileSystem(t *testing.T) {
	k := newFakeKernel()
	k.remote = true
	on := func(volume uint64) file {
		return &fakeFile{k: k, inode: &fakeInode{id: fileID{volume: volume}}}
	}
	var c checkCap
	for range maxChecks {
		if !c.take(on(1)) {
			t.Fatal("no room for maxChecks")
		}
	}
	if c.take(on(1)) {
		t.Error("room for one more than maxChecks")
	}
	if !c.take(on(2)) {
		t.Error("no room for a check on a different file system")
	}
	c.give(on(1))
	if !c.take(on(1)) {
		t.Error("no room although a check has ended")
	}
}

// The process may be stopped between the clock and the stat. A change time is as old as when
// it was read, and not older.
func TestChangeTimeIsAsOldAsItsReading(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		time.Sleep(time.Second)
		e.beforeNext("stat", func() error {
			time.Sleep(50 * time.Millisecond)
			e.k.rename(fakePath, otherPath) // and back: a tick begins
			e.k.rename(otherPath, fakePath)
			return nil
		})
		e.release(e.try(e.l))
		e.release(e.try(e.l)) // a check, in the same tick
		old := e.k.inode(fakePath)
		e.k.rename(fakePath, otherPath) // in the same tick
		e.k.mu.Lock()
		old.changed--
		e.k.mu.Unlock()
		h := e.try(e.open(fakePath))
		checkTry(t, e.l, ErrBusy)
		e.release(h)
	})
}

// Every bubble of testing/synctest starts at the same time. An alarm that was left set in one
// is replaced in the next.
func TestAlarmsOfABubbleAreReplacedInTheNext(t *testing.T) {
	k := newFakeKernel()
	l, err := newRegistry(k).openFile(fakePath)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLock(t, l)
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, err := l.TryAcquire()
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan *Hold)
			go func() {
				h, err := l.Acquire(t.Context())
				if err != nil {
					t.Error(err)
				}
				got <- h
			}()
			synctest.Wait()
			if lost {
				k.replace(fakePath)
				time.Sleep(watchInterval)
			} else {
				release(t, h)
			}
			select {
			case next := <-got:
				release(t, next)
			case <-time.After(time.Nanosecond):
				t.Error("the waiter of a lost file was not moved")
				release(t, h)
				release(t, <-got)
				return
			}
			if lost {
				release(t, h)
			}
		})
	}
}

// An acquire whose Lock is closed while it moves to a new file fails, though the other Locks
// of the path move.
func TestClosedWhileItMoves(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.open(fakePath)
		e.k.replace(fakePath)
		h := e.try(e.open(fakePath))
		h.Detach()
		goOn := e.holdUp("open")
		a := e.acquire(e.l)
		e.close(e.l)
		e.k.setHook(nil)
		goOn()
		a.failed(fs.ErrClosed)
		e.release(h)
	})
}

// manyPacks opens packs of a fake kernel, each held by a goroutine of its own that has
// ended.
func manyPacks(t testing.TB, n int) (*registry, []*Lock) {
	reg := newRegistry(newFakeKernel())
	locks := make([]*Lock, n)
	for i := range locks {
		l, err := reg.openFile(fakeAbs(fmt.Sprintf("/packs/%d/.grex-lock", i)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		locks[i] = l
	}
	return reg, locks
}

// A goroutine may be stopped for long while it has the registry's mutex locked. Searches for
// deadlocks do not pile up behind it, and go on afterwards.
func TestStopWithTheRegistryLockedPilesNothingUp(t *testing.T) {
	const packs = 300
	reg, locks := manyPacks(t, packs)
	ctx, cancel := context.WithCancel(t.Context())
	var waiters sync.WaitGroup
	for i, l := range locks {
		held := make(chan *Hold)
		go func() {
			h, _ := l.Acquire(ctx)
			held <- h
		}()
		h := <-held
		waiters.Go(func() {
			defer h.Release()
			for ctx.Err() == nil {
				limited, cancel := context.WithTimeout(ctx, 150*time.Millisecond+time.Duration(i)*time.Millisecond)
				if _, err := l.Acquire(limited); !errors.Is(err, ErrCancelled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	before := runtime.NumGoroutine()
	reg.mu.Lock()
	time.Sleep(5 * deadlockAge) // the goroutine is stopped
	during := runtime.NumGoroutine()
	reg.mu.Unlock()
	// Each pack may have one search under way.
	if during > before+packs+packs/2 {
		t.Errorf("%d goroutines, %d before", during, before)
	}
	until(t, "the goroutines to be as many as before", func() bool { return runtime.NumGoroutine() <= before+packs/10 })
	cancel()
	waiters.Wait()
}

// A thousand deadlocks at once are all broken, and packs can be opened meanwhile.
func TestManyDeadlocksAtOnceAreBroken(t *testing.T) {
	breakDeadlocks(t, 1000)
}

// breakDeadlocks makes n deadlocks of two goroutines each, all at once. It returns the time
// until all are over, counted from when the first could be broken, and the longest time that
// an Open took meanwhile.
func breakDeadlocks(t testing.TB, n int) (all, open time.Duration) {
	reg, locks := manyPacks(t, 2*n)
	var goroutines, holding sync.WaitGroup
	broken := make(chan error, 2*n)
	meet := make(chan struct{})
	holding.Add(2 * n)
	for i, l := range locks {
		goroutines.Go(func() {
			h, err := l.Acquire(t.Context())
			holding.Done()
			if err != nil {
				broken <- err
				return
			}
			defer h.Release()
			<-meet
			other, err := locks[i^1].Acquire(t.Context())
			broken <- err
			if err == nil {
				other.Release()
			}
		})
	}
	holding.Wait()
	close(meet)
	start := time.Now()
	over := make(chan struct{})
	go func() {
		goroutines.Wait()
		all = time.Since(start) - deadlockAge
		close(over)
	}()
	for ended := false; !ended; {
		select {
		case <-over:
			ended = true
		default:
			start := time.Now()
			l, err := reg.openFile(otherPath)
			if err != nil {
				t.Fatal(err)
			}
			open = max(open, time.Since(start))
			l.Close()
			time.Sleep(time.Millisecond)
		}
	}
	deadlocks := 0
	for range 2 * n {
		switch err := <-broken; {
		case errors.Is(err, ErrDeadlock):
			deadlocks++
		case err != nil:
			t.Error(err)
		}
	}
	if deadlocks != n {
		t.Errorf("%d deadlocks were broken, want %d", deadlocks, n)
	}
	return all, open
}

// It reports the time until a thousand deadlocks are over, counted from when the first could be broken,
// and the longest time that an Open takes meanwhile.
func BenchmarkManyDeadlocksAtOnce(b *testing.B) {
	var all, open time.Duration
	for range b.N {
		a, o := breakDeadlocks(b, 1000)
		all, open = all+a, max(open, o)
	}
	b.ReportMetric(float64(all.Milliseconds())/float64(b.N), "ms/all")
	b.ReportMetric(float64(open.Milliseconds()), "ms/worst-open")
}
