package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// errClosed is why a closed Lock refuses.
var errClosed error = worded{"lock is closed", fs.ErrClosed}

// errMoved is why one of the acquires of AcquireAll fails whose sidecar was found
// lost: the new one may have another place in the order.
var errMoved = errors.New("sidecar moved")

// errStale is what the kernel answers to a call on a file that a server no longer
// knows: it is lost.
var errStale = errors.New("file deleted on the server")

// errNameKept is what the kernel answers to an open on an SMB share: of a file that
// was deleted or renamed away, the name cannot be used for another one before
// everybody who has it open, on whatever machine, has closed it. Nor can a file be
// opened by two names.
var errNameKept = errors.New("the name cannot be used before everybody has closed the file, which was deleted or renamed on the server, or is open by another name")

// fail makes the error of an acquire.
func (l *lock) fail(err error) error {
	return &fs.PathError{Op: "acquire", Path: l.path, Err: err}
}

// cancelled returns the error for the end of ctx: an ErrCancelled, and also the
// context's Err and its Cause.
func cancelled(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case err == nil: // a context of the caller's own making that is Done without a reason
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

// timeout is an error that os.IsTimeout, and whoever asks as package net does,
// takes for the end of a deadline. They do not ask what fmt.Errorf wraps.
type timeout struct{ error }

func (timeout) Timeout() bool   { return true }
func (t timeout) Unwrap() error { return t.error }

// worded is an error that is its cause but says so in words of its own, where
// those of the cause mislead.
type worded struct {
	words string
	error
}

func (w worded) Error() string { return w.words }
func (w worded) Unwrap() error { return w.error }
