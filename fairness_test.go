package packlock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A step reports an event to fairness and returns true, or returns the answer to a
// query. Times are since newFairness, before which no process is known to have held the
// lock.
type step func(f *fairness) bool

func event(what func(f *fairness)) step {
	return func(f *fairness) bool { what(f); return true }
}

// The events.

func acquires(at time.Duration) step { return event(func(f *fairness) { f.startSlice(int64(at)) }) }

func acquiresAfterWait(at time.Duration) step {
	return event(func(f *fairness) { f.startSliceAfterWait(int64(at)) })
}

func releases(at time.Duration) step { return event(func(f *fairness) { f.released(int64(at)) }) }

func seesRival(at time.Duration) step { return event(func(f *fairness) { f.sawRival(int64(at)) }) }

func yieldsUntil(at time.Duration) step { return event(func(f *fairness) { f.yielded(int64(at)) }) }

// seesRivals finds the lock held that many times.
func seesRivals(times int) step {
	return event(func(f *fairness) {
		for range times {
			f.sawRival(0)
		}
	})
}

// reoffersFail reoffers the lock that many times, and no rival takes it.
func reoffersFail(times int) step {
	return event(func(f *fairness) {
		for range times {
			f.reofferFailed(1, 0)
		}
	})
}

// findsFree is a query with an effect. It finds that the lock has been free for long.
func findsFree(at time.Duration) step {
	return event(func(f *fairness) { f.shouldYield(int64(at), false, false) })
}

// handsOverAll uses up the hand-overs of a slice.
func handsOverAll(at time.Duration) step {
	return event(func(f *fairness) {
		for range sliceHandOvers {
			f.tryHandOver(int64(at))
		}
	})
}

// repeats acquires and releases the lock once in every.
func repeats(every, from, until time.Duration) step {
	return event(func(f *fairness) {
		for at := from; at <= until; at += every {
			f.startSlice(int64(at))
			if f.trackRelease {
				f.released(int64(at))
			}
		}
	})
}

// The queries.

func tryHandOver(at time.Duration) step {
	return func(f *fairness) bool { return f.tryHandOver(int64(at)) }
}

func shouldYield(at time.Duration) step {
	return func(f *fairness) bool { return f.trackRelease && f.shouldYield(int64(at), true, false) }
}

func tryShouldYield(at time.Duration) step {
	return func(f *fairness) bool { return f.trackRelease && f.shouldYield(int64(at), false, false) }
}

func tracksReleases() step { return func(f *fairness) bool { return f.trackRelease } }

func shouldReoffer(n int, at time.Duration) step {
	return func(f *fairness) bool { return f.shouldReoffer(n, 0, int64(at)) }
}

func shouldSpin(n int, took time.Duration) step {
	return func(f *fairness) bool { return f.shouldSpin(n, int64(took)) }
}

