package packlock

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file are about network file systems, on the fake kernel: what
// was seen on real ones stands in docs/filesystems.md.

// onRemote is onFake on a network file system.
func onRemote(t *testing.T, test func(t *testing.T, e *engine)) {
	t.Helper()
	onKernel(t, true, test)
}

// replaceUnseen puts another file in the place of the sidecar, of which neither the
// link count nor the time of the last change tells: the client remembers both, or
// the server has renamed the deleted file.
func (e *engine) replaceUnseen() {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	e.k.createLocked(fakePath)
}

// There an acquire from the kernel asks for the name however young the last look is.
func TestRemoteSidecarIsLookedAtByEveryAcquire(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		for n := range uint64(3) {
			h := e.try(e.l)
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			e.release(h)
			if s := e.l.Stats(); s.Reopened != n {
				t.Errorf("%+v, want %d reopened", s, n)
			}
			e.replaceUnseen()
		}
	})
}

// What the link count tells is true at once, even if the name is still remembered.
func TestRemoteSidecarWithoutANameIsLost(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		old := e.k.inode(fakePath)
		e.k.mu.Lock()
		old.links = 0
		e.k.mu.Unlock()
		e.beforeNext("stat", func() error {
			e.replaceUnseen()
			return nil
		})
		e.release(e.try(e.l))
		e.called("sameAt", 1) // of the new file
		e.stats(Stats{Acquired: 1, Reopened: 1})
	})
}

// A server does not know a file any more that another machine has deleted. Whatever
// call is told so, the file is lost, and it is no error.
func TestStaleFileIsLost(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		stale := func(call string) {
			e.k.replace(fakePath)
			e.failNext(call, errFileLost)
		}
		stale("try")
		h := e.try(e.l)
		e.release(h)

		f := e.lockedElsewhere()
		a, b := e.acquire(e.l), e.acquire(e.l)
		stale("blocked")
		f.release()
		e.release(a.got())
		e.release(b.got())

		f = e.lockedElsewhere()
		blocked := e.blocking(e.l)
		stale("blocked")
		f.release()
		e.release(blocked.got())
		if s := e.l.Stats(); s.Reopened != 3 || s.Acquired != 4 {
			t.Errorf("%+v", s)
		}
	})
}

// What is told of a stale file has given up: the turn goes on to the next, or to
// nobody.
func TestStaleFileWithNobodyLeft(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		e.acquire(e.l).givesUp()
		e.k.replace(fakePath)
		e.failNext("blocked", errFileLost)
		f.release()
		synctest.Wait()
		e.stats(Stats{KernelWaits: 1, Cancelled: 1})
		e.works()
	})
}

func TestCancelWinsOverAStaleFile(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a, b := e.acquire(e.l), e.acquire(e.l)
		e.k.replace(fakePath)
		e.beforeNext("blocked", func() error {
			a.cancel()
			return errFileLost
		})
		f.release()
		synctest.Wait()
		<-a.done
		if a.hold != nil {
			e.release(a.hold)
		}
		e.release(b.got())
	})
}

// waysToWait are those in which an acquire may.
var waysToWait = []struct {
	what    string
	acquire func(e *engine) *acquiring
}{
	{"waits", func(e *engine) *acquiring { return e.acquire(e.l) }},
	{"blocks", func(e *engine) *acquiring { return e.blocking(e.l) }},
}

// On SMB the name of a deleted file cannot be used as long as the file is open: if it
// is open by this process alone, it is closed for that.
func TestDeletedFileThatKeepsItsName(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		e.k.unlink(fakePath)
		e.before("open", func() error {
			if e.k.descriptors() > 0 {
				return errDeletePending
			}
			return nil
		})
		e.release(e.try(e.l))
		e.stats(Stats{Acquired: 1, Reopened: 1})

		// And if another has it, too, it is an error, and the next acquire tries again.
		e.k.unlink(fakePath)
		e.fail("open", errDeletePending)
		for range 2 {
			checkTry(t, e.l, errDeletePending)
		}
		e.called("pause", 0)
		e.k.setHook(nil)
		e.release(e.try(e.l))
	})
}

