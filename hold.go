package packlock

import (
	"context"
	"io/fs"
	"os"
	"sync/atomic"
)

// A Hold is one successful acquire: the lock is held until Release. A Hold that
// becomes unreachable without Release stays held, on purpose, until the process ends:
// what it guards may still be going on.
//
// A Hold may be used by several goroutines at once.
type Hold struct {
	lock  *lock
	entry *entry // where it was granted, which lock may have left since

	// owner is the goroutine that the hold belongs to, 0 if it was detached. It is guarded
	// by the entry's mu.
	owner uint64

	// returned is set when the acquire is over. Until then the acquire itself
	// finds out whether the lock file is lost.
	returned atomic.Bool

	shared bool

	// member is set while a shared hold is live. It is guarded by the entry's mu.
	member bool
}

// opened returns the entry of a Hold that an acquire returned.
func (h *Hold) opened() *entry {
	if h == nil || h.entry == nil {
		panic("packlock: use of a Hold that no acquire returned")
	}
	return h.entry
}

// Release releases the lock. It usually passes to the next waiter in this process. From
// time to time it is unlocked in the kernel instead, so that other processes get a
// turn.
//
// A second Release fails with ErrReleased and does nothing. On any other error the hold
// has ended, too: the kernel failed to unlock the file, so the file was closed. That
// releases the lock unless a duplicate (see Dup) is still open.
func (h *Hold) Release() error {
	e := h.opened()
	e.mu.Lock()
	if !e.isLiveLocked(h) {
		e.mu.Unlock()
		return h.fail("release", ErrReleased)
	}
	if err := e.giveUpLocked(h, handedOver); err != nil {
		return h.fail("release", err)
	}
	return nil
}

// Path returns the absolute path of the lock file.
func (h *Hold) Path() string { h.opened(); return h.lock.path }

// Shared reports whether the hold is shared: returned by AcquireShared, TryAcquireShared
// or the shared set of AcquireSets.
func (h *Hold) Shared() bool { h.opened(); return h.shared }

// Context returns ctx, marked as running under this hold. While the hold is live, an
// Acquire of the same lock with it, or with a context that descends from it, fails with
// ErrReentrant on any goroutine, and an AcquireShared joins the hold if that is shared. An Acquire of a different lock with it waits on behalf of
// the hold, unless that is detached, which counts for ErrDeadlock.
func (h *Hold) Context(ctx context.Context) context.Context {
	if !h.live() {
		return ctx // nothing to mark
	}
	outer, _ := ctx.Value(markKey{}).(*mark)
	return context.WithValue(ctx, markKey{}, &mark{h, outer})
}

// Detach detaches the hold from the goroutine that acquired it. Call it if a different
// goroutine is going to release the hold: the first one may then wait for the lock again.
func (h *Hold) Detach() {
	e := h.opened()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hold == h {
		h.owner = 0
	} else if h.member {
		e.group.disown(h)
	}
}

// Check returns nil while the hold excludes others: while the locked file is still the
// one at its path. It returns ErrLost when the file was deleted, replaced or renamed, or
// when an NFSv4, SMB or CephFS server dropped the lock because it lost contact with this
// machine. Then another process may hold the lock of the file that is at the path now.
// After Release it returns ErrReleased. On network file systems Check waits for the
// server.
func (h *Hold) Check() error {
	e := h.opened()
	f := h.pin()
	if f == nil {
		return h.fail("check", ErrReleased)
	}
	ours, err := f.serverStillGrants()
	if ours && err == nil {
		ours, err = e.file.sameAt(h.lock.path, h.lock.options.anyFile)
	}
	e.unpin()
	switch {
	case err != nil:
		return h.fail("check", err)
	case !ours && !h.live():
		return h.fail("check", ErrReleased)
	case !ours:
		return h.fail("check", ErrLost)
	}
	return nil
}

// pin returns the file that a live hold has locked, and keeps it open until unpin. It
// returns nil if the hold is not live.
func (h *Hold) pin() file {
	e := h.opened()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.isLiveLocked(h) {
		return nil
	}
	e.pins++
	return e.active
}

// Dup returns a duplicate of the locked descriptor, close-on-exec. Hand it to a child
// process by exec.Cmd's ExtraFiles, and close it. A child that inherits it keeps the
// pack locked until the child exits, even if this process is killed before. Release
// releases the lock for both. Of shared holds, only the last Release of this process does
// that. While the child has the descriptor, it also shares later
// holds of this process, because the lock belongs to the open file.
//
// Dup works on Unix only. On other systems the error is an errors.ErrUnsupported. After
// Release it is an ErrReleased.
func (h *Hold) Dup() (*os.File, error) {
	e := h.opened()
	f := h.pin()
	if f == nil {
		return nil, h.fail("dup", ErrReleased)
	}
	dup, err := f.dup(h.lock.path)
	e.unpin()
	if err != nil {
		return nil, h.fail("dup", err)
	}
	if !h.live() {
		dup.Close()
		return nil, h.fail("dup", ErrReleased)
	}
	return dup, nil
}

func (h *Hold) live() bool {
	e := h.opened()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.isLiveLocked(h)
}

func (h *Hold) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: h.lock.path, Err: err}
}