// Fairness keeps the rules of the comment above its type. In each row, the last step is a
// query, and the steps before it are events.
func TestFairnessRules(t *testing.T) {
	const (
		tick  = time.Nanosecond
		apart = yieldPause + tick // two holds that far apart are irregular
	)
	for _, row := range []struct {
		rule  string
		steps []step
		want  bool
	}{
		// The slice.
		{"within the slice, the lock is handed over",
			[]step{acquires(0), tryHandOver(sliceTime - tick)}, true},
		{"at the end of the slice, it is not",
			[]step{acquires(0), tryHandOver(sliceTime)}, false},
		{"the last hand-over of a slice is allowed",
			[]step{acquires(0), event(func(f *fairness) { f.handOvers = sliceHandOvers - 1 }), tryHandOver(0)}, true},
		{"after the last, the lock is released",
			[]step{acquires(0), handsOverAll(0), tryHandOver(0)}, false},
		{"a new slice counts its hand-overs from zero",
			[]step{acquires(0), handsOverAll(0), acquires(tick), tryHandOver(tick)}, true},
		{"so does a slice after a wait",
			[]step{acquires(0), handsOverAll(0), acquiresAfterWait(tick), tryHandOver(tick)}, true},
		{"a new slice lasts for its full time",
			[]step{acquires(0), acquires(sliceTime), tryHandOver(2*sliceTime - tick)}, true},
		{"and no longer",
			[]step{acquires(0), acquires(sliceTime), tryHandOver(2 * sliceTime)}, false},

		// Yielding to a rival.
		{"a process that waited for another one yields after a slice",
			[]step{acquiresAfterWait(0), releases(sliceTime), shouldYield(sliceTime)}, true},
		{"not before, as the other process had its chance",
			[]step{acquiresAfterWait(0), releases(sliceTime - tick), shouldYield(sliceTime - tick)}, false},
		{"nor after a wait, however long",
			[]step{acquires(0), acquiresAfterWait(time.Minute), releases(time.Minute + sliceTime - tick),
				shouldYield(time.Minute + sliceTime - tick)}, false},
		{"a process that found the lock held yields after a slice",
			[]step{seesRival(0), yieldsUntil(0), acquires(0), releases(sliceTime), shouldYield(sliceTime)}, true},
		{"one that found it free does not",
			[]step{findsFree(0), acquires(0), releases(sliceTime), shouldYield(sliceTime)}, false},
		{"TryAcquire never yields",
			[]step{acquiresAfterWait(0), releases(sliceTime), tryShouldYield(sliceTime)}, false},
		{"a hand-over does not start a new slice",
			[]step{acquiresAfterWait(0), tryHandOver(tick), releases(sliceTime), shouldYield(sliceTime)}, true},
		{"a process that has just yielded does not yield again",
			[]step{acquiresAfterWait(0), releases(sliceTime), yieldsUntil(sliceTime), acquires(sliceTime),
				releases(2*sliceTime - tick), shouldYield(2*sliceTime - tick)}, false},
		{"but does after one more slice",
			[]step{acquiresAfterWait(0), releases(sliceTime), yieldsUntil(sliceTime), acquires(sliceTime),
				releases(2 * sliceTime), shouldYield(2 * sliceTime)}, true},
		{"short holds, one after the other, count as a slice together",
			[]step{acquiresAfterWait(0), repeats(10*time.Microsecond, 0, sliceTime), shouldYield(sliceTime)}, true},
		{"a rival is remembered for rivalMemory",
			[]step{acquiresAfterWait(0), yieldsUntil(rivalMemory - 1 - sliceTime), acquires(rivalMemory - 1 - sliceTime),
				releases(rivalMemory - 1), shouldYield(rivalMemory - 1)}, true},
		{"but no longer",
			[]step{acquiresAfterWait(0), yieldsUntil(rivalMemory - sliceTime), acquires(rivalMemory - sliceTime),
				releases(rivalMemory), shouldYield(rivalMemory)}, false},

		{"for rivals that announce themselves, it yields no more often than without a rival",
			[]step{acquiresAfterWait(0), releases(sliceTime), func(f *fairness) bool { return f.shouldYield(int64(probeTime)-1, true, true) }}, false},
		{"but as often",
			[]step{acquiresAfterWait(0), releases(probeTime), func(f *fairness) bool { return f.shouldYield(int64(probeTime), true, true) }}, true},

		// A lock that is free.
		{"a process yields when the lock was free only for a moment",
			[]step{acquiresAfterWait(0), releases(sliceTime), shouldYield(sliceTime + yieldPause)}, true},
		{"it does not yield when the lock was free for longer",
			[]step{acquiresAfterWait(0), releases(sliceTime), shouldYield(sliceTime + apart)}, false},
		{"that was the chance of other processes",
			[]step{acquiresAfterWait(0), releases(sliceTime), findsFree(sliceTime + apart), acquires(sliceTime + apart),
				releases(2*sliceTime + yieldPause), shouldYield(2*sliceTime + yieldPause)}, false},
		{"it counts for one slice",
			[]step{acquiresAfterWait(0), releases(sliceTime), findsFree(sliceTime + apart), acquires(sliceTime + apart),
				releases(2*sliceTime + apart), shouldYield(2*sliceTime + apart)}, true},
		{"a lock that was held for long was not free for long",
			[]step{findsFree(0), acquires(0), releases(probeTime), shouldYield(probeTime)}, true},

		// Reoffering.
		{"a process that got the lock in spite of the pause, after a long hold, reoffers it",
			[]step{acquiresAfterWait(0), releases(longHold), shouldReoffer(0, longHold)}, true},
		{"once, after one rival was seen",
			[]step{acquiresAfterWait(0), releases(longHold), shouldReoffer(1, longHold)}, false},
		{"more often after each rival that is seen",
			[]step{seesRivals(1), acquiresAfterWait(0), releases(longHold), shouldReoffer(2, longHold)}, true},
		{"but the limit grows step by step",
			[]step{seesRivals(1), acquiresAfterWait(0), releases(longHold), shouldReoffer(3, longHold)}, false},
		{"up to maxReoffers",
			[]step{seesRivals(100), acquiresAfterWait(0), releases(longHold), shouldReoffer(maxReoffers-1, longHold)}, true},
		{"and no more often",
			[]step{seesRivals(100), acquiresAfterWait(0), releases(longHold), shouldReoffer(maxReoffers, longHold)}, false},
		{"nor for longer than reofferTime",
			[]step{acquiresAfterWait(0), releases(longHold), func(f *fairness) bool { return f.shouldReoffer(0, int64(reofferTime), int64(longHold)) }}, false},
		{"but for as long as that",
			[]step{acquiresAfterWait(0), releases(longHold), func(f *fairness) bool { return f.shouldReoffer(0, int64(reofferTime)-1, int64(longHold)) }}, true},
		{"after a slice of several holds, a quarter as often",
			[]step{seesRivals(100), acquiresAfterWait(0), handsOverAll(0), releases(longHold), shouldReoffer(maxReoffers/4, longHold)}, false},
		{"and no less",
			[]step{seesRivals(100), acquiresAfterWait(0), handsOverAll(0), releases(longHold), shouldReoffer(maxReoffers/4-1, longHold)}, true},
		{"and for a quarter of the time",
			[]step{acquiresAfterWait(0), handsOverAll(0), releases(longHold), func(f *fairness) bool { return f.shouldReoffer(0, int64(reofferTime)/4, int64(longHold)) }}, false},
		{"not after a short hold",
			[]step{acquiresAfterWait(0), releases(longHold - 1), shouldReoffer(0, longHold)}, false},
		{"nor when no rival is known",
			[]step{acquires(0), releases(longHold), shouldReoffer(0, longHold)}, false},
		{"nor when the rival is gone",
			[]step{acquiresAfterWait(0), releases(longHold), shouldReoffer(0, rivalMemory)}, false},
		{"a reoffer that failed halves the limit",
			[]step{seesRivals(100), acquiresAfterWait(0), releases(longHold), reoffersFail(1), shouldReoffer(maxReoffers/2, longHold)}, false},
		{"and no more than that",
			[]step{seesRivals(100), acquiresAfterWait(0), releases(longHold), reoffersFail(1), shouldReoffer(maxReoffers/2-1, longHold)}, true},
		{"after several failed reoffers, the process does not reoffer",
			[]step{seesRivals(100), acquiresAfterWait(0), releases(longHold), reoffersFail(7), shouldReoffer(0, longHold)}, false},
		{"until a rival is seen again",
			[]step{seesRivals(100), acquiresAfterWait(0), releases(longHold), reoffersFail(7), seesRival(longHold), shouldReoffer(0, longHold)}, true},
		{"a rival after a time without rivals is a new one",
			[]step{seesRivals(100), seesRival(rivalMemory), acquires(rivalMemory), releases(rivalMemory + longHold),
				shouldReoffer(1, rivalMemory+longHold)}, false},
		{"but not a rival that held the lock all that time",
			[]step{seesRivals(100), acquiresAfterWait(rivalMemory), releases(rivalMemory + longHold),
				shouldReoffer(maxReoffers-1, rivalMemory+longHold)}, true},
		{"a process that did not reoffer has no failed reoffer",
			[]step{acquiresAfterWait(0), releases(longHold), event(func(f *fairness) { f.reofferFailed(0, 0) }), shouldReoffer(0, longHold)}, true},
		{"a reoffer was the chance of other processes",
			[]step{acquiresAfterWait(0), releases(sliceTime), event(func(f *fairness) { f.reofferFailed(1, int64(sliceTime)) }), shouldYield(sliceTime)}, false},

		// Yielding when no rival is known.
		{"without a rival, a process yields once in probeTime",
			[]step{acquires(0), releases(probeTime), shouldYield(probeTime)}, true},
		{"no more often",
			[]step{acquires(0), releases(probeTime - tick), shouldYield(probeTime - tick)}, false},
		{"not in TryAcquire",
			[]step{acquires(0), releases(probeTime), tryShouldYield(probeTime)}, false},
		{"a process that releases the lock all the time need not yield, and does not read the clock",
			[]step{repeats(yieldPause, 0, sliceTime+yieldPause), tracksReleases()}, false},
		{"once it has done this for a slice",
			[]step{acquires(apart), repeats(yieldPause, apart, apart+sliceTime-yieldPause), tracksReleases()}, true},
		{"with a rival, the clock is read every time",
			[]step{acquiresAfterWait(0), repeats(yieldPause, 0, 2*sliceTime), tracksReleases()}, true},
		{"a single irregular hold makes it read the clock again",
			[]step{repeats(yieldPause, 0, 2*sliceTime), acquires(2*sliceTime + 2*apart), tracksReleases()}, true},
		{"for a slice",
			[]step{repeats(yieldPause, 0, 2*sliceTime), acquires(3 * sliceTime),
				repeats(yieldPause, 3*sliceTime, 4*sliceTime-yieldPause), tracksReleases()}, true},
		{"probeTime begins then, as the lock may have been free until then",
			[]step{repeats(yieldPause, 0, 2*sliceTime), acquires(time.Second), releases(time.Second + probeTime - tick),
				shouldYield(time.Second + probeTime - tick)}, false},
		{"and lasts no longer",
			[]step{repeats(yieldPause, 0, 2*sliceTime), acquires(time.Second), releases(time.Second + probeTime),
				shouldYield(time.Second + probeTime)}, true},
		{"it does not begin again if the lock is known not to have been free",
			[]step{acquires(0), releases(probeTime - tick), acquires(probeTime - tick), releases(probeTime), shouldYield(probeTime)}, true},

		// Spinning.
		{"where holds are short, an acquire that finds the lock held spins",
			[]step{acquires(0), releases(shortHold - tick), shouldSpin(0, 0)}, true},
		{"where they are not, it parks",
			[]step{acquires(0), releases(shortHold), shouldSpin(0, 0)}, false},
		{"the last hold counts",
			[]step{acquires(0), releases(shortHold), acquires(sliceTime), releases(sliceTime), shouldSpin(0, 0)}, true},
		{"it does not spin at first, when nothing is known",
			[]step{shouldSpin(0, 0)}, false},
		{"nor when the last release was not tracked",
			[]step{repeats(yieldPause, 0, sliceTime+yieldPause), shouldSpin(0, 0)}, false},
		{"it spins up to maxSpins times",
			[]step{acquires(0), releases(0), shouldSpin(maxSpins-1, 0)}, true},
		{"and no more",
			[]step{acquires(0), releases(0), shouldSpin(maxSpins, 0)}, false},
		{"for no longer than a short hold",
			[]step{acquires(0), releases(0), shouldSpin(1, shortHold-tick)}, true},
		{"it spins once where a try takes long",
			[]step{acquires(0), releases(0), shouldSpin(1, shortHold)}, false},
	} {
		f := newFairness(0, true)
		last := len(row.steps) - 1
		for _, happen := range row.steps[:last] {
			happen(&f)
		}
		if got := row.steps[last](&f); got != row.want {
			t.Errorf("%s: got %t", row.rule, got)
		}
	}
}

