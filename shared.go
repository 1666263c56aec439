package packlock

import (
	"context"
	"errors"
	"runtime"
)

// AcquireShared waits until it holds the lock shared, and returns the hold. Any number of
// shared holds, of goroutines and processes, exclude exclusive ones and not each other.
//
// It is Acquire but for that:
//
//   - Acquires of both kinds are served first come, first served in this process. An
//     AcquireShared that arrives behind a waiting Acquire waits for it, and neighbouring
//     shared waiters are admitted together.
//   - While this process holds the lock shared and no Acquire waits, it takes no system
//     call, but for a check of the path, and of writers elsewhere, once in a millisecond.
//   - If the caller holds the lock shared already, it is granted once more, at once and
//     ahead of all waiters. If the caller holds it exclusively, AcquireShared fails with
//     ErrReentrant, as Acquire does if the caller holds it shared: a hold does not change
//     its kind.
//   - An acquire waits for all of the shared holds, which counts for ErrDeadlock.
func (l *Lock) AcquireShared(ctx context.Context) (*Hold, error) {
	h, err := l.opened().acquire(ctx, parking, true, nil)
	runtime.KeepAlive(l)
	return h, err
}

// TryAcquireShared returns a shared hold if it can acquire one without waiting. It fails
// with ErrReentrant if the calling goroutine holds the lock exclusively, and otherwise with
// ErrBusy. An Acquire that waits makes it fail, too: in a different process, for a second
// at most.
func (l *Lock) TryAcquireShared() (*Hold, error) {
	h, err := l.opened().acquire(context.Background(), trying, true, nil)
	runtime.KeepAlive(l)
	return h, err
}

// DoShared is Do with AcquireShared.
func (l *Lock) DoShared(ctx context.Context, fn func(ctx context.Context) error) error {
	h, err := l.AcquireShared(ctx)
	if err != nil {
		return err
	}
	return h.do(ctx, fn)
}

// do calls fn under the hold, and releases it.
func (h *Hold) do(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	defer func() {
		if released := h.Release(); err == nil {
			err = released
		} else if released != nil {
			err = errors.Join(err, released)
		}
	}()
	return fn(h.Context(ctx))
}
