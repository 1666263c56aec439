package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

var (
	// ErrBusy is returned when TryAcquire or TryAcquireShared would have to wait: a hold
	// excludes it, in this process or a different one, or a waiter is about to acquire the
	// lock, or an exclusive waiter is in front of it.
	ErrBusy = errors.New("lock is busy")

	// ErrReentrant is returned when the caller already holds the lock and would wait for
	// itself. The holder is the calling goroutine, or a hold that the context descends
	// from (see Hold.Context). A shared acquire within a shared hold does not wait, and is
	// granted. It is an ErrBusy.
	ErrReentrant error = describedError{"already held by the caller", ErrBusy}

	// ErrCancelled is returned when the context ends before the call succeeds. The
	// error is also the context's Err and its Cause.
	ErrCancelled = errors.New("wait cancelled")

	// ErrReleased is returned by the methods of a Hold that was released before.
	ErrReleased = errors.New("hold already released")

	// ErrDeadlock is returned when goroutines of this process wait for each other in a
	// cycle: each holds a pack that the one before it waits for. The acquire that has
	// waited shortest fails. The others go on as soon as its goroutine releases what it
	// holds.
	ErrDeadlock = errors.New("deadlock: goroutines of this process wait for each other in a cycle")

	// ErrLost is returned when the lock file was deleted, replaced or renamed, or when a
	// network server dropped the lock. Another process may hold the lock of the file
	// that is at the path now.
	ErrLost = errors.New("lock file was deleted, replaced or renamed, or the server dropped the lock")
)

// errClosed is returned by the methods of a closed Lock.
var errClosed error = describedError{"lock is closed", fs.ErrClosed}

// errMoved ends an acquire of AcquireAll whose lock file was found lost: the new one may
// have a different place in the order.
var errMoved = errors.New("lock file moved")

// errLostAgain ends an acquire after maxMoves moves.
var errLostAgain = fmt.Errorf("%w %d times in a row", ErrLost, maxMoves)

// errFileLost is returned by the kernel for a call on a file that was deleted on the
// server.
var errFileLost = errors.New("file deleted on the server")

// errDeletePending is returned by the kernel for an open of a path whose file was
// deleted or renamed, but keeps its name until every process, on any machine, has closed
// it. No other file can be at the path before.
var errDeletePending = errors.New("a file that was deleted or renamed keeps this name until every process has closed it")

// errBusyBoard is returned by a board while another program has its bytes locked.
var errBusyBoard = errors.New("another program has locked the file by fcntl")

// fail makes the error of an acquire.
func (l *lock) fail(err error) error {
	return &fs.PathError{Op: "acquire", Path: l.path, Err: err}
}

// cancelled returns the error for the end of ctx: an ErrCancelled, and also the
// context's Err and its Cause.
func cancelled(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case err == nil: // a context of the caller's own making that is Done without an Err
		return ErrCancelled
	case errors.Is(cause, err):
		err = fmt.Errorf("%w: %w", ErrCancelled, cause)
	default:
		err = fmt.Errorf("%w: %w: %w", ErrCancelled, err, cause)
	}
	if os.IsTimeout(ctx.Err()) {
		return timeout{err}
	}
	return err
}

// timeout is an error that counts as the end of a deadline for os.IsTimeout, and for
// programs that check for it as package net does. Neither unwraps what fmt.Errorf wraps.
type timeout struct{ error }

func (timeout) Timeout() bool   { return true }
func (t timeout) Unwrap() error { return t.error }

// describedError is an error that is its cause but has a text of its own, where that
// of the cause misleads.
type describedError struct {
	text string
	error
}

func (e describedError) Error() string { return e.text }
func (e describedError) Unwrap() error { return e.error }
