package packlock

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file show that a sidecar that is lost while somebody else has
// its lock is noticed: by who tries, by who arrives and by who waits already.

// losses are the ways in which a sidecar is lost.
var losses = []struct {
	name string
	lose func(*fakeKernel)
}{
	{"deleted", func(k *fakeKernel) { k.unlink(fakePath) }},
	{"replaced", func(k *fakeKernel) { k.replace(fakePath) }},
	{"renamed", func(k *fakeKernel) { k.rename(fakePath, otherPath) }},
}

// inTheWay are those who have the old file, or the turn for it, when it is lost.
var inTheWay = []struct {
	name    string
	prepare func(e *engine) (letGo func())
}{
	{"another process", func(e *engine) func() {
		return e.lockedElsewhere().release
	}},
	{"another process, for which a thread is parked", func(e *engine) func() {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		return f.release
	}},
	{"another process, for which a goroutine blocks", func(e *engine) func() {
		f := e.lockedElsewhere()
		l := e.open(fakePath)
		a := e.blocking(l)
		return func() {
			f.release()
			e.release(a.got())
			closeLock(e, l)
		}
	}},
	{"a goroutine", func(e *engine) func() {
		h := e.heldByOtherGoroutine()
		return func() { e.release(h) }
	}},
	{"its own goroutine", func(e *engine) func() {
		h := e.try(e.l)
		return func() { e.release(h) }
	}},
}

// forEachLoss runs test for every loss and everybody who is in the way of it. When
// it is called the last look is too old to be trusted.
func forEachLoss(t *testing.T, test func(t *testing.T, e *engine)) {
	for _, loss := range losses {
		for _, way := range inTheWay {
			t.Run(loss.name+" under "+way.name, func(t *testing.T) {
				onFake(t, func(t *testing.T, e *engine) {
					letGo := way.prepare(e)
					loss.lose(e.k)
					time.Sleep(pathCheckAge + 1)
					test(t, e)
					letGo()
					synctest.Wait()
				})
			})
		}
	}
}

func TestTryDoesNotCallALostFileBusy(t *testing.T) {
	forEachLoss(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

func TestAcquireDoesNotWaitForALostFile(t *testing.T) {
	forEachLoss(t, func(t *testing.T, e *engine) {
		a := e.acquire(e.l)
		time.Sleep(watchInterval) // behind a goroutine of its own process, it is the watch that looks
		h := a.got()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

func TestAcquireBlockingDoesNotWaitForALostFile(t *testing.T) {
	forEachLoss(t, func(t *testing.T, e *engine) {
		a := e.blocking(e.l)
		time.Sleep(watchInterval)
		e.release(a.got())
	})
}

// Only who comes from outside of the process makes an arrival look: between
// goroutines, the watch is enough.
func TestArrivalThatFindsTheFileInPlaceWaits(t *testing.T) {
	for _, way := range inTheWay[:4] {
		t.Run(way.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				letGo := way.prepare(e)
				time.Sleep(pathCheckAge + 1)
				if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
					t.Errorf("%v, want ErrBusy", err)
				}
				a := e.acquire(e.l)
				time.Sleep(10 * watchInterval)
				a.waits()
				a.givesUp()
				letGo()
				synctest.Wait()
				if s := e.l.Stats(); s.Reopened != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Who waits is served by the new file, in its order, and the thread that was parked
// for them drains.
func TestWhoWaitsMovesToTheNewFile(t *testing.T) {
	for _, loss := range losses {
		t.Run(loss.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				old := e.lockedElsewhere()
				samePath := e.open(fakePath)
				line := []*acquiring{e.acquire(e.l), e.acquire(samePath), e.acquire(e.l)}
				loss.lose(e.k)
				time.Sleep(watchInterval)
				for i, a := range line {
					h := a.got()
					if err := h.Check(); err != nil {
						t.Error(err)
					}
					for _, behind := range line[i+1:] {
						behind.waits()
					}
					e.release(h)
				}
				e.descriptors(2) // the old one is still waited for
				old.release()
				synctest.Wait()
				e.descriptors(1)
				e.stats(Stats{Acquired: 3, Contended: 3, HandedOver: 2, KernelWaits: 1, Reopened: 1})
				closeLock(e, samePath)
			})
		})
	}
}

// Those who wait for the new file already go first.
func TestWhoMovesQueuesBehindThoseWhoWaitThere(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.lockedElsewhere()
		moving := e.acquire(e.l)
		e.k.replace(fakePath)
		fresh := e.open(fakePath)
		f := e.lockedElsewhere()
		first := e.acquire(fresh)
		time.Sleep(watchInterval)
		moving.waits()
		f.release()
		h := first.got()
		moving.waits()
		e.release(h)
		e.release(moving.got())
		closeLock(e, fresh)
		old.release()
		synctest.Wait()
	})
}

func TestDirectoryThatIsGoneEndsEveryWait(t *testing.T) {
	for _, way := range inTheWay[:4] {
		t.Run(way.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				letGo := way.prepare(e)
				line := []*acquiring{e.acquire(e.l), e.acquire(e.l)}
				e.k.removeDir(filepath.Dir(fakePath))
				time.Sleep(watchInterval)
				for _, a := range line {
					a.failed(fs.ErrNotExist)
				}
				if _, err := e.l.TryAcquire(); !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				late := e.acquire(e.l)
				time.Sleep(watchInterval)
				late.failed(fs.ErrNotExist)
				e.k.makeDir(filepath.Dir(fakePath))
				letGo()
				synctest.Wait()
				e.release(e.try(e.l))
			})
		})
	}
}

