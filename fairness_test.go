package packlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A step is what one process does or sees at the lock, or asks fairness about
// it. Times are since newFairness, at which nobody is known to have had it.
type step func(f *fairness) bool

func does(what func(f *fairness)) step {
	return func(f *fairness) bool { what(f); return true }
}

// What happens.

func takes(at time.Duration) step { return does(func(f *fairness) { f.startSlice(int64(at)) }) }

func takesFromRival(at time.Duration) step {
	return does(func(f *fairness) { f.startSliceAfterWait(int64(at)) })
}

func letsGo(at time.Duration) step { return does(func(f *fairness) { f.released(int64(at)) }) }

func seesRival(at time.Duration) step { return does(func(f *fairness) { f.sawRival(int64(at)) }) }

func lendsUntil(at time.Duration) step { return does(func(f *fairness) { f.yielded(int64(at)) }) }

// seesRivals are so many sightings.
func seesRivals(times int) step {
	return does(func(f *fairness) {
		for range times {
			f.sawRival(0)
		}
	})
}

// offersInVain are so many times that nobody took the lock, though it was offered
// again.
func offersInVain(times int) step {
	return does(func(f *fairness) {
		for range times {
			f.reofferFailed(1, 0)
		}
	})
}

// findsFree is the question that learns something: the lock was free for long.
func findsFree(at time.Duration) step {
	return does(func(f *fairness) { f.shouldYield(int64(at), false) })
}

// handsOverAll uses up the hand-overs of a slice.
func handsOverAll(at time.Duration) step {
	return does(func(f *fairness) {
		for range sliceHandOvers {
			f.tryHandOver(int64(at))
		}
	})
}

// cycles takes the lock and lets it go again and again, once in every.
func cycles(every, from, until time.Duration) step {
	return does(func(f *fairness) {
		for at := from; at <= until; at += every {
			f.startSlice(int64(at))
			if f.trackRelease {
				f.released(int64(at))
			}
		}
	})
}

// What is asked.

func tryHandOver(at time.Duration) step {
	return func(f *fairness) bool { return f.tryHandOver(int64(at)) }
}

func stepsAside(at time.Duration) step {
	return func(f *fairness) bool { return f.trackRelease && f.shouldYield(int64(at), true) }
}

func tryStepsAside(at time.Duration) step {
	return func(f *fairness) bool { return f.trackRelease && f.shouldYield(int64(at), false) }
}

func readsTheClock() step { return func(f *fairness) bool { return f.trackRelease } }

func offersAgain(n int, at time.Duration) step {
	return func(f *fairness) bool { return f.shouldReoffer(n, 0, int64(at)) }
}

func asksAgain(n int, took time.Duration) step {
	return func(f *fairness) bool { return f.shouldSpin(n, int64(took)) }
}

