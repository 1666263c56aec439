package packlock

import (
	"testing"
	"time"
)

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
			e.lookDue("sameAt")
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
			e.lookDue("sameAt")
			e.takenAway()
			e.failNext(call, errBroken)
			checkTry(t, e.l, errBroken)
			e.works()
		})
	}
}