// An arrival that finds the directory gone tells those who wait.
func TestDirectoryThatIsGoneIsToldByWhoArrives(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		first := e.acquire(e.l)
		e.k.removeDir(filepath.Dir(fakePath))
		time.Sleep(pathCheckAge + 1)
		e.acquire(e.l).failed(fs.ErrNotExist)
		first.failed(fs.ErrNotExist)
		f.release()
		synctest.Wait()
	})
}

// The watch costs one look for all who wait, once in its time, and none where
// somebody has just looked.
func TestOneLookForAllWhoWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		samePath := e.open(fakePath)
		var line []*acquiring
		for range 50 {
			line = append(line, e.acquire(e.l), e.acquire(samePath))
		}
		before := e.k.called("sameAt")
		time.Sleep(10*watchInterval + watchInterval/2)
		e.called("sameAt", before+10)
		for _, a := range line {
			a.givesUp()
		}
		time.Sleep(10 * watchInterval)
		e.called("sameAt", before+10) // nobody is left to look for
		closeLock(e, samePath)
		f.release()
		synctest.Wait()
	})
}

// A server does not answer. Neither those who arrive meanwhile nor the watch hang,
// each on a thread of its own, behind the one look that does.
func TestOneHangsInALookForAll(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		line := []*acquiring{e.acquire(e.l)}
		time.Sleep(pathCheckAge + 1)
		before := e.k.called("sameAt")
		goOn := e.holdUp("sameAt")
		hangs := e.acquire(e.l)
		for range 10 {
			line = append(line, e.acquire(e.l))
		}
		time.Sleep(time.Minute)
		e.called("sameAt", before+1)
		for _, a := range line {
			a.givesUp()
		}
		hangs.waits()
		goOn()
		synctest.Wait()
		e.k.setHook(nil)
		time.Sleep(watchInterval + 1)
		e.called("sameAt", before+2) // the watch goes on
		f.release()
		e.release(hangs.got())
	})
}

// The watch hangs in a look as well, and whoever arrives queues up.
func TestWatchThatHangsIsOne(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		before := e.k.called("sameAt")
		goOn := e.holdUp("sameAt")
		time.Sleep(time.Minute + 1)
		b := e.acquire(e.l)
		e.called("sameAt", before+1)
		e.k.replace(fakePath)
		goOn()
		h := a.got() // of the new file
		e.release(h)
		e.release(b.got())
		f.release()
		synctest.Wait()
	})
}

// Who has the turn looks for itself and is first, whoever else finds the file lost.
func TestWatchDoesNotOvertakeAnAcquireUnderWay(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		goOn := e.holdUp("try")
		first := e.acquire(e.l)
		second := e.acquire(e.l)
		e.k.replace(fakePath)
		time.Sleep(2 * watchInterval)
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		goOn()
		h := first.got()
		second.waits()
		e.release(h)
		e.release(second.got())
		e.stats(Stats{Acquired: 2, Contended: 1, HandedOver: 1, Reopened: 1})
	})
}

// A goroutine blocks in the kernel for the old file while everybody else moves, and
// the new file is lost, too: it comes along when the kernel answers.
func TestWhoBlocksFollowsItsLock(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.lockedElsewhere()
		blocked := e.blocking(e.l)
		for range 2 {
			e.k.replace(fakePath)
			time.Sleep(pathCheckAge + 1)
			e.release(e.try(e.l))
		}
		e.k.replace(fakePath)
		blocked.waits()
		old.release()
		h := blocked.got()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
		if s := e.l.Stats(); s.Reopened != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// The path check fails. An acquire that would be refused returns that error. Waiters go
// on waiting, and the next check may succeed.
func TestErrorOfACheckForWaiters(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		first := e.acquire(e.l)
		time.Sleep(pathCheckAge + 1)
		e.fail("sameAt", errBroken)
		second := e.acquire(e.l)
		if _, err := e.l.TryAcquire(); !errors.Is(err, errBroken) {
			t.Errorf("%v, want %v", err, errBroken)
		}
		time.Sleep(2 * watchInterval)
		first.waits()
		second.waits()
		e.k.setHook(nil)
		f.release()
		e.release(first.got())
		e.release(second.got())
	})
}