// The rules of the comment above fairness. What is before the last step has
// happened; the last is asked.
func TestFairnessRules(t *testing.T) {
	const (
		tick  = time.Nanosecond
		apart = yieldPause + tick // two holds as far apart are uneven
	)
	for _, row := range []struct {
		rule  string
		steps []step
		want  bool
	}{
		// The slice.
		{"within the slice the lock is handed over",
			[]step{takes(0), tryHandOver(sliceTime - tick)}, true},
		{"at the end of the slice it is not",
			[]step{takes(0), tryHandOver(sliceTime)}, false},
		{"the last hand-over of a slice is one",
			[]step{takes(0), does(func(f *fairness) { f.handOvers = sliceHandOvers - 1 }), tryHandOver(0)}, true},
		{"after so many the lock is let go",
			[]step{takes(0), handsOverAll(0), tryHandOver(0)}, false},
		{"a new slice counts hand-overs from none",
			[]step{takes(0), handsOverAll(0), takes(tick), tryHandOver(tick)}, true},
		{"one after a wait does too",
			[]step{takes(0), handsOverAll(0), takesFromRival(tick), tryHandOver(tick)}, true},
		{"a new slice has all its time",
			[]step{takes(0), takes(sliceTime), tryHandOver(2*sliceTime - tick)}, true},
		{"and no more",
			[]step{takes(0), takes(sliceTime), tryHandOver(2 * sliceTime)}, false},

		// Stepping aside for a rival.
		{"who waited for another process steps aside after a slice",
			[]step{takesFromRival(0), letsGo(sliceTime), stepsAside(sliceTime)}, true},
		{"not before, as that one had its chance",
			[]step{takesFromRival(0), letsGo(sliceTime - tick), stepsAside(sliceTime - tick)}, false},
		{"nor after a wait of whatever length",
			[]step{takes(0), takesFromRival(time.Minute), letsGo(time.Minute + sliceTime - tick),
				stepsAside(time.Minute + sliceTime - tick)}, false},
		{"who found the lock taken steps aside after a slice",
			[]step{seesRival(0), lendsUntil(0), takes(0), letsGo(sliceTime), stepsAside(sliceTime)}, true},
		{"who found it free does not",
			[]step{findsFree(0), takes(0), letsGo(sliceTime), stepsAside(sliceTime)}, false},
		{"TryAcquire never does",
			[]step{takesFromRival(0), letsGo(sliceTime), tryStepsAside(sliceTime)}, false},
		{"what a hand-over keeps is kept: the slice is not over by it",
			[]step{takesFromRival(0), tryHandOver(tick), letsGo(sliceTime), stepsAside(sliceTime)}, true},
		{"who has stepped aside does not do so again at once",
			[]step{takesFromRival(0), letsGo(sliceTime), lendsUntil(sliceTime), takes(sliceTime),
				letsGo(2*sliceTime - tick), stepsAside(2*sliceTime - tick)}, false},
		{"but after another slice",
			[]step{takesFromRival(0), letsGo(sliceTime), lendsUntil(sliceTime), takes(sliceTime),
				letsGo(2 * sliceTime), stepsAside(2 * sliceTime)}, true},
		{"short holds, one after the other, are a slice together",
			[]step{takesFromRival(0), cycles(10*time.Microsecond, 0, sliceTime), stepsAside(sliceTime)}, true},
		{"a rival is remembered",
			[]step{takesFromRival(0), lendsUntil(rivalMemory - 1 - sliceTime), takes(rivalMemory - 1 - sliceTime),
				letsGo(rivalMemory - 1), stepsAside(rivalMemory - 1)}, true},
		{"but not for ever",
			[]step{takesFromRival(0), lendsUntil(rivalMemory - sliceTime), takes(rivalMemory - sliceTime),
				letsGo(rivalMemory), stepsAside(rivalMemory)}, false},

		// A lock that is free.
		{"a lock that was free for a moment only is stepped aside from",
			[]step{takesFromRival(0), letsGo(sliceTime), stepsAside(sliceTime + yieldPause)}, true},
		{"one that was free for longer is not",
			[]step{takesFromRival(0), letsGo(sliceTime), stepsAside(sliceTime + apart)}, false},
		{"that was the others' chance",
			[]step{takesFromRival(0), letsGo(sliceTime), findsFree(sliceTime + apart), takes(sliceTime + apart),
				letsGo(2*sliceTime + yieldPause), stepsAside(2*sliceTime + yieldPause)}, false},
		{"for a slice",
			[]step{takesFromRival(0), letsGo(sliceTime), findsFree(sliceTime + apart), takes(sliceTime + apart),
				letsGo(2*sliceTime + apart), stepsAside(2*sliceTime + apart)}, true},
		{"a lock that is taken for long is not free for long",
			[]step{findsFree(0), takes(0), letsGo(probeTime), stepsAside(probeTime)}, true},

		// Offering again.
		{"who got the lock in spite of the pause after a long hold offers it again",
			[]step{takesFromRival(0), letsGo(longHold), offersAgain(0, longHold)}, true},
		{"once, as one rival was seen",
			[]step{takesFromRival(0), letsGo(longHold), offersAgain(1, longHold)}, false},
		{"more often with each one that is seen",
			[]step{seesRivals(1), takesFromRival(0), letsGo(longHold), offersAgain(2, longHold)}, true},
		{"but not all at once",
			[]step{seesRivals(1), takesFromRival(0), letsGo(longHold), offersAgain(3, longHold)}, false},
		{"up to a bound",
			[]step{seesRivals(100), takesFromRival(0), letsGo(longHold), offersAgain(maxReoffers-1, longHold)}, true},
		{"and no further",
			[]step{seesRivals(100), takesFromRival(0), letsGo(longHold), offersAgain(maxReoffers, longHold)}, false},
		{"nor for long",
			[]step{takesFromRival(0), letsGo(longHold), func(f *fairness) bool { return f.shouldReoffer(0, 2*int64(sliceTime), int64(longHold)) }}, false},
		{"not after a short hold",
			[]step{takesFromRival(0), letsGo(longHold - 1), offersAgain(0, longHold)}, false},
		{"nor where no rival is known",
			[]step{takes(0), letsGo(longHold), offersAgain(0, longHold)}, false},
		{"nor where the rival is gone",
			[]step{takesFromRival(0), letsGo(longHold), offersAgain(0, rivalMemory)}, false},
		{"who offered in vain offers half as often",
			[]step{seesRivals(100), takesFromRival(0), letsGo(longHold), offersInVain(1), offersAgain(maxReoffers/2, longHold)}, false},
		{"but as often as that",
			[]step{seesRivals(100), takesFromRival(0), letsGo(longHold), offersInVain(1), offersAgain(maxReoffers/2-1, longHold)}, true},
		{"and after some of them not at all",
			[]step{seesRivals(100), takesFromRival(0), letsGo(longHold), offersInVain(5), offersAgain(0, longHold)}, false},
		{"until a rival is seen again",
			[]step{seesRivals(100), takesFromRival(0), letsGo(longHold), offersInVain(5), seesRival(longHold), offersAgain(0, longHold)}, true},
		{"a rival that comes after a time without any is a new one",
			[]step{seesRivals(100), seesRival(rivalMemory), takes(rivalMemory), letsGo(rivalMemory + longHold),
				offersAgain(1, rivalMemory+longHold)}, false},
		{"but not one that had the lock all that time",
			[]step{seesRivals(100), takesFromRival(rivalMemory), letsGo(rivalMemory + longHold),
				offersAgain(maxReoffers-1, rivalMemory+longHold)}, true},
		{"who did not offer again did not do so in vain",
			[]step{takesFromRival(0), letsGo(longHold), does(func(f *fairness) { f.reofferFailed(0, 0) }), offersAgain(0, longHold)}, true},
		{"an offer was the others' chance",
			[]step{takesFromRival(0), letsGo(sliceTime), does(func(f *fairness) { f.reofferFailed(1, int64(sliceTime)) }), stepsAside(sliceTime)}, false},

		// Offers, where no rival is known.
		{"the lock is offered once in a while",
			[]step{takes(0), letsGo(probeTime), stepsAside(probeTime)}, true},
		{"not more often",
			[]step{takes(0), letsGo(probeTime - tick), stepsAside(probeTime - tick)}, false},
		{"not by TryAcquire",
			[]step{takes(0), letsGo(probeTime), tryStepsAside(probeTime)}, false},
		{"not where it is let go all the time, which needs no clock",
			[]step{cycles(yieldPause, 0, sliceTime+yieldPause), readsTheClock()}, false},
		{"once that was so for a slice",
			[]step{takes(apart), cycles(yieldPause, apart, apart+sliceTime-yieldPause), readsTheClock()}, true},
		{"with a rival about, the clock is read every time",
			[]step{takesFromRival(0), cycles(yieldPause, 0, 2*sliceTime), readsTheClock()}, true},
		{"a single hold that is uneven starts it again",
			[]step{cycles(yieldPause, 0, 2*sliceTime), takes(2*sliceTime + 2*apart), readsTheClock()}, true},
		{"and for a slice",
			[]step{cycles(yieldPause, 0, 2*sliceTime), takes(3 * sliceTime),
				cycles(yieldPause, 3*sliceTime, 4*sliceTime-yieldPause), readsTheClock()}, true},
		{"from then on, as it may have been free until then",
			[]step{cycles(yieldPause, 0, 2*sliceTime), takes(time.Second), letsGo(time.Second + probeTime - tick),
				stepsAside(time.Second + probeTime - tick)}, false},
		{"and no longer",
			[]step{cycles(yieldPause, 0, 2*sliceTime), takes(time.Second), letsGo(time.Second + probeTime),
				stepsAside(time.Second + probeTime)}, true},
		{"where it is known not to have been free, that is no reason",
			[]step{takes(0), letsGo(probeTime - tick), takes(probeTime - tick), letsGo(probeTime), stepsAside(probeTime)}, true},

		// Asking again.
		{"where holds are short, who finds the lock taken asks again",
			[]step{takes(0), letsGo(shortHold - tick), asksAgain(0, 0)}, true},
		{"where they are not, it parks",
			[]step{takes(0), letsGo(shortHold), asksAgain(0, 0)}, false},
		{"the hold that counts is the last",
			[]step{takes(0), letsGo(shortHold), takes(sliceTime), letsGo(sliceTime), asksAgain(0, 0)}, true},
		{"nor does it ask at first, when nothing is known",
			[]step{asksAgain(0, 0)}, false},
		{"nor where the lock was let go untimed",
			[]step{cycles(yieldPause, 0, sliceTime+yieldPause), asksAgain(0, 0)}, false},
		{"it asks a few times",
			[]step{takes(0), letsGo(0), asksAgain(maxSpins-1, 0)}, true},
		{"and no more often",
			[]step{takes(0), letsGo(0), asksAgain(maxSpins, 0)}, false},
		{"for no longer than a short hold",
			[]step{takes(0), letsGo(0), asksAgain(1, shortHold-tick)}, true},
		{"so that it asks once where that takes long",
			[]step{takes(0), letsGo(0), asksAgain(1, shortHold)}, false},
	} {
		f := newFairness(0, true)
		last := len(row.steps) - 1
		for _, happens := range row.steps[:last] {
			happens(&f)
		}
		if got := row.steps[last](&f); got != row.want {
			t.Errorf("%s: %t", row.rule, got)
		}
	}
}

