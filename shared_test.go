package packlock

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"packlock/internal/dropin"
)

// shared starts an AcquireShared.
func (e *engine) shared(l *Lock) *acquiring { return e.start(l.AcquireShared) }

// tryShared acquires l shared, which needs no waiting.
func (e *engine) tryShared(l *Lock) *Hold {
	e.Helper()
	h, err := l.TryAcquireShared()
	if err != nil {
		e.Fatal(err)
	}
	if !h.Shared() {
		e.Error("the hold is not shared")
	}
	return h
}

// lockShared acquires the lock shared, which must not be held exclusively.
func (f foreigner) lockShared(t testing.TB) {
	t.Helper()
	if !f.tryLock(true) {
		t.Fatalf("%s is locked", f.path)
	}
}

// Shared holds of goroutines and processes do not exclude each other.
func TestSharedHoldsDoNotExcludeEachOther(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		f := e.k.foreigner(t, fakePath)
		f.lockShared(t)
		first := e.tryShared(e.l)
		second := e.shared(e.l).got()
		third := e.shared(e.open(fakePath)).got()
		e.stats(Stats{Acquired: 3, SharedHolds: 3})
		f.release()
		for _, h := range []*Hold{first, second, third} {
			e.release(h)
			if err := h.Release(); !errors.Is(err, ErrReleased) {
				t.Errorf("second Release: %v", err)
			}
		}
		e.works()
	})
}

// A shared hold excludes exclusive ones, and an exclusive one shared ones, in the process
// and between processes.
func TestSharedAndExclusiveExcludeEachOther(t *testing.T) {
	for _, shared := range []bool{false, true} {
		onFake(t, func(t *testing.T, e *engine) {
			try, other := e.try, e.tryShared
			tryOther := e.l.TryAcquireShared
			if shared {
				try, other, tryOther = e.tryShared, e.try, e.l.TryAcquire
			}
			held := make(chan *Hold)
			go func() { held <- try(e.l) }()
			h := <-held
			if _, err := tryOther(); !errors.Is(err, ErrBusy) || errors.Is(err, ErrReentrant) {
				t.Errorf("in the process: %v, want ErrBusy", err)
			}
			e.release(h)
			f := e.k.foreigner(t, fakePath)
			f.tryLock(shared)
			time.Sleep(time.Second)
			if _, err := tryOther(); !errors.Is(err, ErrBusy) {
				t.Errorf("between processes: %v, want ErrBusy", err)
			}
			f.release()
			e.release(other(e.l))
			e.works()
		})
	}
}

// The first shared hold takes the kernel's lock and the last gives it back. Between them
// no system call is made but one path check in handOverCheckAge.
func TestJoiningMakesNoSystemCall(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		first := e.tryShared(e.l)
		calls := 0
		e.k.setHook(func(call, _ string) error {
			if call != "openBoard" && call != "find" { // see TestReadersAskOnceInAskInterval
				calls++
			}
			return nil
		})
		var holds []*Hold
		for range 100 {
			holds = append(holds, e.shared(e.l).got())
		}
		for _, h := range holds {
			e.release(h)
		}
		if calls != 0 {
			t.Errorf("%d system calls", calls)
		}
		time.Sleep(handOverCheckAge + 1)
		e.release(e.shared(e.l).got())
		e.release(e.shared(e.l).got())
		if calls != 2 { // serverStillGrants, sameAt
			t.Errorf("%d system calls, want one path check", calls)
		}
		e.k.setHook(nil)
		e.release(first)
		e.called("unlock", 1)
	})
}

// Acquires of both kinds are served first come, first served, and neighbouring shared ones
// together.
func TestBothKindsAreServedInOrder(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		writer := e.acquire(e.l)
		readers := []*acquiring{e.shared(e.l), e.shared(e.l)}
		last := e.acquire(e.l)
		late := e.shared(e.l)
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy behind a waiting writer", err)
		}
		for _, a := range append(readers, writer, last, late) {
			a.waits()
		}
		e.release(h)
		e.release(writer.got())
		for _, r := range readers {
			r.succeeds()
		}
		last.waits()
		late.waits()
		e.release(readers[0].hold)
		last.waits()
		e.release(readers[1].hold)
		e.release(last.got())
		e.release(late.got())
		e.works()
	})
}

