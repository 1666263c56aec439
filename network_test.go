package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file are about network file systems, on the fake kernel.
// docs/data/filesystems.md lists what was observed on real ones.

// onRemote is onFake on a network file system.
func onRemote(t *testing.T, test func(t *testing.T, e *engine)) {
	t.Helper()
	onKernel(t, true, test)
}

// replaceUnseen replaces the lock file. Neither the link count nor the change time shows it,
// because the client caches both, or the server has renamed the deleted file.
func (e *engine) replaceUnseen() {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	e.k.createLocked(fakePath)
}

// On a network, each acquire from the kernel checks the path, however recent the last check
// is.
func TestRemoteLockFileIsCheckedByEveryAcquire(t *testing.T) {
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

// A file without links is lost, even if the client still caches its name.
func TestRemoteLockFileWithoutLinksIsLost(t *testing.T) {
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

// A server no longer knows a file that another machine has deleted. A try and a wait in the
// kernel that find this out lose the file, and return no error.
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

// A file is found stale by a parked thread without a waiter. Its turn becomes free.
func TestStaleFileWithNoWaiterLeft(t *testing.T) {
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

// A waiter is cancelled while the kernel finds the file stale. The next waiter still gets the
// lock.
func TestCancelWhileAFileIsFoundStale(t *testing.T) {
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

// A wayToWait is one of the ways in which an acquire may wait.
type wayToWait struct {
	what    string
	acquire func(e *engine) *acquiring
}

var waysToWait = []wayToWait{
	{"waits", func(e *engine) *acquiring { return e.acquire(e.l) }},
	{"blocks", func(e *engine) *acquiring { return e.blocking(e.l) }},
}

// On SMB, the name of a deleted file cannot be used while the file is open. If only this
// process has it open, this process closes it, and the next file takes its place.
func TestDeletePendingFileIsClosed(t *testing.T) {
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

		// If another process has it open, too, that is an error. The next acquire tries again.
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

// On 9p, the path leads to the old file as long as that is open on this machine, although
// another machine has put a new one there. Check returns ErrLost. The next acquire closes
// the old file and locks the new one.
func TestReplacedFileThatStaysVisible(t *testing.T) {
	for _, row := range waysToWait {
		t.Run(row.what, func(t *testing.T) {
			onRemote(t, func(t *testing.T, e *engine) {
				replaced := func() {
					old := e.k.inode(fakePath)
					e.k.replace(fakePath)
					e.before("open", func() error {
						if e.k.isOpen(old) {
							return errDeletePending
						}
						return nil
					})
				}
				h := e.try(e.l)
				replaced()
				if err := h.Check(); !errors.Is(err, ErrLost) {
					t.Errorf("%v, want ErrLost", err)
				}
				e.release(h)
				other := e.k.foreigner(t, fakePath)
				other.lock(t)
				checkTry(t, e.l, ErrBusy)
				a := row.acquire(e)
				a.waits()
				other.release()
				e.release(a.got())
				if s := e.l.Stats(); s.Reopened != 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// If other processes have the deleted file open, an acquire that may wait gives them
// deletePendingTimeout to close it. Waiters behind it share that time.
func TestAcquireWaitsForADeletePendingName(t *testing.T) {
	for _, row := range waysToWait {
		t.Run(row.what, func(t *testing.T) {
			onRemote(t, func(t *testing.T, e *engine) {
				e.deletePendingFor(deletePendingTimeout / 2)
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
				e.deletePendingFor(time.Hour)
				a, b := row.acquire(e), row.acquire(e)
				time.Sleep(deletePendingTimeout - 1)
				a.waits()
				b.waits()
				time.Sleep(deletePendingTimeout / 100)
				a.failed(errDeletePending)
				b.failed(errDeletePending)
				// A later acquire waits for the full time again.
				c := row.acquire(e)
				time.Sleep(deletePendingTimeout - 1)
				c.waits()
				time.Sleep(deletePendingTimeout / 100)
				c.failed(errDeletePending)
			})
		})
	}
}

// deletePendingFor deletes the lock file, whose name then cannot be used for that long.
func (e *engine) deletePendingFor(long time.Duration) {
	e.k.unlink(fakePath)
	start := time.Now()
	e.before("open", func() error {
		if time.Since(start) < long {
			return errDeletePending
		}
		return nil
	})
}

// AcquireAll waits for the name of a deleted file, too.
func TestAllWaitsForADeletePendingName(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		other := e.open(otherPath)
		e.deletePendingFor(deletePendingTimeout / 2)
		all, err := AcquireAll(t.Context(), e.l, other)
		if err != nil {
			t.Fatal(err)
		}
		if err := all.Release(); err != nil {
			t.Error(err)
		}
	})
}

// An acquire that waits for the name of a deleted file can be cancelled, even at the last
// moment, its Lock can be closed, and its context may panic. The next acquire goes on.
func TestEndOfTheWaitForADeletePendingName(t *testing.T) {
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
				e.deletePendingFor(long)
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
			e.deletePendingFor(deletePendingTimeout / 2)
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

// If another process holds the lock of the deleted file, no other file can take its place. An
// acquire waits for that lock, and goes on with the new file when the holder is gone.
func TestDeletePendingFileOfAHungHolder(t *testing.T) {
	for _, row := range waysToWait {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, begins later: %v", row.what, late), func(t *testing.T) {
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

// The holder of a deleted file may leave at any time while an acquire finds out that the file
// keeps its name.
func TestDeletePendingFileWhoseHolderLeaves(t *testing.T) {
	ways := append(slices.Clone(waysToWait), wayToWait{"TryAcquire", func(e *engine) *acquiring {
		return e.start(func(context.Context) (*Hold, error) { return e.l.TryAcquire() })
	}})
	for _, row := range ways {
		for leaves := range 4 {
			t.Run(fmt.Sprintf("%s, at open %d", row.what, leaves), func(t *testing.T) {
				onRemote(t, func(t *testing.T, e *engine) {
					f := e.lockedElsewhere()
					old := e.k.inode(fakePath)
					e.k.unlink(fakePath)
					leave := sync.OnceFunc(f.close)
					opens := 0
					e.before("open", func() error {
						if opens++; opens == leaves {
							leave()
						}
						if e.k.isOpen(old) {
							return errDeletePending
						}
						return nil
					})
					time.Sleep(pathCheckAge + 1)
					a := row.acquire(e)
					synctest.Wait()
					leave()
					<-a.done
					if a.err != nil && !errors.Is(a.err, ErrBusy) || opens > 10 {
						t.Errorf("%v, after %d opens", a.err, opens)
					}
					if a.hold != nil {
						e.release(a.hold)
					}
					e.works()
				})
			})
		}
	}
}

// The server has dropped the lock of a machine that it did not hear from. Check returns
// ErrLost, and the lock is not handed over.
func TestLockThatTheServerDropped(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a := e.acquire(e.l)
		f := e.k.foreigner(t, fakePath)
		e.k.mu.Lock()
		f.inode.locked = map[*fakeFile]bool{f.fakeFile: true}
		e.k.mu.Unlock()
		if err := h.Check(); !errors.Is(err, ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
		time.Sleep(handOverCheckAge + 1)
		// At the start of the slice, the lock would be handed over.
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

// An error of a query to the server is returned by Check, and by the acquire.
func TestErrorOfAServerQuery(t *testing.T) {
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

// A server no longer knows the file. The file is lost, and that is no error, whichever call
// reports it.
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

// On a network, each acquire from the kernel queries the server. It returns the error of a
// query.
func TestEveryRemoteAcquireQueriesTheServer(t *testing.T) {
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

// An acquire that the lock is handed over to queries from time to time whether the server
// still grants it.
func TestHandOverQueriesTheServer(t *testing.T) {
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

// A thread is parked on a file whose directory was deleted on the server. The waiters fail
// with fs.ErrNotExist, and the parked thread keeps the file open.
func TestMissingRemoteDirectoryEndsEveryWait(t *testing.T) {
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

// A file that is lost and delete-pending is given up by a waiter that has waited for
// longer than deletePendingTimeout. It has that time from then on.
func TestLongWaiterAwaitsTheDeletion(t *testing.T) {
	onRemote(t, func(t *testing.T, e *engine) {
		f := e.lockedElsewhere()
		old := e.k.inode(fakePath)
		a := e.acquire(e.l)
		time.Sleep(2 * deletePendingTimeout)
		e.before("open", func() error { // before the watch, which may just be checking the path
			if e.k.isOpen(old) {
				return errDeletePending
			}
			return nil
		})
		e.k.unlink(fakePath)
		f.release()
		time.Sleep(deletePendingTimeout / 2)
		a.waits()
		f.close()
		time.Sleep(deletePendingTimeout / 50)
		e.release(a.got())
	})
}