// A TryAcquire that finds the lock held by another process counts for later acquires:
// there is a rival, and it has just had its chance.
func TestTryThatFindsARivalRemembersIt(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.lockFor(sliceTime)
		f := e.lockedElsewhere()
		checkTry(t, e.l, ErrBusy)
		f.release()
		e.lockFor(sliceTime)
		e.called("pause", 0) // the other process had its chance
		e.lockFor(0)
		e.called("pause", 2) // this process has held it for a slice since then; the second is a reoffer
	})
}

// The lock is handed over from goroutine to goroutine until the slice ends. Then it is
// unlocked, and the other process gets it.
func TestSliceEnds(t *testing.T) {
	for _, end := range []string{"by count", "by time"} {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			f := e.k.foreigner(t, fakePath)
			waiting := make(chan struct{})
			go func() { f.waitForLock(false); close(waiting) }()
			handOvers := sliceHandOvers
			if end == "by time" {
				handOvers = 3
			}
			for range handOvers {
				next := e.acquire(e.l)
				e.release(h)
				h = next.got()
			}
			e.called("unlock", 0)
			if end == "by time" {
				time.Sleep(sliceTime)
			}
			next := e.acquire(e.l)
			e.release(h)
			synctest.Wait()
			<-waiting
			next.waits()
			if s := e.l.Stats(); s.HandedOver != uint64(handOvers) || !s.Parked {
				t.Errorf("%+v", s)
			}
			f.release()
			e.release(next.got())
		})
	}
}