// However an exclusive waiter leaves the queue of an open group, the shared ones behind it
// join at once.
func TestReadersJoinWhenTheWriterInFrontOfThemLeaves(t *testing.T) {
	for name, leave := range map[string]func(e *engine, w *acquiring, l *Lock){
		"cancelled": func(e *engine, w *acquiring, _ *Lock) { w.givesUp() },
		"its Lock is closed": func(e *engine, w *acquiring, l *Lock) {
			e.close(l)
			synctest.Wait()
		},
		"its path is lost": func(e *engine, w *acquiring, l *Lock) {
			e.k.replace(l.Path())
			time.Sleep(2 * watchInterval)
			e.release(w.got())
		},
		"its directory is gone": func(e *engine, w *acquiring, l *Lock) {
			e.k.removeDir(l.Path()[:len(l.Path())-len("/.grex-lock")])
			time.Sleep(2 * watchInterval)
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				e.k.link(fakePath, otherPath)
				l := e.open(otherPath) // the same file by another path
				h := e.shared(e.l).got()
				w := e.acquire(l)
				readers := []*acquiring{e.shared(e.l), e.shared(e.l)}
				next := e.acquire(e.l)
				behind := e.shared(e.l)
				w.waits()
				leave(e, w, l)
				for _, r := range readers {
					e.release(r.got())
				}
				next.waits()
				behind.waits()
				e.release(h)
				e.release(next.got())
				e.release(behind.got())
			})
		})
	}
}

// A caller that holds the lock shared is granted it once more, past the queue and a writer
// elsewhere, on its own goroutine or by a context of Hold.Context.
func TestSharedWithinSharedIsGranted(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.tryShared(e.l)
		w := e.acquire(e.l)
		own := e.tryShared(e.l)
		again, err := e.l.AcquireShared(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		byContext := e.start(func(ctx context.Context) (*Hold, error) { return e.l.AcquireShared(h.Context(ctx)) }).got()
		w.waits()
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("exclusive within shared: %v, want ErrReentrant", err)
		}
		for _, h := range []*Hold{h, own, again, byContext} {
			w.waits()
			e.release(h)
		}
		x := w.got()
		e.release(x)
		x = e.try(e.l)
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrReentrant) {
			t.Errorf("shared within exclusive: %v, want ErrReentrant", err)
		}
		if _, err := e.l.AcquireShared(x.Context(t.Context())); !errors.Is(err, ErrReentrant) {
			t.Errorf("shared within exclusive: %v, want ErrReentrant", err)
		}
		e.release(x)
	})
}

// A detached shared hold belongs to no goroutine.
func TestDetachedSharedHold(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h, other := e.tryShared(e.l), e.tryShared(e.l)
		h.Detach()
		h.Detach()
		if _, err := e.l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("%v, want ErrReentrant: the other hold is not detached", err)
		}
		e.release(other)
		if _, err := e.l.TryAcquire(); errors.Is(err, ErrReentrant) || !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		e.release(h)
		e.works()
	})
}

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
// kernel does that in one step. Elsewhere it is unlocked, and they acquire it themselves.
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

// A conversion that fails may have lost the lock. The readers acquire it again.
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
			tries := e.k.called("try")
			if holds, err := AcquireSets(t.Context(), sets[0], sets[1]); holds != nil || !errors.Is(err, ErrReentrant) {
				t.Errorf("%s: %v, %v; want ErrReentrant", name, holds, err)
			}
			e.called("try", tries) // it is refused before anything is acquired
		}
		e.release(held)
		synctest.Wait()
		e.release(e.try(e.l))
	})
}

