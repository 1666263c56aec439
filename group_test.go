package packlock

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A shared try that comes while another goroutine of this process takes or gives back the
// shared lock waits for that, and is not told that the lock is busy.
func TestTryAcquireSharedWhileAnotherIsInTheMaking(t *testing.T) {
	for _, call := range []string{"try", "stat", "unlock"} {
		onFake(t, func(t *testing.T, e *engine) {
			goOn := e.holdUp(call)
			first := e.start(func(context.Context) (*Hold, error) {
				h, err := e.l.TryAcquireShared()
				if call == "unlock" {
					h.Release()
				}
				return h, err
			})
			try := e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() })
			try.waits()
			if _, err := e.l.TryAcquire(); !errors.Is(err, ErrBusy) {
				t.Errorf("exclusive: %v, want ErrBusy", err)
			}
			w := e.acquire(e.l)
			behind := e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() })
			behind.failed(ErrBusy)
			e.k.setHook(nil)
			goOn()
			e.release(try.got())
			if call != "unlock" {
				e.release(first.got())
			}
			e.release(w.got())
			e.works()
		})
	}
}

// Shared tries that wait for how another one ends do not wait for a different process, nor
// for the holder of a new file.
func TestTryAcquireSharedDoesNotWaitForAHold(t *testing.T) {
	for _, first := range []string{"parks", "moves"} {
		onFake(t, func(t *testing.T, e *engine) {
			f := e.k.foreigner(t, fakePath)
			goOn := e.holdUp("try")
			waits := e.shared(e.l)
			try := e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() })
			try.waits()
			e.k.setHook(nil)
			if first == "parks" {
				f.lock(t)
				goOn()
				try.failed(ErrBusy)
				waits.waits()
				f.release()
				e.release(waits.got())
				return
			}
			e.k.replace(fakePath)
			h := e.try(e.open(fakePath)) // of the new file
			goOn()
			try.failed(ErrBusy)
			waits.waits()
			e.release(h)
			e.release(waits.got())
		})
	}
}

// A shared acquire does not join a group whose file is lost. It acquires the lock of the new
// file, while the group still holds the old one.
func TestLostFileIsNotJoined(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old, other := e.shared(e.l).got(), e.shared(e.l).got()
		e.k.replace(fakePath)
		time.Sleep(handOverCheckAge + 1)
		h := e.shared(e.l).got()
		for _, h := range []*Hold{old, other} {
			if err := h.Check(); !errors.Is(err, ErrLost) {
				t.Errorf("Check of a hold of the old file: %v, want ErrLost", err)
			}
		}
		if err := h.Check(); err != nil {
			t.Errorf("Check of a hold of the new file: %v", err)
		}
		e.stats(Stats{Acquired: 3, Reopened: 1, SharedHolds: 1})
		e.release(old)
		e.release(h)
		e.release(other)
		e.works()
	})
}

// A caller that holds the lock of a lost file shared is no holder of the new one.
func TestReentryEndsWithTheFile(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		old := e.tryShared(e.l)
		e.k.replace(fakePath)
		f := e.lockedElsewhere() // the new file
		time.Sleep(pathCheckAge + 1)
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		a := e.start(func(ctx context.Context) (*Hold, error) { return e.l.AcquireShared(old.Context(ctx)) })
		a.waits()
		f.release()
		e.release(a.got())
		e.release(e.try(e.l)) // exclusively
		e.release(old)
	})
}

// As long as a lost file keeps its name, nothing else can be at its path. Then a shared
// acquire waits for the group to end, and the last member has the file closed.
func TestLostFileThatKeepsItsNameIsClosedByTheLastMember(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		inode := e.k.inode(fakePath)
		e.k.replace(fakePath)
		e.k.setHook(func(call, path string) error {
			if call == "open" && e.k.isOpen(inode) {
				return errDeletePending
			}
			return nil
		})
		time.Sleep(handOverCheckAge + 1)
		a, b := e.shared(e.l), e.shared(e.l)
		a.waits()
		b.waits()
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		e.release(h)
		e.release(a.got())
		e.release(b.got())
		if e.k.isOpen(inode) {
			t.Error("the lost file is open")
		}
		e.works()
	})
}

// A shared acquire fails if the directory of its lost file is gone.
func TestJoiningFailsWithoutTheDirectory(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		e.k.removeDir(filepath.Dir(fakePath))
		time.Sleep(handOverCheckAge + 1)
		e.shared(e.l).failed(fs.ErrNotExist)
		e.release(h)
	})
}

// A shared acquire that cannot check the path fails, and has left the group.
func TestJoinThatCannotCheckThePathFails(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		time.Sleep(handOverCheckAge + 1)
		e.failNext("sameAt", errBroken)
		e.shared(e.l).failed(errBroken)
		e.release(h)
		e.works()
	})
}

// When a shared acquire is cancelled while it joins, it leaves the group, also as the last
// member.
func TestJoinThatIsCancelled(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		time.Sleep(handOverCheckAge + 1)
		goOn := e.holdUp("sameAt")
		a := e.shared(e.l)
		e.release(h)
		a.cancel()
		e.called("unlock", 0)
		goOn()
		a.failed(ErrCancelled)
		e.called("unlock", 1)
		e.works()
	})
}

