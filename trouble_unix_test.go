//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// troubles are what flock(2) answers on file systems that fail, are out of
// locks, want other descriptors or do not know how to lock.
var troubles = []unix.Errno{unix.EIO, unix.ENOLCK, unix.EBADF, unix.ENOSYS, unix.EOPNOTSUPP}

// fullTroubles are what open(2) answers where something is full.
var fullTroubles = []unix.Errno{unix.ENOSPC, unix.EMFILE, unix.ENFILE, unix.EIO}

// inTrouble runs test on a fake kernel for each errno.
func inTrouble(t *testing.T, errnos []unix.Errno, test func(t *testing.T, e *engine, errno unix.Errno)) {
	for _, errno := range errnos {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				test(t, e, errno)
				e.works()
			})
		})
	}
}

// failedAcquire checks the error of an acquire that met with errno.
func (e *engine) failedAcquire(err error, errno unix.Errno) {
	e.Helper()
	checkPathError(e, err, "acquire", fakePath, errno)
	if got, want := errors.Is(err, errors.ErrUnsupported), errno == unix.ENOSYS || errno == unix.EOPNOTSUPP; got != want {
		e.Errorf("%v is an errors.ErrUnsupported: %t, want %t", err, got, want)
	}
}

// The call by which an acquire asks for the lock, or looks at it, fails.
func TestErrorWithoutWaiting(t *testing.T) {
	for _, call := range []string{"try", "stat", "sameAt"} {
		t.Run(call, func(t *testing.T) {
			inTrouble(t, troubles, func(t *testing.T, e *engine, errno unix.Errno) {
				for _, acquire := range []func(*Lock) *acquiring{e.acquire, e.blocking} {
					e.lookDue(call)
					answer := make(chan struct{})
					e.beforeNext(call, func() error {
						<-answer
						return errno
					})
					first, second := acquire(e.l), e.acquire(e.l)
					second.waits()
					close(answer)
					first.failed(errno)
					e.failedAcquire(first.err, errno)
					e.release(second.got())
				}
				e.lookDue(call)
				e.failNext(call, errno)
				_, err := e.l.TryAcquire()
				e.failedAcquire(err, errno)
			})
		})
	}
}

// The wait in the kernel fails, when it begins or in the end.
func TestErrorOfTheWait(t *testing.T) {
	for _, call := range []string{"block", "blocked"} {
		t.Run(call, func(t *testing.T) {
			inTrouble(t, troubles, func(t *testing.T, e *engine, errno unix.Errno) {
				for _, acquire := range []func(*Lock) *acquiring{e.acquire, e.blocking} {
					f := e.lockedElsewhere()
					answer := make(chan struct{})
					e.beforeNext(call, func() error {
						<-answer
						return errno
					})
					first, second := acquire(e.l), e.acquire(e.l)
					if call == "blocked" {
						f.letGo()
					}
					first.waits()
					close(answer)
					first.failed(errno)
					e.failedAcquire(first.err, errno)
					if call == "block" {
						second.waits()
						f.letGo()
					}
					e.release(second.got())
				}
			})
		})
	}
}

// The look at the path fails when the lock was granted or handed over: it goes
// to the next.
func TestErrorOfTheLookAfterAWait(t *testing.T) {
	inTrouble(t, troubles, func(t *testing.T, e *engine, errno unix.Errno) {
		f := e.lockedElsewhere()
		line := []*acquiring{e.acquire(e.l), e.acquire(e.l), e.acquire(e.l), e.acquire(e.l)}
		e.failNext("sameAt", errno)
		f.letGo()
		line[0].failed(errno)
		e.failedAcquire(line[0].err, errno)
		h := line[1].got()

		// Time for a look, but not the end of the slice.
		e.l.location.Load().checkedAt.Add(-int64(handOverCheckAge))
		time.Sleep(time.Nanosecond)
		e.failNext("sameAt", errno)
		e.release(h)
		line[2].failed(errno)
		e.failedAcquire(line[2].err, errno)
		e.release(line[3].got())
	})
}

