package packlock

import (
	"context"
	"io/fs"
	"os"
	"sync/atomic"
)

// A Hold is one successful acquire: the lock is held until Release. A Hold that
// is dropped without Release stays held, on purpose, until the process ends:
// whatever it guards may still be going on.
//
// A Hold may be used by several goroutines at once.
type Hold struct {
	lock  *lock
	entry *entry // where it was granted, which lock may have left since

	// returned says that the acquire is over: until then whoever makes it finds
	// out by itself whether the sidecar is lost.
	returned atomic.Bool
}

// granted returns the entry of a Hold that an acquire returned.
func (h *Hold) granted() *entry {
	if h == nil || h.entry == nil {
		panic("packlock: use of a Hold that no acquire returned")
	}
	return h.entry
}

// Release lets the lock go: to the first waiter of this process or, now and
// then even if there is one, to all who wait for it in the kernel. A second
// Release fails with ErrReleased and does nothing. On any other error the hold
// has ended all the same: the kernel refused to unlock the file, so the file was
// closed, which lets go unless a duplicate (see Dup) is still open.
func (h *Hold) Release() error {
	e := h.granted()
	e.mu.Lock()
	if e.hold != h {
		e.mu.Unlock()
		return h.fail("release", ErrReleased)
	}
	if err := e.giveBackLocked(handedOver); err != nil {
		return h.fail("release", err)
	}
	return nil
}

// Path returns the absolute path of the sidecar.
func (h *Hold) Path() string { h.granted(); return h.lock.path }

// Context returns ctx, marked as running under this hold: an Acquire of the
// same sidecar with it, or with a context that descends from it, fails with
// ErrReentrant while the hold is live, on whatever goroutine. Who waits for another
// sidecar with it waits on behalf of the hold, as ErrDeadlock has it.
func (h *Hold) Context(ctx context.Context) context.Context {
	if !h.live() {
		return ctx // nothing to mark
	}
	outer, _ := ctx.Value(markKey{}).(*mark)
	return context.WithValue(ctx, markKey{}, &mark{h, outer})
}

// Detach says that the hold no longer belongs to the goroutine that acquired
// it: it is going to be released by another, and the first one may wait for the
// lock again.
func (h *Hold) Detach() {
	e := h.granted()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hold == h {
		e.owner = 0
	}
}

// Check returns nil while the locked file is still the one at its path. If it
// was deleted, replaced or renamed, the error is an ErrLost: others may hold the
// lock of the file that is there now. It is also an ErrLost if an NFSv4 or SMB server
// has dropped the lock, because it did not hear from this machine. On network file systems Check asks the server, and waits for its answer.
// After Release the error is an ErrReleased.
func (h *Hold) Check() error {
	e := h.granted()
	if !h.pin() {
		return h.fail("check", ErrReleased)
	}
	ours, err := e.file.held()
	if ours && err == nil {
		ours, err = e.file.sameAt(h.lock.path)
	}
	e.unpin()
	switch {
	case err != nil:
		return h.fail("check", err)
	case !ours:
		return h.fail("check", ErrLost)
	}
	return nil
}

// pin keeps the file of a live hold open until unpin, and reports whether it is.
func (h *Hold) pin() bool {
	e := h.granted()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hold != h {
		return false
	}
	e.pins++
	return true
}

// Dup returns a duplicate of the locked descriptor, close-on-exec, to be handed
// to a child process by exec.Cmd's ExtraFiles and closed by the caller. A child
// that inherits it keeps the pack locked until it exits, even if this process
// is killed before; Release lets go for both. As long as the child has it, that
// is also so for later holds of this process, because the lock is that of the
// open file, which they share.
//
// Unix only: elsewhere the error is an errors.ErrUnsupported. After Release it
// is an ErrReleased.
func (h *Hold) Dup() (*os.File, error) {
	e := h.granted()
	if !h.pin() {
		return nil, h.fail("dup", ErrReleased)
	}
	f, err := e.file.dup(h.lock.path)
	e.unpin()
	if err != nil {
		return nil, h.fail("dup", err)
	}
	if !h.live() {
		f.Close()
		return nil, h.fail("dup", ErrReleased)
	}
	return f, nil
}

func (h *Hold) live() bool {
	e := h.granted()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hold == h
}

func (h *Hold) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: h.lock.path, Err: err}
}