// A waiter that gave up passes on the lock that it was granted, within the limits of the
// slice.
func TestGrantThatWasGivenBackKeepsToTheSlice(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		next := e.grantedAfterCancel(func(entry *entry) { entry.fair.handOvers = sliceHandOvers })
		e.release(next.got())
		e.called("unlock", 2)
	})
}

// A process with a rival yields when it has held the lock for a slice: it pauses before it
// tries the lock again.
func TestYieldsToARival(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(0)

		// For the rest of the second, each slice ends with a pause.
		const section = longHold / 2
		start := time.Now()
		pauses := 0
		for time.Since(start) < rivalMemory-2*sliceTime {
			for range sliceTime / section {
				e.lockFor(section)
				e.called("pause", pauses)
			}
			before := time.Now()
			h, err := e.l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if paused := time.Since(before); paused != yieldPause {
				t.Fatalf("paused for %v", paused)
			}
			pauses++
			e.called("pause", pauses)
			e.release(h)
		}

		// Then, when no rival was seen for long, it yields only once in probeTime.
		time.Sleep(rivalMemory)
		probed := e.k.called("pause")
		for range 100 * time.Millisecond / section {
			e.lockFor(section)
		}
		if n := e.k.called("pause") - probed; n != 9 {
			t.Errorf("yielded %d times in 100 ms, want 9", n)
		}
	})
}