// A TryAcquire that finds another process there is what an acquire goes by that
// comes later: there is a rival, and it has just had its chance.
func TestTryThatFindsARivalRemembersIt(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.lockFor(sliceTime)
		f := e.lockedElsewhere()
		checkTry(t, e.l, ErrBusy)
		f.release()
		e.lockFor(sliceTime)
		e.called("pause", 0) // it had its chance
		e.lockFor(0)
		e.called("pause", 2) // since then we had the lock for a slice; and once more, in vain
	})
}

// While one goroutine after another wants the lock it is handed over, but not
// longer than the slice: then it is really unlocked, and the other process gets
// it.
func TestSliceEnds(t *testing.T) {
	for _, end := range []string{"by count", "by time"} {
		onFake(t, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			f := e.k.foreigner(t, fakePath)
			waiting := make(chan struct{})
			go func() { f.waitForLock(); close(waiting) }()
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

// Waiters who were granted the lock and have given up pass it on within the
// slice, like those who had it, and not for as long as there are such.
func TestGrantThatWasGivenBackKeepsToTheSlice(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		next := e.grantedAfterCancel(func(entry *entry) { entry.fair.handOvers = sliceHandOvers })
		e.release(next.got())
		e.called("unlock", 2)
	})
}

// A process that competes with another for the lock steps aside when it has had
// it for a slice: before it asks for it again, it pauses.
func TestStepsAsideForARival(t *testing.T) {
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

		// Then, with nobody seen any more, it only probes.
		time.Sleep(rivalMemory)
		probed := e.k.called("pause")
		for range 100 * time.Millisecond / section {
			e.lockFor(section)
		}
		if n := e.k.called("pause") - probed; n != 9 {
			t.Errorf("%d probes in 100 ms, want 9", n)
		}
	})
}

