package packlock

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAloneOneTryOneLinkCheckOneUnlock(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		for n := range 10 {
			if n == 1 {
				time.Sleep(ctimeTick + 1) // until then the path is checked each time
			}
			h, err := e.l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			e.release(h)
		}
		for call, want := range map[string]int{"open": 1, "try": 10, "stat": 10, "unlock": 10, "sameAt": 2, "block": 0} {
			if n := e.k.called(call); n != want {
				t.Errorf("%d × %s, want %d", n, call, want)
			}
		}
		e.stats(Stats{Acquired: 10})
	})
}

func TestAcquireBlockingWaitsOnItsOwnThread(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.blocking(e.l)
		e.stats(Stats{Waiting: 1})
		b := e.blocking(e.l)
		c := e.acquire(e.l)
		e.stats(Stats{Waiting: 3})
		checkTry(t, e.l, ErrBusy)
		f.letGo()
		h := a.got()
		b.waits()
		e.release(h)
		e.release(b.got())
		e.release(c.got())
		e.stats(Stats{Acquired: 3, Contended: 3, HandedOver: 2})

		f.lock(t)
		e.fail("block", errBroken)
		e.blocking(e.l).failed(errBroken)
		e.k.setHook(nil)

		// Close cannot call it off, but it gets nothing.
		a = e.blocking(e.l)
		e.close(e.l)
		a.waits()
		f.letGo()
		a.failed(fs.ErrClosed)
		f.lock(t)
		f.letGo()
	})
}

// Past the cap on parked threads, further packs are polled; a thread that
// becomes free is used.
func TestThreadCap(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		type pack struct {
			*Lock
			foreigner
			a *acquiring
		}
		packs := make([]pack, maxParked+2)
		for i := range packs {
			path := fakeAbs(fmt.Sprintf("/packs/%d", i))
			p := &packs[i]
			p.Lock = e.open(path)
			p.foreigner = e.k.foreigner(t, path)
			p.foreigner.lock(t)
			p.a = e.acquire(p.Lock)
		}
		for i, p := range packs {
			s := p.Stats()
			if want := i < maxParked; s.Parked != want || s.Waiting != 1 {
				t.Errorf("pack %d: %+v", i, s)
			}
		}

		polled := &packs[maxParked]
		tries := func() int { return e.k.called("try") }
		before := tries()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		// Two packs: at 1, 3, 7, 15, 31, 63 and 113 ms, then each 50 ms.
		if n := tries() - before; n < 2*200 || n > 2*206 {
			t.Errorf("%d tries in 10 s, want some 400", n)
		}
		polled.foreigner.letGo()
		time.Sleep(pollMax)
		h := polled.a.got()
		e.release(h)

		// Given up, it leaves nothing behind, at once.
		polled.foreigner.lock(t)
		polled.a = e.acquire(polled.Lock)
		polled.a.cancel()
		polled.a.failed(ErrCancelled)
		synctest.Wait()
		polled.foreigner.letGo()
		e.release(e.try(polled.Lock))

		// Not so if somebody came in time.
		polled.foreigner.lock(t)
		polled.a = e.acquire(polled.Lock)
		polled.Lock.entry().pollerStop <- struct{}{}
		polled.a.waits()
		e.close(polled.Lock)
		polled.a.failed(fs.ErrClosed)
		polled.foreigner.letGo()

		// An error ends polling as it ends parking.
		last := &packs[maxParked+1]
		e.fail("try", errBroken)
		time.Sleep(pollMax)
		last.a.failed(errBroken)
		e.k.setHook(nil)

		// A thread becomes free for who polls.
		last.a = e.acquire(last.Lock)
		if last.Stats().Parked {
			t.Error("parked beyond the cap")
		}
		packs[0].foreigner.letGo()
		e.release(packs[0].a.got())
		time.Sleep(pollMax)
		synctest.Wait()
		if !last.Stats().Parked {
			t.Error("still polling")
		}

		for i := range packs {
			p := &packs[i]
			if i != 0 && i != maxParked {
				p.foreigner.letGo()
				e.release(p.a.got())
			}
			p.Lock.Close()
		}
	})
}

func TestThreadsAreBounded(t *testing.T) {
	// One more pack than there may be parked threads, and so on: the rest is
	// polled.
	const packs = maxParked + 20
	needKernel(t)
	dir := t.TempDir()
	unlock := make([]func(), packs)
	before := threads()
	ctx := bounded(t)
	locks := make([]*Lock, packs)
	var wg sync.WaitGroup
	for i := range packs {
		path := filepath.Join(dir, strconv.Itoa(i))
		l, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		locks[i] = l
		if unlock[i], err = rawLock(path, true); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { takeTurn(ctx, t, l) })
	}
	parked := 0
	for _, l := range locks {
		until(t, "a goroutine to queue", func() bool { return l.Stats().Waiting == 1 })
		if l.Stats().Parked {
			parked++
		}
	}
	if parked > maxParked {
		t.Errorf("%d threads are parked, want %d", parked, maxParked)
	}
	if now := threads(); now > before+maxParked+12 {
		t.Errorf("%d threads before, %d while goroutines wait for %d packs", before, now, packs)
	}
	// From the last, which are polled, to the first.
	for _, unlock := range slices.Backward(unlock) {
		unlock()
	}
	wg.Wait()
}
