package packlock

import (
	"slices"
	"sync"
	"sync/atomic"
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

// The counts of a lost file are added to those of the one that took its place, and
// nothing is left behind.
func TestCountsMoveWhole(t *testing.T) {
	fill := func(c *counters, n uint64) {
		for i, u := range []*atomic.Uint64{
			&c.acquired, &c.contended, &c.handedOver, &c.kernelWaits, &c.cancelled, &c.adopted, &c.drained, &c.reopened,
		} {
			u.Store(n + uint64(i))
		}
		c.waitTime.Store(int64(n + 8))
		c.longestWait.Store(int64(n + 9))
	}
	read := func(c *counters) (all []uint64) {
		for _, u := range []*atomic.Uint64{
			&c.acquired, &c.contended, &c.handedOver, &c.kernelWaits, &c.cancelled, &c.adopted, &c.drained, &c.reopened,
		} {
			all = append(all, u.Load())
		}
		return append(all, uint64(c.waitTime.Load()), uint64(c.longestWait.Load()))
	}
	for _, n := range []uint64{100, 1000} { // the longest wait may be the one's or the other's
		var to, from counters
		fill(&to, 300)
		fill(&from, n)
		to.take(&from)
		var want []uint64
		for i := range uint64(9) {
			want = append(want, 300+n+2*i)
		}
		want = append(want, max(300, n)+9)
		if got := read(&to); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got := read(&from); slices.Max(got) != 0 {
			t.Errorf("%v are left", got)
		}
	}
}

// An acquire that ends its wait and a move raise the longest wait at the same time: the
// longer one stays.
func TestLongestWaitIsRaisedByTwo(t *testing.T) {
	for range 1000 {
		var c counters
		var both sync.WaitGroup
		for _, d := range []int64{1, 2} {
			both.Go(func() { c.maxLongestWait(d) })
		}
		both.Wait()
		if d := c.longestWait.Load(); d != 2 {
			t.Fatalf("the longest wait is %d, want 2", d)
		}
		c.maxLongestWait(1)
		if d := c.longestWait.Load(); d != 2 {
			t.Fatalf("the longest wait is %d after a shorter one", d)
		}
	}
}