// A shared waiter whose context ends after it was let in leaves the group again.
func TestCancelWinsOverJoin(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		w := e.acquire(e.l)
		r := e.shared(e.l)
		entry := e.l.entry()
		entry.mu.Lock()
		r.cancel()
		w.cancel()
		entry.mu.Unlock()
		w.returns()
		r.returns()
		if r.hold != nil {
			e.release(r.hold)
		}
		e.stats(Stats{Acquired: e.l.Stats().Acquired, Cancelled: e.l.Stats().Cancelled, SharedHolds: 1})
		e.release(h)
		e.works()
	})
}

// An exclusive lock that is released while shared waiters are next is converted where the
// kernel does that in one step. Elsewhere it is unlocked, and they acquire it anew.
func TestExclusiveLockIsConvertedForReaders(t *testing.T) {
	for _, remote := range []bool{false, true} {
		onKernel(t, remote, func(t *testing.T, e *engine) {
			h := e.acquire(e.l).got()
			readers := []*acquiring{e.shared(e.l), e.shared(e.l)}
			w := e.acquire(e.l)
			unlocks := e.k.called("unlock")
			e.release(h)
			for _, r := range readers {
				r.succeeds()
			}
			if converted := e.k.called("unlock") == unlocks; converted == remote {
				t.Errorf("remote %v: converted %v", remote, converted)
			}
			w.waits()
			e.release(readers[0].hold)
			e.release(readers[1].hold)
			e.release(w.got())
			e.works()
		})
	}
}

// While the lock is converted, the waiter that it is converted for may give up.
func TestReaderGivesUpDuringTheConversion(t *testing.T) {
	for _, next := range []string{"no waiter", "an exclusive waiter", "a shared waiter"} {
		t.Run(next, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				h := e.acquire(e.l).got()
				r := e.shared(e.l)
				var a *acquiring
				switch next {
				case "an exclusive waiter":
					a = e.acquire(e.l)
				case "a shared waiter":
					a = e.shared(e.l)
				}
				goOn := e.holdUp("toShared")
				released := e.start(func(context.Context) (*Hold, error) { return nil, h.Release() })
				r.givesUp()
				e.k.setHook(nil)
				goOn()
				released.succeeds()
				if a != nil {
					e.release(a.got())
				}
				e.works()
			})
		})
	}
}

// A conversion that fails may have lost the lock. The readers acquire it anew.
func TestConversionFails(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.acquire(e.l).got()
		r := e.shared(e.l)
		e.failNext("toShared", errBroken)
		e.release(h)
		e.release(r.got())
		e.called("unlock", 2)
		e.works()
	})
}

// WaitTime and LongestWait include the waits of acquires that join.
func TestWaitersThatJoinAreCounted(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.acquire(e.l).got()
		a, b := e.shared(e.l), e.shared(e.l)
		time.Sleep(time.Minute)
		e.release(h)
		e.release(a.got())
		e.release(b.got())
		s := e.l.Stats()
		if s.Contended != 2 || s.LongestWait.Round(time.Second) != time.Minute || s.WaitTime.Round(time.Second) != 2*time.Minute {
			t.Errorf("%+v", s)
		}
	})
}

// DoShared holds the lock shared, and its context is marked by the hold.
func TestDoShared(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		want := errors.New("want")
		err := e.l.DoShared(t.Context(), func(ctx context.Context) error {
			e.release(e.start(func(context.Context) (*Hold, error) { return e.l.AcquireShared(ctx) }).got())
			e.start(func(context.Context) (*Hold, error) { return e.l.Acquire(ctx) }).failed(ErrReentrant)
			return want
		})
		if err != want {
			t.Error(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.l.DoShared(ended, nil); !errors.Is(err, ErrCancelled) {
			t.Error(err)
		}
		e.works()
	})
}

// A Lock with shared holds can be closed. They stay valid.
func TestCloseWithSharedHolds(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		a, b := e.shared(e.l).got(), e.shared(e.l).got()
		w := e.acquire(e.l)
		r := e.shared(e.l)
		e.close(e.l)
		w.failed(fs.ErrClosed)
		r.failed(fs.ErrClosed)
		for _, h := range []*Hold{a, b} {
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			e.descriptors(1)
			e.release(h)
		}
		e.descriptors(0)
	})
}

// AcquireSets acquires some locks shared, and returns the exclusive holds first.
func TestAcquireSets(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		third := e.open(fakeAbs("/third/.grex-lock"))
		held := e.tryShared(third)
		holds, err := AcquireSets(t.Context(), []*Lock{other}, []*Lock{third, e.l})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []*Lock{other, third, e.l} {
			if holds[i].Path() != want.Path() || holds[i].Shared() != (i > 0) {
				t.Errorf("hold %d: %s, shared %v", i, holds[i].Path(), holds[i].Shared())
			}
		}
		e.release(e.shared(e.l).got())
		if e.k.foreigner(t, otherPath).tryLock(true) {
			t.Error("the exclusive set is not exclusive")
		}
		if err := holds.Release(); err != nil {
			t.Error(err)
		}
		for name, sets := range map[string][2][]*Lock{
			"twice shared":              {nil, {e.l, e.l}},
			"in both":                   {{e.l}, {e.l}},
			"held shared by the caller": {{third}, {e.l}},
		} {
			if holds, err := AcquireSets(t.Context(), sets[0], sets[1]); holds != nil || !errors.Is(err, ErrReentrant) {
				t.Errorf("%s: %v, %v; want ErrReentrant", name, holds, err)
			}
		}
		e.release(held)
		synctest.Wait()
		e.release(e.try(e.l))
	})
}
