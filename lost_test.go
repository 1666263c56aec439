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

// The tests of this file show that a lost lock file is noticed while a different process
// or goroutine holds its lock. A try, a new acquire and a waiter all notice it.

// losses are the ways in which a lock file is lost.
var losses = []struct {
	name string
	lose func(*fakeKernel)
}{
	{"deleted", func(k *fakeKernel) { k.unlink(fakePath) }},
	{"replaced", func(k *fakeKernel) { k.replace(fakePath) }},
	{"renamed", func(k *fakeKernel) { k.rename(fakePath, otherPath) }},
}

// obstacles are the ways in which the lock of the old file, or its turn, is taken
// when the file is lost.
var obstacles = []struct {
	name    string
	prepare func(e *engine) (end func())
}{
	{"another process", func(e *engine) func() {
		return e.lockedElsewhere().release
	}},
	{"another process, with a thread parked behind it", func(e *engine) func() {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		return f.release
	}},
	{"another process, with a goroutine blocked behind it", func(e *engine) func() {
		f := e.lockedElsewhere()
		l := e.open(fakePath)
		a := e.blocking(l)
		return func() {
			f.release()
			e.release(a.got())
			closeLock(e, l)
		}
	}},
	{"a different goroutine", func(e *engine) func() {
		h := e.heldByOtherGoroutine()
		return func() { e.release(h) }
	}},
	{"the same goroutine", func(e *engine) func() {
		h := e.try(e.l)
		return func() { e.release(h) }
	}},
}

// forEachLoss runs test for every loss and every obstacle. When test is called, the last
// path check is too old to be trusted.
func forEachLoss(t *testing.T, test func(t *testing.T, e *engine)) {
	for _, loss := range losses {
		for _, obstacle := range obstacles {
			t.Run(loss.name+" under "+obstacle.name, func(t *testing.T) {
				onFake(t, func(t *testing.T, e *engine) {
					end := obstacle.prepare(e)
					loss.lose(e.k)
					time.Sleep(pathCheckAge + 1)
					test(t, e)
					end()
					synctest.Wait()
				})
			})
		}
	}
}

// TryAcquire gets the lock of the new file at once.
func TestTryIsNotBusyOnALostFile(t *testing.T) {
	forEachLoss(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// Acquire gets the lock of the new file, at the next tick of the watch at the latest.
func TestAcquireDoesNotWaitForALostFile(t *testing.T) {
	forEachLoss(t, func(t *testing.T, e *engine) {
		a := e.acquire(e.l)
		time.Sleep(watchInterval) // behind a goroutine of its own process, only the watch checks the path
		h := a.got()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// AcquireBlocking gets the lock of the new file, at the next tick of the watch at the latest.
func TestAcquireBlockingDoesNotWaitForALostFile(t *testing.T) {
	forEachLoss(t, func(t *testing.T, e *engine) {
		a := e.blocking(e.l)
		time.Sleep(watchInterval)
		e.release(a.got())
	})
}

// An acquire waits as long as the file is in place. No path check moves it.
func TestAcquireWaitsWhileTheFileIsInPlace(t *testing.T) {
	for _, obstacle := range obstacles[:4] {
		t.Run(obstacle.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				end := obstacle.prepare(e)
				time.Sleep(pathCheckAge + 1)
				if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
					t.Errorf("%v, want ErrBusy", err)
				}
				a := e.acquire(e.l)
				time.Sleep(10 * watchInterval)
				a.waits()
				a.givesUp()
				end()
				synctest.Wait()
				if s := e.l.Stats(); s.Reopened != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Waiters get the lock of the new file, in their order. The thread that was parked for
// them drains.
func TestWaitersMoveToTheNewFile(t *testing.T) {
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
				e.descriptors(2) // a thread still waits for the old file
				old.release()
				synctest.Wait()
				e.descriptors(1)
				e.stats(Stats{Acquired: 3, Contended: 3, HandedOver: 2, KernelWaits: 1, Reopened: 1})
				closeLock(e, samePath)
			})
		})
	}
}

// Goroutines that already wait for the new file go before the waiters that move there.
func TestMovedWaitersQueueBehindTheNewFilesWaiters(t *testing.T) {
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

// When the directory is missing, every acquire fails with fs.ErrNotExist. When it is back,
// the lock works again.
func TestMissingDirectoryEndsEveryWait(t *testing.T) {
	for _, obstacle := range obstacles[:4] {
		t.Run(obstacle.name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				end := obstacle.prepare(e)
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
				end()
				synctest.Wait()
				e.release(e.try(e.l))
			})
		})
	}
}

