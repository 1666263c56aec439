package packlock

import (
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

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
					defer f.letGo()
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
		f.letGo()
		synctest.Wait()
		checkTry(t, e.l, fs.ErrNotExist)
		e.k.makeDir(filepath.Dir(fakePath))
		e.works()
	})
}