// And if others have it open, who may wait does so for a moment, in which they may close
// it. Those who queue behind do not have to wait for another one.
func TestNameThatOthersKeepForAMoment(t *testing.T) {
	for _, row := range waysToWait {
		t.Run(row.what, func(t *testing.T) {
			onRemote(t, func(t *testing.T, e *engine) {
				e.keepsName(deletePendingTimeout / 2)
				a, b := row.acquire(e), row.acquire(e)
				time.Sleep(deletePendingTimeout/2 - 1)
				a.waits()
				b.waits()
				time.Sleep(deletePendingTimeout / 100)
				e.release(a.got())
				e.release(b.got())
				e.stats(Stats{Acquired: 2, Contended: 2, Reopened: 1})
			})
			onRemote(t, func(t *testing.T, e *engine) {
				e.keepsName(time.Hour)
				a, b := row.acquire(e), row.acquire(e)
				time.Sleep(deletePendingTimeout - 1)
				a.waits()
				b.waits()
				time.Sleep(deletePendingTimeout / 100)
				a.failed(errDeletePending)
				b.failed(errDeletePending)
				// It counts for each anew, if it comes anew.
				c := row.acquire(e)
				time.Sleep(deletePendingTimeout - 1)
				c.waits()
				time.Sleep(deletePendingTimeout / 100)
				c.failed(errDeletePending)
			})
		})
	}
}

// keepsName deletes the sidecar, and has it keep its name for so long.
func (e *engine) keepsName(long time.Duration) {
	e.k.unlink(fakePath)
	start := time.Now()
	e.before("open", func() error {
		if time.Since(start) < long {
			return errDeletePending
		}
		return nil
	})
}

func TestAllOfThemWaitForAName(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		e.keepsName(deletePendingTimeout / 2)
		all, err := AcquireAll(t.Context(), e.l, other)
		if err != nil {
			t.Fatal(err)
		}
		if err := all.Release(); err != nil {
			t.Error(err)
		}
	})
}

// Who is cancelled while it waits for the name, even at the last moment, closed, or
// has a context that panics, ends as ever, and who is next goes on.
func TestEndOfWaitingForAName(t *testing.T) {
	for _, row := range []struct {
		what string
		when time.Duration
		end  func(e *engine, a *acquiring)
		want error
	}{
		{"cancelled", deletePendingTimeout / 4, func(_ *engine, a *acquiring) { a.cancel() }, ErrCancelled},
		{"cancelled at the last moment", deletePendingTimeout - 1, func(_ *engine, a *acquiring) { a.cancel() }, ErrCancelled},
		{"closed", deletePendingTimeout / 4, func(e *engine, _ *acquiring) { e.close(e.l) }, fs.ErrClosed},
	} {
		t.Run(row.what, func(t *testing.T) {
			onRemote(t, func(t *testing.T, e *engine) {
				second := e.open(fakePath)
				const long = deletePendingTimeout + deletePendingTimeout/50
				e.keepsName(long)
				a := e.acquire(e.l)
				time.Sleep(row.when)
				b := e.acquire(second)
				row.end(e, a)
				time.Sleep(deletePendingTimeout / 100)
				a.failed(row.want)
				time.Sleep(long - row.when)
				e.release(b.got())
			})
		})
	}
	t.Run("panics", func(t *testing.T) {
		onRemote(t, func(t *testing.T, e *engine) {
			e.keepsName(deletePendingTimeout / 2)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				e.l.Acquire(panicsInAPause{t.Context(), e})
			}()
			time.Sleep(deletePendingTimeout)
			e.works()
		})
	})
}

// And if another process has its lock, nobody can have another file: who comes waits
// for that one, and goes on with the new file when it is gone.
func TestDeletedFileThatKeepsItsNameUnderAHungHolder(t *testing.T) {
	for _, row := range waysToWait {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, comes later: %v", row.what, late), func(t *testing.T) {
				onRemote(t, func(t *testing.T, e *engine) {
					f := e.lockedElsewhere()
					old := e.k.inode(fakePath)
					deleted := func() {
						e.k.unlink(fakePath)
						e.before("open", func() error {
							if e.k.isOpen(old) {
								return errDeletePending
							}
							return nil
						})
						time.Sleep(pathCheckAge + 1)
					}
					if late {
						deleted()
					}
					a := row.acquire(e)
					a.waits()
					if !late {
						deleted()
					}
					b := e.acquire(e.l)
					time.Sleep(2 * watchInterval)
					a.waits()
					b.waits()
					checkTry(t, e.l, ErrBusy)
					f.close()
					h := a.got()
					if err := h.Check(); err != nil {
						t.Error(err)
					}
					e.release(h)
					e.release(b.got())
					if e.k.isOpen(old) {
						t.Error("the old file is still open")
					}
				})
			})
		}
	}
}