// After a long hold, an acquire that got the lock in spite of the pause releases it for
// one more pause. It repeats that until another process acquires the lock, up to the
// reoffer limit.
func TestReoffersTheLockAfterALongHold(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(0)
		e.lockFor(longHold)
		e.called("pause", 0)
		e.lockFor(sliceTime)
		e.called("pause", 0) // only now has it held the lock for a slice

		late := e.k.foreigner(t, fakePath)
		pauses := 0
		e.before("pause", func() error {
			if pauses++; pauses == 3 {
				late.lock(t)
			}
			return nil
		})
		a := e.acquire(e.l)
		time.Sleep(3 * yieldPause)
		a.waits()
		late.release()
		h := a.got()
		e.called("pause", 3)
		e.k.setHook(nil)
		time.Sleep(sliceTime)
		e.release(h)

		want := 3
		for limit := e.l.entry().fair.reofferLimit; limit > 0; limit /= 2 {
			e.lockFor(sliceTime)
			want += 1 + limit
			e.called("pause", want)
			if since := time.Duration(now() - e.l.entry().fair.lockedAt); since != sliceTime {
				t.Errorf("the slice began %v ago, want %v", since, sliceTime)
			}
		}
		e.lockFor(sliceTime)
		e.called("pause", want+1)
	})
}