// If the file cannot be unlocked it is closed, which is as good, and everybody
// goes on with a new descriptor.
func TestErrorOfUnlock(t *testing.T) {
	inTrouble(t, troubles, func(t *testing.T, e *engine, errno unix.Errno) {
		opened := 1
		reopened := func() {
			t.Helper()
			opened++
			e.works()
			e.called("open", opened)
		}
		f := e.k.foreigner(t, fakePath)

		h := e.try(e.l)
		e.failNext("unlock", errno)
		checkPathError(t, h.Release(), "release", fakePath, errno)
		f.lock(t) // it is free
		f.letGo()
		checkPathError(t, h.Release(), "release", fakePath, ErrReleased)
		reopened()

		h = e.try(e.l)
		line := []*acquiring{e.acquire(e.l), e.acquire(e.l)}
		time.Sleep(sliceTime)
		e.failNext("unlock", errno)
		checkPathError(t, h.Release(), "release", fakePath, errno)
		for _, a := range line {
			e.release(a.got())
		}
		reopened()

		// Nobody is there to be told.
		f.lock(t)
		e.acquire(e.l).givesUp()
		drained := e.drain(e.l)
		e.failNext("unlock", errno)
		f.letGo()
		drained.succeeds()
		reopened()

		// Nor is it of interest that a lost file cannot be unlocked.
		e.k.unlink(fakePath)
		e.failNext("unlock", errno)
		e.release(e.try(e.l))
		reopened()
	})
}

func TestErrorOfOpen(t *testing.T) {
	inTrouble(t, fullTroubles, func(t *testing.T, e *engine, errno unix.Errno) {
		for _, path := range []string{fakePath, otherPath} {
			e.failNext("open", errno)
			_, err := e.reg.openFile(path)
			checkPathError(t, err, "open", path, errno)
			if err := e.open(path).Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// The sidecar is lost and cannot be opened anew: the first who needs it is told,
// the next tries again.
func TestErrorOfReopening(t *testing.T) {
	inTrouble(t, fullTroubles, func(t *testing.T, e *engine, errno unix.Errno) {
		h := e.try(e.l)
		line := []*acquiring{e.acquire(e.l), e.acquire(e.l), e.acquire(e.l)}
		e.k.unlink(fakePath)
		time.Sleep(pathCheckAge)
		e.failNext("open", errno)
		e.release(h)
		line[0].failed(errno)
		e.failedAcquire(line[0].err, errno)
		for _, a := range line[1:] {
			e.release(a.got())
		}

		e.k.unlink(fakePath)
		e.failNext("open", errno)
		_, err := e.l.TryAcquire()
		e.failedAcquire(err, errno)
	})
}

func TestErrorOfClose(t *testing.T) {
	inTrouble(t, []unix.Errno{unix.EIO}, func(t *testing.T, e *engine, errno unix.Errno) {
		other := e.open(otherPath)
		e.failNext("close", errno)
		checkPathError(t, other.Close(), "close", otherPath, errno)
		checkPathError(t, other.Close(), "close", otherPath, fs.ErrClosed)
	})
}

// The process has no descriptor to spare, or the disk is full, for a while in
// which the pack is deleted and made again.
func TestTroubleThatPasses(t *testing.T) {
	inTrouble(t, fullTroubles, func(t *testing.T, e *engine, errno unix.Errno) {
		e.k.removeDir(filepath.Dir(fakePath))
		_, err := e.l.TryAcquire()
		checkPathError(t, err, "acquire", fakePath, fs.ErrNotExist)
		e.k.makeDir(filepath.Dir(fakePath))
		e.fail("open", errno)
		for range 3 {
			for _, a := range []*acquiring{e.acquire(e.l), e.blocking(e.l)} {
				a.failed(errno)
				e.failedAcquire(a.err, errno)
			}
		}
		e.works()
		e.stats(Stats{Acquired: 1, Reopened: 1})
	})
}