// The server has dropped the lock of a machine that it did not hear from: who asks
// learns that, and it is not handed over.
func TestLockThatTheServerDropped(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a := e.acquire(e.l)
		f := e.k.foreigner(t, fakePath)
		e.k.mu.Lock()
		f.inode.locked = f.fakeFile
		e.k.mu.Unlock()
		if err := h.Check(); !errors.Is(err, ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
		time.Sleep(handOverCheckAge + 1)
		// Within the slice: from its start, the lock would be handed over.
		entry := h.entry
		entry.mu.Lock()
		entry.hold = nil
		entry.fair.lockedAt = now()
		entry.fair.tryHandOver(now())
		entry.grantLocked(handedOver)
		a.waits()
		f.release()
		h = a.got()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
	})
}

func TestErrorOfAskingTheServer(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		e.failNext("serverStillGrants", errBroken)
		if err := h.Check(); !errors.Is(err, errBroken) {
			t.Errorf("%v, want %v", err, errBroken)
		}
		e.release(h)
		e.failNext("stat", errBroken)
		if _, err := e.l.TryAcquire(); !errors.Is(err, errBroken) {
			t.Errorf("%v, want %v", err, errBroken)
		}
		e.works()
	})
}

// A server no longer knows the file: it is lost, and no error, whichever call says so.
func TestFileThatAServerForgotIsLost(t *testing.T) {
	for _, row := range []struct {
		call    string
		acquire func(e *engine) *acquiring
	}{
		{"try", func(e *engine) *acquiring { return e.acquire(e.l) }},
		{"block", func(e *engine) *acquiring { return e.acquire(e.l) }},
		{"block", func(e *engine) *acquiring { return e.blocking(e.l) }},
	} {
		t.Run(row.call, func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				if row.call == "block" {
					f := e.lockedElsewhere()
					defer f.release()
				}
				e.beforeNext(row.call, func() error {
					e.k.replace(fakePath)
					return errFileLost
				})
				h := row.acquire(e).got()
				if err := h.Check(); err != nil {
					t.Error(err)
				}
				e.release(h)
				e.stats(Stats{Acquired: 1, Contended: untimed(e.l).Contended, KernelWaits: untimed(e.l).KernelWaits, Reopened: 1})
			})
		})
	}
}

// On a network, whoever gets the lock from the kernel has the server asked.
func TestRemoteFileIsLookedAtWithEachLock(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		for range 3 {
			e.release(e.try(e.l))
		}
		e.called("stat", 3)
		e.called("sameAt", 3)
		e.k.replaceDir(filepath.Dir(fakePath), filepath.Dir(otherPath))
		h := e.try(e.l)
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		e.release(h)
		for _, call := range []string{"stat", "sameAt"} {
			e.failNext(call, errBroken)
			checkTry(t, e.l, errBroken)
		}
		e.works()
	})
}

// Who is handed the lock asks whether the server still has it, once in a while.
func TestHandOverAsksTheServer(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		e.release(e.try(e.l))
		e.settleCtime()
		time.Sleep(pathCheckAge / 2)
		h := e.try(e.l)
		a := e.acquire(e.l)
		e.failNext("serverStillGrants", errBroken)
		e.release(h)
		a.failed(errBroken)
		e.works()
	})
}

// A thread is parked on a file whose directory is gone from the server: the file
// stays open under it, whoever finds that out.
func TestRemoteDirectoryThatIsGoneEndsEveryWait(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		a := e.acquire(e.l)
		e.k.removeDir(filepath.Dir(fakePath))
		time.Sleep(watchInterval + 1)
		a.failed(fs.ErrNotExist)
		f.release()
		synctest.Wait()
		checkTry(t, e.l, fs.ErrNotExist)
		e.k.makeDir(filepath.Dir(fakePath))
		e.works()
	})
}
