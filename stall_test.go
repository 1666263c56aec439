package packlock

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

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

// The search for deadlocks comes back after a goroutine was stopped with the registry's
// mutex locked, and nothing piles up behind it.
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
	time.Sleep(5 * deadlockAge) // that it is locked
	during := runtime.NumGoroutine()
	reg.mu.Unlock()
	// Each pack may be in the middle of a search.
	if during > before+packs+packs/2 {
		t.Errorf("%d goroutines, %d before", during, before)
	}
	until(t, "the goroutines to be as many as before", func() bool { return runtime.NumGoroutine() <= before+packs/10 })
	cancel()
	waiters.Wait()
}

// A thousand deadlocks at once are all broken, and meanwhile others can open packs.
func TestManyDeadlocksAtOnceAreBroken(t *testing.T) {
	breakDeadlocks(t, 1000)
}

// breakDeadlocks has n deadlocks of two goroutines come about at once. It returns when
// all are over after the first could be broken, and the longest time that an Open took
// meanwhile.
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

// How long it takes until a thousand deadlocks are over, once the first could be broken,
// and how long an Open takes meanwhile, at most.
func BenchmarkManyDeadlocksAtOnce(b *testing.B) {
	var all, open time.Duration
	for range b.N {
		a, o := breakDeadlocks(b, 1000)
		all, open = all+a, max(open, o)
	}
	b.ReportMetric(float64(all.Milliseconds())/float64(b.N), "ms/all")
	b.ReportMetric(float64(open.Milliseconds()), "ms/worst-open")
}
