package locktest

import (
	"context"
	"errors"
	"os"

	"packlock"
)

// Packlock returns the library of this module. It claims everything except what only some
// file systems of Linux give it: that readers of other processes make room for a writer.
// Check tests file systems with it.
func Packlock() Lib {
	return Lib{Name: "packlock", Open: openPacklock, Claims: AllClaims &^ (ReadersQueueForOthers | WritersGetInBesideOthers)}
}

// packLocker is a Lock, and its hold if it has one.
type packLocker struct {
	lock *packlock.Lock
	hold *packlock.Hold
}

func openPacklock(path string) (Locker, error) {
	l, err := packlock.OpenFile(path)
	if err != nil {
		return nil, err
	}
	return &packLocker{lock: l}, nil
}

func (l *packLocker) Lock(ctx context.Context) error {
	h, err := l.lock.Acquire(ctx)
	return l.keep(h, err)
}

func (l *packLocker) LockShared(ctx context.Context) error {
	h, err := l.lock.AcquireShared(ctx)
	return l.keep(h, err)
}

func (l *packLocker) TryLock() (bool, error)       { return l.try(l.lock.TryAcquire) }
func (l *packLocker) TryLockShared() (bool, error) { return l.try(l.lock.TryAcquireShared) }

func (l *packLocker) try(acquire func() (*packlock.Hold, error)) (bool, error) {
	h, err := acquire()
	if errors.Is(err, packlock.ErrBusy) {
		return false, nil
	}
	return err == nil, l.keep(h, err)
}

func (l *packLocker) keep(h *packlock.Hold, err error) error {
	if err == nil {
		h.Detach() // it is the handle's, whichever goroutine uses that
		l.hold = h
	}
	return err
}

func (l *packLocker) Unlock() error {
	if l.hold == nil {
		return packlock.ErrReleased
	}
	return l.hold.Release()
}

func (l *packLocker) Close() error {
	if l.hold != nil {
		if err := l.hold.Release(); err != nil && !errors.Is(err, packlock.ErrReleased) {
			l.lock.Close()
			return err
		}
	}
	return l.lock.Close()
}

func (l *packLocker) Dup() (*os.File, error) {
	if l.hold == nil {
		return nil, packlock.ErrReleased
	}
	return l.hold.Dup()
}

func (l *packLocker) Check() error {
	if l.hold == nil {
		return packlock.ErrReleased
	}
	return l.hold.Check()
}