// An upgrade succeeds for the only shared hold of all processes, and changes nothing beside
// another one.
func TestUpgrade(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h, other := e.tryShared(e.l), e.shared(e.l).got()
		if ok, err := h.upgrade(); ok || err != nil {
			t.Errorf("beside a hold of this process: %v, %v", ok, err)
		}
		e.called("unlock", 0)
		e.release(other)
		f := e.k.foreigner(t, fakePath)
		f.lockShared(t)
		if ok, err := h.upgrade(); ok || err != nil || !h.Shared() {
			t.Errorf("beside a hold of another process: %v, %v, shared %v", ok, err, h.Shared())
		}
		f.release()
		e.release(e.shared(e.l).got())
		waiting := e.acquire(e.l)
		if ok, err := h.upgrade(); !ok || err != nil || h.Shared() {
			t.Errorf("%v, %v, shared %v", ok, err, h.Shared())
		}
		if ok, err := h.upgrade(); !ok || err != nil {
			t.Errorf("of an exclusive hold: %v, %v", ok, err)
		}
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrReentrant) {
			t.Error(err)
		}
		waiting.waits()
		e.release(h)
		e.release(waiting.got())
		if _, err := h.upgrade(); !errors.Is(err, ErrReleased) {
			t.Errorf("after Release: %v", err)
		}
		e.works()
	})
}

// A downgrade lets the shared waiters in.
func TestDowngrade(t *testing.T) {
	for _, remote := range []bool{false, true} {
		onKernel(t, remote, func(t *testing.T, e *engine) {
			h := e.try(e.l)
			r := e.shared(e.l)
			r.waits()
			if err := h.downgrade(); err != nil || !h.Shared() {
				t.Errorf("%v, shared %v", err, h.Shared())
			}
			if err := h.downgrade(); err != nil {
				t.Errorf("of a shared hold: %v", err)
			}
			e.release(r.got())
			e.release(h)
			if err := h.downgrade(); !errors.Is(err, ErrReleased) {
				t.Errorf("after Release: %v", err)
			}
			e.works()
		})
	}
}

// If another process acquires the lock while it is converted, the hold has ended, and the
// waiters go on.
func TestConversionThatLosesTheLock(t *testing.T) {
	for name, convert := range map[string]func(e *engine) (*Hold, error){
		"upgrade": func(e *engine) (*Hold, error) {
			h := e.tryShared(e.l)
			_, err := h.upgrade()
			return h, err
		},
		"downgrade": func(e *engine) (*Hold, error) {
			h := e.try(e.l)
			return h, h.downgrade()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onRemote(t, func(t *testing.T, e *engine) {
				f := e.k.foreigner(t, fakePath)
				n := 0
				e.before("try", func() error {
					if n++; n == 2 {
						f.lock(t)
					}
					return nil
				})
				h, err := convert(e)
				if !errors.Is(err, ErrLost) {
					t.Errorf("%v, want ErrLost", err)
				}
				e.k.setHook(nil)
				if err := h.Release(); !errors.Is(err, ErrReleased) {
					t.Errorf("Release: %v", err)
				}
				a := e.acquire(e.l)
				a.waits()
				f.release()
				e.release(a.got())
			})
		})
	}
}

// A downgrade that fails leaves nothing locked.
func TestDowngradeFails(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.failNext("toShared", errBroken)
		if err := h.downgrade(); !errors.Is(err, errBroken) {
			t.Errorf("%v, want errBroken", err)
		}
		if err := h.Release(); !errors.Is(err, ErrReleased) {
			t.Errorf("Release: %v", err)
		}
		f := e.lockedElsewhere()
		f.release()
		e.works()
	})
}

// A shared try that comes during a downgrade waits for how it ends. One that comes during an
// upgrade finds the lock busy.
func TestTryDuringAConversion(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.heldByOtherGoroutine()
		goOn := e.holdUp("toShared")
		converted := e.start(func(context.Context) (*Hold, error) { return nil, h.downgrade() })
		try := e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() })
		try.waits()
		goOn()
		converted.succeeds()
		e.release(try.got())
		goOn = e.holdUp("try")
		converted = e.start(func(context.Context) (*Hold, error) { _, err := h.upgrade(); return nil, err })
		e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquireShared() }).failed(ErrBusy)
		goOn()
		converted.succeeds()
		e.release(h)
		e.works()
	})
}

