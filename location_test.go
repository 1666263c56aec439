package packlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The rules of pathCheck, as rows: what happens at which time, and what is trusted then.
func TestRulesOfPathChecks(t *testing.T) {
	const ms = int64(time.Millisecond)
	const bubble = -1 << 60
	type step struct {
		at     int64
		do     func(c *pathCheck, t int64)
		due    bool
		vouch  bool // for change time 7
		handed bool // due after a hand-over
	}
	look := func(c *pathCheck, t int64) {}
	pass := func(c *pathCheck, t int64) { c.passed(t) }
	note := func(ctime int64) func(c *pathCheck, t int64) {
		return func(c *pathCheck, t int64) { c.passed(t); c.noteCtime(ctime, t) }
	}
	for name, steps := range map[string][]step{
		"a check is trusted for a time": {
			{100 * ms, pass, false, false, false}, {101 * ms, look, false, false, false}, {101*ms + 1, look, false, false, true},
			{110 * ms, look, false, false, true}, {110*ms + 1, look, true, false, true},
		},
		"a check of the future is not": {{100 * ms, pass, false, false, false}, {100*ms - 1, look, true, false, true}},
		"nor one of a bubble":          {{bubble, pass, false, false, false}, {100 * ms, look, true, false, true}},
		"nor one from outside of it":   {{100 * ms, pass, false, false, false}, {bubble, look, true, false, true}},
		"a change time is trusted when its tick is over": {
			{100 * ms, note(7), false, false, false}, {110*ms - 1, note(7), false, false, false}, {110 * ms, note(7), false, true, false},
			{111 * ms, note(8), false, false, false}, {121 * ms, note(8), false, false, false},
		},
		"that a check without it passed counts": {{100 * ms, note(7), false, false, false}, {110 * ms, pass, false, true, false}},
		"that time passed does not":             {{100 * ms, note(7), false, false, false}, {110 * ms, look, false, false, true}},
		"seen again, it begins again": {
			{100 * ms, note(7), false, false, false}, {110 * ms, note(8), false, false, false}, {111 * ms, note(7), false, false, false},
			{121 * ms, note(7), false, true, false},
		},
		"and so it does in a bubble": {
			{100 * ms, note(7), false, false, false}, {bubble, note(7), false, false, false}, {200 * ms, note(7), false, false, false},
			{210 * ms, note(7), false, true, false},
		},
		"no change time is never trusted": {{100 * ms, note(noCtime), false, false, false}, {120 * ms, note(noCtime), false, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var c pathCheck
			for i, s := range steps {
				s.do(&c, s.at)
				if got := [3]bool{c.due(s.at), c.vouches(7), c.dueAfterHandOver(s.at)}; got != [3]bool{s.due, s.vouch, s.handed} {
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
// file's last change does not show in the change time.
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

// inTheAlarm returns an entry and when its test alarm has gone off.
func inTheAlarm(t *testing.T, test func(e *entry, a *alarm, set func(interval time.Duration), rung func(want ...time.Duration))) {
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
				t.Errorf("rung at %v, want %v", at, want)
			}
		})
	})
}

func TestAlarmGoesOffOnceForAllWhoSetIt(t *testing.T) {
	inTheAlarm(t, func(e *entry, a *alarm, set func(time.Duration), rung func(...time.Duration)) {
		for range 3 {
			set(time.Second)
			time.Sleep(time.Second / 4)
		}
		rung()
		time.Sleep(time.Second)
		rung(time.Second)
		set(time.Second)
		time.Sleep(time.Second)
		rung(time.Second, 2750*time.Millisecond)
	})
}

// The timer of a bubble that has ended never fires. The alarm is set again, and if the
// old timer fires after all it neither rings nor puts the new one off.
func TestAlarmThatNeverGoesOffIsReplaced(t *testing.T) {
	for _, due := range []time.Duration{-time.Hour, time.Hour} {
		inTheAlarm(t, func(e *entry, a *alarm, set func(time.Duration), rung func(...time.Duration)) {
			set(time.Second)
			time.Sleep(time.Second / 2)
			e.mu.Lock()
			a.due = now() + int64(due)
			e.mu.Unlock()
			set(time.Second)
			time.Sleep(time.Second / 2)
			rung() // the old one does not
			e.mu.Lock()
			if !a.isSet {
				t.Error("the old timer cleared the alarm")
			}
			e.mu.Unlock()
			time.Sleep(time.Second / 2)
			rung(1500 * time.Millisecond)
		})
	}
}

// hangingCheck has a path check of a file that another process holds hang. Then goOn lets
// it return.
func hangingCheck(e *engine) (f foreigner, first *acquiring, goOn func()) {
	f = e.lockedElsewhere()
	first = e.acquire(e.l)
	time.Sleep(pathCheckAge + 1)
	goOn = e.holdUp("sameAt")
	return f, first, goOn
}

// A server does not answer. Of all Locks of a path, one check hangs, and every acquire
// that is cancelled returns.
func TestOneCheckOfAPathHangs(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f, first, goOn := hangingCheck(e)
		before := e.k.called("sameAt")
		line := []*acquiring{first}
		for range 100 {
			line = append(line, e.acquire(e.open(fakePath)))
		}
		another := e.open(fakePath)
		time.Sleep(time.Minute)
		var tries []*acquiring
		for _, l := range []*Lock{e.l, another} {
			tries = append(tries, e.start(func(context.Context) (*Hold, error) { return l.TryAcquire() }))
		}
		time.Sleep(time.Minute)
		e.called("sameAt", before+1)
		for _, a := range line {
			a.givesUp()
		}
		e.k.setHook(nil)
		goOn()
		// Its result is old: it takes one more check to refuse them.
		for _, a := range tries {
			a.failed(ErrBusy)
		}
		e.called("sameAt", before+2)
		f.release()
		synctest.Wait()
	})
}

// A TryAcquire that joins a check does not make another after one that began later.
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

// There is a bound on the checks that hang, over all paths. Beyond it, paths are not
// checked, and nothing else changes.
func TestChecksThatHangAreBounded(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
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
		before := e.k.called("sameAt")
		goOn := e.holdUp("sameAt")
		time.Sleep(time.Minute + watchInterval/2)
		e.called("sameAt", before+maxChecks)
		for i, l := range locks { // one of them is not checked
			if loc := l.location.Load(); loc.check == nil {
				checkTry(t, locks[i], ErrBusy)
				break
			}
		}
		e.k.setHook(nil)
		goOn()
		synctest.Wait()
		time.Sleep(watchInterval)
		e.called("sameAt", before+maxChecks+len(locks)) // all of them come back
		for i, f := range others {
			f.release()
			e.release(line[i].got())
		}
	})
}

// The search stays in the bubble in which the goroutines wait, whatever waits elsewhere.
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

// WaitDrained ends when the Lock moves away from the orphaned wait, as Stats shows
// nothing then. That of a Lock that stays goes on.
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

// What counts is how often the acquire moves in a row, not in its life.
func TestWaiterMovesAnyNumberOfTimes(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
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
}

// The same for one that waits on its own thread.
func TestBlockingAcquireMovesAnyNumberOfTimes(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.blocking(e.l)
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
}

// A file that was renamed away and back is the one that was there: an acquire that finds
// that out goes on with its turn, and has checked the path.
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