// On a network, the lock is not reoffered.
func TestDoesNotReofferOnANetwork(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(sliceTime)
		for range 2 {
			e.lockFor(0)
			e.called("pause", 1) // the other process had its chance
		}
	})
}

// A context that panics during a reoffer loses no lock.
func TestPanicDuringAReoffer(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.heldAfterRival(sliceTime)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			e.l.Acquire(panicsInAPause{t.Context(), e})
		}()
		synctest.Wait()
		f.lock(t)
		f.release()
		e.works()
	})
}

// panicsInAPause is a context whose Err panics after the first pause.
type panicsInAPause struct {
	context.Context
	e *engine
}

func (c panicsInAPause) Err() error {
	if c.e.k.called("pause") > 0 {
		panic("in Err")
	}
	return nil
}

// An acquire that is cancelled while it reoffers the lock stops.
func TestCancelEndsTheReoffers(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(sliceTime)
		a := e.acquire(e.l)
		time.Sleep(2*yieldPause + 1) // in the third pause
		a.cancel()
		time.Sleep(yieldPause)
		a.failed(ErrCancelled)
		e.called("pause", 3)
		e.works()
	})
}

// An error of the unlock or of the try of a reoffer is handled as on any acquire: a file
// that does not unlock is replaced, and the error of a try is returned.
func TestReofferThatFails(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for _, call := range []string{"unlock", "try"} {
			e.heldAfterRival(sliceTime)
			broken := e.l.entry()
			e.beforeNext("pause", func() error {
				if call == "unlock" {
					e.failNext("unlock", errBroken)
					return nil
				}
				e.beforeNext("unlock", func() error {
					e.failNext("try", errBroken)
					return nil
				})
				return nil
			})
			a := e.acquire(e.l)
			time.Sleep(sliceTime)
			if call == "unlock" {
				e.release(a.got())
				if e.l.entry() == broken {
					t.Error("the Lock still uses the file that did not unlock")
				}
			} else {
				a.failed(errBroken)
			}
			e.works()
		}
	})
}

// On some file systems an unlock takes long. That time is no chance for other processes.
func TestYieldsWhereUnlockIsSlow(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.before("unlock", func() error {
			time.Sleep(2 * yieldPause)
			return nil
		})
		for range 100 {
			e.lockFor(probeTime)
		}
		if n := e.k.called("pause"); n < 99 {
			t.Errorf("%d pauses", n)
		}
	})
}

// Without a known rival, a process that holds the lock most of the time yields from time
// to time. It does so after long holds alone, and after long and short ones mixed.
func TestYieldsNowAndThen(t *testing.T) {
	for _, sections := range [][]time.Duration{
		{10 * time.Millisecond},
		{0, 100 * time.Millisecond},
		{100 * time.Millisecond, 0, 0, yieldPause, 0},
	} {
		onFake(t, func(t *testing.T, e *engine) {
			const rounds = 100
			for range rounds {
				for _, section := range sections {
					e.lockFor(section)
				}
			}
			if n := e.k.called("pause"); n < rounds-1 {
				t.Errorf("sections of %v: %d pauses, want one per round", sections, n)
			}
		})
	}
}

// A process does not pause if it releases the lock all the time or leaves it free for a
// moment. TryAcquire never pauses.
func TestDoesNotYield(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for range 100_000 { // a second in all, without a known rival
			e.lockFor(10 * time.Microsecond)
		}
		e.called("pause", 0)

		e.heldAfterRival(0) // from now on with a rival
		for range 100 {
			e.lockFor(sliceTime)
			time.Sleep(yieldPause + 1)
		}
		e.called("pause", 0)
		for range 100 {
			h := e.try(e.l)
			time.Sleep(sliceTime)
			e.release(h)
		}
		e.called("pause", 0)
	})
}

