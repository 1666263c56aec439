package packlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

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
			f.letGo()
			e.release(next.got())
		})
	}
}

// Waiters who were granted the lock and have given up pass it on within the
// slice, like those who had it, and not for as long as there are such.
func TestGrantThatWasGivenBackKeepsToTheSlice(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		next := e.grantedInVain(func(entry *entry) { entry.fair.handOvers = sliceHandOvers })
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
		late.letGo()
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
		f.letGo()
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
					f.letGo()
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
				f.letGo()
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
			f.letGo()
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