// A new acquire that finds the directory missing ends the waits of all waiters.
func TestNewAcquireReportsAMissingDirectoryToAllWaiters(t *testing.T) {
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

// The watch checks the path once per watchInterval for all waiters together. It stops when
// no waiter is left.
func TestOnePathCheckForAllWaiters(t *testing.T) {
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
		e.called("sameAt", before+10) // no waiter is left
		closeLock(e, samePath)
		f.release()
		synctest.Wait()
	})
}

// A server does not answer. New acquires and the watch share the one path check that
// hangs, and start no others.
func TestNewAcquiresShareACheckThatHangs(t *testing.T) {
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

// The watch hangs in one path check, and a new acquire queues up.
func TestWatchHangsInOneCheckOnly(t *testing.T) {
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

// An acquire that owns the turn checks the path itself and goes first, even if the watch
// would find the file lost before.
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

// A goroutine blocks in the kernel on the old file while its Lock moves, and the new file
// is lost, too. It follows when the kernel grants it the lock.
func TestBlockingAcquireFollowsItsLock(t *testing.T) {
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

// A rename changes the file's change time, and the next acquire notices it.
func TestRenameIsNoticedAtOnce(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.release(e.try(e.l))
		e.k.link(fakePath, otherPath) // this changes the change time, too, and costs path checks
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

// A poller stops when its waiters have moved to the new file.
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

// The holder of the old file releases it while an acquire moves away. Then that acquire
// closes the old file.
func TestAcquireThatMovesClosesTheLostFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByOtherGoroutine()
		e.k.replace(fakePath)
		time.Sleep(pathCheckAge + 1)
		e.beforeNext("open", h.Release)
		e.release(e.try(e.l))
		e.descriptors(1)
	})
}

// twoNames makes a file with two names whose lock another process holds, and one wait by
// each name.
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

// Both names are lost, and the watch notices both.
func TestWatchChecksEveryName(t *testing.T) {
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

// The directory of one name is missing. The wait by the other name goes on.
func TestMissingDirectoryOfOneNameDoesNotAffectTheOther(t *testing.T) {
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

// The watch ends with the last wait, and begins again with the next one.
func TestWatchEndsWithTheWait(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		entry := e.l.entry()
		watched := func(want bool) {
			t.Helper()
			entry.mu.Lock()
			defer entry.mu.Unlock()
			if entry.pathAlarm.isSet != want {
				t.Fatalf("path alarm set: %t, want %t", !want, want)
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

// A waiter that has waited for long and parks again does not postpone the watch for the
// others.
func TestParkingDoesNotPostponeTheWatch(t *testing.T) {
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
			// Another process is next, and holds the lock for less than a watchInterval.
			next := e.k.foreigner(t, fakePath)
			go next.waitForLock(false)
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

// A timer that was started in a bubble of testing/synctest never fires after the bubble's
// end. The watch does not rely on it.
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
				t.Errorf("an alarm is due in %v, set: %t", until, a.isSet)
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

// A timer that never fires, because its bubble has ended, does not stop the watch.
func TestAlarmsWhoseTimersNeverFireAreReplaced(t *testing.T) {
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

// A waiter that has waited for long and moves to a new file does not postpone the watch.
func TestWatchIsOnTimeAfterALongWait(t *testing.T) {
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

// renameDir renames the directory of the lock file. Only a path check notices that.
func (e *engine) renameDir() error {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	delete(e.k.files, fakePath)
	return nil
}

// lockAndRenameDir is renameDir after another process has acquired the lock.
func (e *engine) lockAndRenameDir() error {
	e.Helper()
	e.lockedElsewhere()
	return e.renameDir()
}

// longerThanTrusted sleeps until an earlier path check is no longer trusted.
func longerThanTrusted() error {
	time.Sleep(pathCheckAge + 1)
	return nil
}

// A path check that takes long counts from its beginning.
func TestCheckIsAsOldAsItsBeginning(t *testing.T) {
	for call, check := range map[string]func(e *engine){
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
			check(e)
			e.lockAndRenameDir()
			e.works()
		})
	}
}

// The open of the new file that takes a lost one's place counts from its beginning, too.
func TestReopeningIsAsOldAsItsBeginning(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		e.beforeNext("open", func() error {
			e.beforeNext("try", e.lockAndRenameDir) // of the new file
			return longerThanTrusted()
		})
		e.release(e.try(e.l))
		e.works()
		e.stats(Stats{Acquired: 2, Reopened: 2})
	})
}

// A deletion within a tick of the file system's clock leaves the change time as it was.
// The link count shows it.
func TestDeletionWithinATickIsNoticed(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.works()
		inode := e.k.inode(fakePath)
		e.k.unlink(fakePath)
		inode.changed--
		e.works()
	})
}

// A path check that was recent enough when a slow try began is too old when it returns.
func TestCheckIsTooOldAfterASlowTry(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.works()
		e.settleCtime()
		e.beforeNext("try", func() error {
			e.renameDir()
			return longerThanTrusted()
		})
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

// A Lock that is taken into a bubble of testing/synctest, or out of it, has path checks
// from a different clock. They are not trusted, even if they are in the future.
func TestCheckOnADifferentClockIsNotTrusted(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(fakePath)
		e.works()
		e.l.location.Load().passed(now() + int64(time.Hour))
		e.renameDir()
		e.works()

		h := e.try(other)
		next := e.acquire(e.l)
		e.l.location.Load().passed(now() + int64(time.Hour))
		e.renameDir()
		e.release(h)
		if err := next.got().Check(); err != nil {
			t.Error(err)
		}
		e.release(next.hold)
		closeLock(e, other)
	})
}

// A path check that failed does not confirm the file's change time for the next acquire.
func TestFailedCheckConfirmsNoChangeTime(t *testing.T) {
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

// A path check that failed, or after which the new file could not be opened, does not
// count. The next acquire checks again.
func TestFailedCheckDoesNotCount(t *testing.T) {
	for _, call := range []string{"sameAt", "open"} {
		onFake(t, func(t *testing.T, e *engine) {
			e.makeCheckDue("sameAt")
			e.lockAndRenameDir()
			e.failNext(call, errBroken)
			checkTry(t, e.l, errBroken)
			e.works()
		})
	}
}

// A deletion shows in the link count, even where it does not change the change time.
func TestDeletionThatKeepsTheChangeTime(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.works()
		e.settleCtime()
		inode := e.k.inode(fakePath)
		e.k.unlink(fakePath)
		inode.changed--
		e.works()
	})
}

// Opening the lock file counts as a check of its path.
func TestOpeningIsACheck(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		checkTry(t, e.l, ErrBusy)
		e.called("sameAt", 0)
		f.release()
	})
}

// An acquire that queues behind a goroutine of this process leaves the check of the path to
// the watch.
func TestQueueingBehindAGoroutineChecksNothing(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByOtherGoroutine()
		time.Sleep(pathCheckAge + 1)
		before := e.k.called("sameAt")
		a := e.acquire(e.l)
		e.called("sameAt", before)
		time.Sleep(watchInterval + 1)
		e.called("sameAt", before+1)
		e.release(h)
		e.release(a.got())
	})
}

// The watch does not check a path that was checked just before.
func TestWatchLeavesFreshPathsAlone(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		time.Sleep(watchInterval - pathCheckAge/2)
		checkTry(t, e.l, ErrBusy)
		before := e.k.called("sameAt")
		time.Sleep(pathCheckAge)
		e.called("sameAt", before)
		time.Sleep(watchInterval)
		e.called("sameAt", before+1)
		f.release()
		e.release(a.got())
	})
}