// After a short hold, an acquire that finds the lock held tries it a few times more before
// it parks. After a longer hold it parks at once.
func TestSpinsWhereHoldsAreShort(t *testing.T) {
	for _, section := range []time.Duration{0, shortHold} {
		onFake(t, func(t *testing.T, e *engine) {
			f := e.k.foreigner(t, fakePath)
			e.lockFor(section)
			f.lock(t)
			before, release := e.k.called("try"), 0
			e.before("try", func() error {
				if e.k.called("try") == release {
					f.release()
				}
				return nil
			})

			if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			if n := e.k.called("try") - before; n != 1 {
				t.Errorf("TryAcquire tried %d times", n)
			}

			release = before + 1 + 1 + maxSpins // the last try after a short hold
			a := e.acquire(e.l)
			if section > 0 {
				e.stats(Stats{Acquired: 1, KernelWaits: 1, Waiting: 1, Parked: true})
				f.release()
			}
			e.release(a.got())
			want := Stats{Acquired: 2}
			if section > 0 {
				want.Contended, want.KernelWaits = 1, 1
			}
			e.stats(want)

			// The lock is not released in time: the acquire parks.
			release = 0
			f.lock(t)
			a = e.acquire(e.l)
			want.Waiting, want.Parked = 1, true
			want.KernelWaits++
			e.stats(want)
			f.release()
			e.release(a.got())
		})
	}
}

// Where a try takes long, an acquire spins only once. If its context has ended by then, it
// does not park.
func TestSpinsOnceWhereATryIsSlow(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		e.lockFor(0)
		f.lock(t)
		e.before("try", func() error {
			time.Sleep(20 * time.Millisecond)
			return nil
		})
		before := e.k.called("try")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := e.l.Acquire(ctx); !errors.Is(err, ErrCancelled) {
			t.Error(err)
		}
		if n := e.k.called("try") - before; n != 2 {
			t.Errorf("tried %d times", n)
		}
		e.stats(Stats{Acquired: 1, Cancelled: 1})
	})
}

// A context panics while the lock is reoffered: what the acquire has goes on to the next
// waiter, which verifies it.
func TestPanicDuringAReofferIsVerified(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(2 * longHold)
		e.lockFor(2 * longHold)
		next := &acquiring{e: e, done: make(chan struct{})}
		e.beforeNext("try", func() error {
			go func() {
				defer close(next.done)
				next.hold, next.err = e.l.Acquire(t.Context())
			}()
			time.Sleep(time.Microsecond)
			e.k.replaceDir(filepath.Dir(fakePath), filepath.Dir(otherPath))
			return nil
		})
		ctx := &brokenContext{Context: t.Context(), method: "Err", after: 1, misbehave: func() { panic("broken") }}
		if panicOf(func() { e.l.Acquire(ctx) }) == nil {
			t.Fatal("no panic")
		}
		<-next.done
		if err := next.hold.Check(); err != nil {
			t.Error(err)
		}
		e.release(next.hold)
	})
}

// A rival takes the lock that was reoffered, and then the context panics: the acquire has the
// turn, and not the lock.
func TestPanicAfterAReofferThatARivalTook(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.heldAfterRival(2 * longHold)
		e.lockFor(2 * longHold)
		pauses, taken := 0, false
		next := &acquiring{e: e, done: make(chan struct{})}
		e.before("pause", func() error {
			if pauses++; pauses == 2 { // the reoffer
				taken = f.tryLock(false)
				go func() {
					defer close(next.done)
					next.hold, next.err = e.l.Acquire(t.Context())
				}()
			}
			return nil
		})
		ctx := &brokenContext{Context: t.Context(), method: "Err", after: 2, misbehave: func() { panic("broken") }}
		if panicOf(func() { e.l.Acquire(ctx) }) == nil || !taken {
			t.Fatal("no panic, or the rival did not take the lock")
		}
		e.k.setHook(nil)
		time.Sleep(time.Second)
		next.waits()
		f.release()
		<-next.done
		e.release(next.hold)
	})
}
