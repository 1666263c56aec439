package packlock

import (
	"testing"
	"time"
)

func TestWaitsAreTimed(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		times := func(sum, longest time.Duration) {
			t.Helper()
			// A pause or two may be part of it.
			if s := e.l.Stats(); s.WaitTime.Round(time.Second) != sum || s.LongestWait.Round(time.Second) != longest {
				t.Errorf("%v, longest %v; want %v, longest %v", s.WaitTime, s.LongestWait, sum, longest)
			}
		}
		e.release(e.try(e.l))
		times(0, 0) // nobody has waited

		h := e.try(e.l)
		a := e.acquire(e.l)
		time.Sleep(time.Minute)
		e.acquire(e.l).givesUp() // whose wait was in vain
		time.Sleep(time.Minute)
		e.release(h)
		e.release(a.got())
		times(2*time.Minute, 2*time.Minute)

		f := e.lockedElsewhere()
		a, b := e.acquire(e.l), e.blocking(e.l)
		time.Sleep(time.Minute)
		f.letGo()
		e.release(a.got())
		e.release(b.got())
		times(4*time.Minute, 2*time.Minute)

		f.lock(t)
		b = e.blocking(e.l) // in the kernel, on its own thread
		time.Sleep(time.Hour)
		f.letGo()
		e.release(b.got())
		times(time.Hour+4*time.Minute, time.Hour)

		// The wait of who finds the file lost and the new one held begins there.
		e.k.replace(fakePath)
		f = e.lockedElsewhere()
		a = e.acquire(e.l)
		time.Sleep(time.Minute)
		f.letGo()
		e.release(a.got())
		times(time.Hour+5*time.Minute, time.Hour)

		// The history goes on with the file that takes the place of a lost one.
		e.k.replace(fakePath)
		e.release(e.try(e.l))
		times(time.Hour+5*time.Minute, time.Hour)
	})
}

// A wait ends with the hand-over, and not when the one before had got the lock.
func TestWaitForAHandOverIsTimedToItsEnd(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a := e.acquire(e.l)
		time.Sleep(sliceTime / 2)
		e.release(h)
		e.release(a.got())
		if s := e.l.Stats(); s.WaitTime != sliceTime/2 || s.HandedOver != 1 {
			t.Errorf("%+v", s)
		}
	})
}