// A shared acquire of an unowned Lock joins whenever this process holds the lock shared.
func TestUnownedLockPassesTheQueue(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		w := e.acquire(e.l)
		e.l.options.unowned = true
		a := e.shared(e.l).got()
		b := e.tryShared(e.l)
		e.l.options.unowned = false
		time.Sleep(time.Second)
		w.waits()
		for _, h := range []*Hold{h, a, b} {
			e.release(h)
		}
		e.release(w.got())
	})
}

// Shared waiters of an unowned Lock join, too, that are in the queue when this process gets
// the lock shared. No other waiters do.
func TestUnownedWaiterPassesTheQueue(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		first := e.heldByOtherGoroutine()
		unowned, err := e.reg.openFile(fakePath, dropin.Unowned.(Option))
		if err != nil {
			t.Fatal(err)
		}
		defer unowned.Close()
		r := e.shared(e.l)
		r.waits()
		behind := []*acquiring{e.acquire(unowned), e.shared(e.l)}
		for _, a := range behind {
			a.waits()
		}
		late := e.shared(unowned)
		late.waits()
		e.release(first)
		h := r.got()
		e.release(late.got())
		for _, a := range behind {
			a.waits()
		}
		e.release(h)
		for _, a := range behind {
			e.release(a.got())
		}
	})
}

// A shared try may join a group that closes because its slice has ended, past shared waiters,
// and never past an exclusive one.
func TestTryDoesNotPassAWriterBehindAClosingGroup(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.shared(e.l).got()
		time.Sleep(groupSlice)
		closes := e.shared(e.l).got()
		first := e.shared(e.l)
		first.waits()
		e.release(e.tryShared(e.l))
		w := e.acquire(e.l)
		if _, err := e.l.TryAcquireShared(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		e.release(h)
		e.release(closes)
		e.release(first.got())
		e.release(w.got())
	})
}

// Members are counted by goroutine, however many goroutines there are.
func TestOwners(t *testing.T) {
	var o owners
	count := make(map[uint64]int)
	check := func() {
		t.Helper()
		for g := range uint64(13) {
			if o.of(g) != count[g] {
				t.Fatalf("goroutine %d has %d members, want %d", g, o.of(g), count[g])
			}
		}
		seen := make(map[uint64]bool)
		for g := range o.all() {
			if seen[g] || count[g] == 0 {
				t.Fatalf("goroutine %d is one of all, twice or without a member", g)
			}
			seen[g] = true
		}
		owning := 0
		for _, n := range count {
			owning += min(n, 1)
		}
		if len(seen) != owning || len(o.many) > owning {
			t.Fatalf("%d goroutines and %d in the map, want %d", len(seen), len(o.many), owning)
		}
	}
	o.add(0, 1) // a detached hold, which belongs to none
	check()
	random := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		g := 1 + random.Uint64N(12)
		switch {
		case random.IntN(2) == 0:
			o.add(g, 1)
			count[g]++
		case count[g] > 0:
			o.add(g, -1)
			count[g]--
		}
		check()
	}
	for range o.all() {
		break // which must not go on
	}
}

// A shared waiter that moves to a file whose lock its caller holds shared joins, past a
// waiting writer.
func TestSharedWaiterMovesToAFileThatItsCallerHolds(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		h := e.tryShared(other)
		linked := fakeAbs("/linked/.grex-lock")
		e.k.link(otherPath, linked)
		w := e.acquire(e.open(linked))
		f := e.lockedElsewhere()
		a := e.start(func(ctx context.Context) (*Hold, error) { return e.l.AcquireShared(h.Context(ctx)) })
		a.waits()
		e.k.rename(otherPath, fakePath)
		time.Sleep(2 * watchInterval)
		e.release(a.got())
		w.waits()
		w.givesUp()
		e.release(h)
		f.release()
	})
}
