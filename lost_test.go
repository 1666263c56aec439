package packlock

import (
	"errors"
	"io/fs"
	"path/filepath"
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
		return e.lockedElsewhere().letGo
	}},
	{"another process, for which a thread is parked", func(e *engine) func() {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		return f.letGo
	}},
	{"another process, for which a goroutine blocks", func(e *engine) func() {
		f := e.lockedElsewhere()
		l := e.open(fakePath)
		a := e.blocking(l)
		return func() {
			f.letGo()
			e.release(a.got())
			closeLock(e, l)
		}
	}},
	{"a goroutine", func(e *engine) func() {
		h := e.heldByAnother()
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
				old.letGo()
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
		f.letGo()
		h := first.got()
		moving.waits()
		e.release(h)
		e.release(moving.got())
		closeLock(e, fresh)
		old.letGo()
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
		f.letGo()
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
		f.letGo()
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
		f.letGo()
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
		f.letGo()
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
		old.letGo()
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
		f.letGo()
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
		f.letGo()
		e.release(h)
	})
}

// The one that was in the way lets go while somebody else moves on: nobody is left to
// close the old file but who moves.
func TestLostFileIsClosedByWhoMoves(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByAnother()
		e.k.replace(fakePath)
		time.Sleep(pathCheckAge + 1)
		e.beforeNext("open", h.Release)
		e.release(e.try(e.l))
		e.descriptors(1)
	})
}