// The time of its last change tells of a rename at once.
func TestRenameIsNoticedAtOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.release(e.try(e.l))
		e.k.link(fakePath, otherPath) // that changes it, too, and costs path checks
		e.release(e.try(e.l))
		e.called("sameAt", 2)
		e.settleCtime()
		e.called("sameAt", 3)
		e.release(e.try(e.l))
		e.called("sameAt", 3)
		e.k.rename(fakePath, otherPath)
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// Nobody is left for whom a poller could poll.
func TestPollerOfALostFileStops(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.reg.threads.n.Store(maxParked)
		a := e.acquire(e.l)
		e.k.replace(fakePath)
		time.Sleep(watchInterval)
		h := a.got()
		e.reg.threads.n.Store(0)
		e.descriptors(1)
		f.release()
		e.release(h)
	})
}

// The one that was in the way lets go while somebody else moves on: nobody is left to
// close the old file but who moves.
func TestLostFileIsClosedByWhoMoves(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByOtherGoroutine()
		e.k.replace(fakePath)
		time.Sleep(pathCheckAge + 1)
		e.beforeNext("open", h.Release)
		e.release(e.try(e.l))
		e.descriptors(1)
	})
}

// A file is waited for by two names, of which one is lost, or both are.

// twoNames has the lock of a file with two names be another process's, and one wait
// for it by each.
func twoNames(e *engine) (one, other *acquiring, end func()) {
	e.Helper()
	e.k.link(fakePath, otherPath)
	l := e.open(otherPath)
	f := e.lockedElsewhere()
	return e.acquire(e.l), e.acquire(l), func() {
		f.release()
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
		f.release()
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
			f.release()
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
		f.release()
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
		f.release()
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
		next.release()
		e.release(a.got())
		f.release()
		synctest.Wait()
	})
}

// movedAway has the directory of the sidecar be renamed. Only a look at the path
// shows that.
func (e *engine) movedAway() error {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	delete(e.k.files, fakePath)
	return nil
}

// takenAway has another process take the lock before.
func (e *engine) takenAway() error {
	e.Helper()
	e.lockedElsewhere()
	return e.movedAway()
}

// longerThanTrusted lets so much time pass that a look from before is not trusted
// any more.
func longerThanTrusted() error {
	time.Sleep(pathCheckAge + 1)
	return nil
}

// A look takes its time. What it saw is as old as its beginning.
func TestLookIsAsOldAsItsBeginning(t *testing.T) {
	for call, look := range map[string]func(e *engine){
		"open": func(e *engine) {
			closeLock(e, e.l)
			e.l = e.open(fakePath)
		},
		"sameAt": func(e *engine) {
			e.makeCheckDue("sameAt")
			e.release(e.try(e.l))
		},
	} {
		onFake(t, func(t *testing.T, e *engine) {
			e.beforeNext(call, longerThanTrusted)
			look(e)
			e.takenAway()
			e.works()
		})
	}
}

// So it is when a lost sidecar is reopened.
func TestReopeningIsAsOldAsItsBeginning(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		e.beforeNext("open", func() error {
			e.beforeNext("try", e.takenAway) // what was reopened
			return longerThanTrusted()
		})
		e.release(e.try(e.l))
		e.works()
		e.stats(Stats{Acquired: 2, Reopened: 2})
	})
}

// The time of a file's last change is that of a clock that ticks a few hundred
// times a second. A deletion shows in the link count all the same.
func TestDeletionWithinATickOfTheClockForFiles(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.works()
		inode := e.k.inode(fakePath)
		e.k.unlink(fakePath)
		inode.changed--
		e.works()
	})
}

// A look that was young enough when the kernel was asked is not when it answers.
func TestLookIsTooOldAfterASlowTry(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.works()
		e.beforeNext("try", func() error {
			e.movedAway()
			return longerThanTrusted()
		})
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// A Lock that is taken into a bubble of testing/synctest, or out of it, was looked
// at on another clock, be it in the future.
func TestLookOnAnotherClockIsNotTrusted(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(fakePath)
		e.works()
		e.l.location.Load().passed(now() + int64(time.Hour))
		e.movedAway()
		e.works()

		h := e.try(other)
		next := e.acquire(e.l)
		e.l.location.Load().passed(now() + int64(time.Hour))
		e.movedAway()
		e.release(h)
		if err := next.got().Check(); err != nil {
			t.Error(err)
		}
		e.release(next.hold)
		closeLock(e, other)
	})
}

// It has not seen what the file says of itself either, which the next acquire would
// take for confirmed.
func TestFailedLookConfirmsNothing(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.release(e.try(e.l))
		e.k.rename(fakePath, otherPath)
		e.failNext("sameAt", errBroken)
		checkTry(t, e.l, errBroken)
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// A look that failed, or after which the file could not be reopened, has seen
// nothing: the next acquire looks again.
func TestFailedLookIsNone(t *testing.T) {
	for _, call := range []string{"sameAt", "open"} {
		onFake(t, func(t *testing.T, e *engine) {
			e.makeCheckDue("sameAt")
			e.takenAway()
			e.failNext(call, errBroken)
			checkTry(t, e.l, errBroken)
			e.works()
		})
	}
}
