package packlock

import (
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A file is waited for by two names, of which one is lost, or both are.

// twoNames has the lock of a file with two names be another process's, and one wait
// for it by each.
func twoNames(e *engine) (one, other *acquiring, end func()) {
	e.Helper()
	e.k.link(fakePath, otherPath)
	l := e.open(otherPath)
	f := e.lockedElsewhere()
	return e.acquire(e.l), e.acquire(l), func() {
		f.letGo()
		synctest.Wait()
		e.close(l)
	}
}

func TestWatchLooksAtEveryName(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		one, other, end := twoNames(e)
		e.k.unlink(fakePath)
		e.k.unlink(otherPath)
		time.Sleep(watchInterval)
		for _, a := range []*acquiring{one, other} {
			h := a.got()
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			e.release(h)
		}
		end()
	})
}

func TestDirectoryThatIsGoneIsNoMatterByAnotherName(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		one, other, end := twoNames(e)
		e.k.removeDir(filepath.Dir(fakePath))
		time.Sleep(2 * watchInterval)
		one.failed(fs.ErrNotExist)
		other.waits()
		end()
		e.release(other.got())
		e.k.makeDir(filepath.Dir(fakePath))
	})
}

// When nobody waits any more the watch ends, and begins anew with who waits next.
func TestWatchEndsWithTheWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		entry := e.l.entry()
		watched := func(want bool) {
			t.Helper()
			entry.mu.Lock()
			defer entry.mu.Unlock()
			if entry.pathAlarm.isSet != want {
				t.Fatalf("watched: %t", !want)
			}
		}
		for range 2 {
			watched(false)
			a := e.acquire(e.l)
			time.Sleep(3 * watchInterval)
			watched(true)
			a.givesUp()
			time.Sleep(watchInterval + 1)
		}
		a := e.acquire(e.l)
		time.Sleep(2 * watchInterval)
		e.k.replace(fakePath)
		time.Sleep(watchInterval + 1)
		e.release(a.got())
		time.Sleep(watchInterval + 1)
		watched(false) // of the lost file
		f.letGo()
		synctest.Wait()
	})
}

// Who has waited for long and parks anew does not put off the watch for the others.
func TestWatchIsNotPutOffByWhoParks(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.link(fakePath, otherPath)
		l := e.open(otherPath)
		f := e.lockedElsewhere()
		var line []*acquiring
		for range 4 {
			line = append(line, e.acquire(e.l))
			time.Sleep(2 * watchInterval)
		}
		lost := e.acquire(l)
		time.Sleep(2*watchInterval + watchInterval/2)
		e.k.unlink(otherPath)
		for _, a := range line[:3] {
			// Another process is next, and has it for less than a watchInterval.
			next := e.k.foreigner(t, fakePath)
			go next.waitForLock()
			synctest.Wait()
			f.letGo()
			h := a.got()
			time.Sleep(sliceTime)
			e.release(h)
			time.Sleep(watchInterval * 2 / 5)
			f = next
		}
		h := lost.got()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
		f.letGo()
		e.release(line[3].got())
		synctest.Wait()
		e.close(l)
	})
}

// A watch that began in a bubble of testing/synctest never comes by after its end.
func TestWatchOfABubbleIsNotReliedOnOutside(t *testing.T) {
	l, err := newRegistry(newFakeKernel()).openFile(fakePath)
	if err != nil {
		t.Fatal(err)
	}
	queue := func(t *testing.T) {
		h, err := l.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { takeTurn(t.Context(), t, l) })
		for l.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		e := l.entry()
		e.mu.Lock()
		for _, a := range []*alarm{&e.pathAlarm, &e.deadlockAlarm} {
			if until := time.Duration(a.due - now()); !a.isSet || until <= 0 || until > watchInterval {
				t.Errorf("an alarm goes off in %v, set: %t", until, a.isSet)
			}
		}
		e.mu.Unlock()
		release(t, h)
		wg.Wait()
	}
	synctest.Test(t, queue)
	queue(t)
	synctest.Test(t, queue)
	closeLock(t, l)
}

// A timer that will never fire, having been made in a bubble that has ended, keeps
// nobody from being looked after.
func TestWatchThatNeverComesIsReplaced(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		entry := e.l.entry()
		for _, due := range []time.Duration{-time.Hour, time.Hour} {
			entry.mu.Lock()
			for _, a := range []*alarm{&entry.pathAlarm, &entry.deadlockAlarm} {
				a.isSet, a.due = true, now()+int64(due)
				a.set++
			}
			entry.mu.Unlock()
			a := e.acquire(e.l)
			before := e.k.called("sameAt")
			time.Sleep(watchInterval + 1)
			e.called("sameAt", before+1)
			a.givesUp()
		}
		f.letGo()
	})
}

// Who waits on after a long wait does not put the watch off: it comes at its time.
func TestWatchIsOnTimeForWhoHasWaitedForLong(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		time.Sleep(10*watchInterval + watchInterval/2)
		e.k.replace(fakePath)
		next := e.lockedElsewhere()
		time.Sleep(watchInterval / 2) // the watch moves it to the new file, where it parks
		synctest.Wait()
		entry := e.l.entry()
		entry.mu.Lock()
		due := entry.pathAlarm.due
		entry.mu.Unlock()
		if due != now()+int64(watchInterval) {
			t.Errorf("due in %v, want %v", time.Duration(due-now()), watchInterval)
		}
		next.letGo()
		e.release(a.got())
		f.letGo()
		synctest.Wait()
	})
}