// After a long hold, who got the lock in spite of the pause lets it go for another
// one, until somebody takes it, or often enough that nobody seems to wait.
func TestOffersTheLockAgainAfterALongHold(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(0)
		e.lockFor(longHold)
		e.called("pause", 0)
		e.lockFor(sliceTime)
		e.called("pause", 0) // only now it has had the lock for a slice

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
		for patience := e.l.entry().fair.reofferLimit; patience > 0; patience /= 2 {
			e.lockFor(sliceTime)
			want += 1 + patience
			e.called("pause", want)
			if since := time.Duration(now() - e.l.entry().fair.lockedAt); since != sliceTime {
				t.Errorf("the slice began %v ago, want %v", since, sliceTime)
			}
		}
		e.lockFor(sliceTime)
		e.called("pause", want+1)
	})
}

// On a network it does not.
func TestOffersNoNetworksLockAgain(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		e.heldAfterRival(sliceTime)
		for range 2 {
			e.lockFor(0)
			e.called("pause", 1) // it had its chance
		}
	})
}

// A context that panics meanwhile loses no lock.
func TestPanicDuringAnOffer(t *testing.T) {
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

// panicsInAPause is a context whose Err panics once there was a pause.
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

// Who is cancelled meanwhile does not go on with that.
func TestCancelEndsTheOffers(t *testing.T) {
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

// A file that does not unlock for an offer, or cannot be asked for after it, is trouble
// like any other.
func TestOfferThatDoesNotUnlock(t *testing.T) {
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
					t.Error("it goes on with the file that did not unlock")
				}
			} else {
				a.failed(errBroken)
			}
			e.works()
		}
	})
}

// To let the lock go takes its time on some file systems. Nobody else has had
// a chance meanwhile.
func TestStepsAsideWhereUnlockIsSlow(t *testing.T) {
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

// Where no rival is known, whoever has the lock most of the time offers it once
// in a while, be it for one long hold after the other or with short ones between.
func TestOffersTheLockNowAndThen(t *testing.T) {
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
				t.Errorf("sections of %v: %d pauses, want one a round", sections, n)
			}
		})
	}
}

// Nobody pauses who lets the lock go all the time or leaves it free for a
// moment, and TryAcquire never does.
func TestDoesNotStepAside(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for range 100_000 { // a second in all, without knowing of a rival
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

// Who holds the lock for no time asks a few times more before it parks, and who
// holds it for longer does not.
func TestAsksAgainWhereHoldsAreShort(t *testing.T) {
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
				t.Errorf("TryAcquire asked %d times", n)
			}

			release = before + 1 + 1 + maxSpins // the last that a short hold asks
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

			// Never let go in time: it parks.
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

// Where a try takes long, nobody asks many times more, nor parks for whom it has
// taken too long.
func TestAsksAgainOnceWhereItTakesLong(t *testing.T) {
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
			t.Errorf("asked %d times", n)
		}
		e.stats(Stats{Acquired: 1, Cancelled: 1})
	})
}
