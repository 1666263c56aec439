package flock

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"packlock"
	"packlock/internal/dropin"
)

// kind is the kind of a lock.
type kind bool

const (
	exclusive kind = true
	shared    kind = false
)

// try is TryLock and TryRLock.
func (f *Flock) try(k kind) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting != nil {
		return false, nil
	}
	lock, ok, err := f.tryLocked(k)
	if lock != nil && f.hold == nil {
		lock.Close()
	}
	return ok, err
}

// wait is Lock, RLock and their variants with a context.
func (f *Flock) wait(ctx context.Context, k kind) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	done := ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.waiting != nil { // and what it acquires is for this call, too
		waiting := f.waiting
		f.unlocked(func() {
			select {
			case <-waiting:
			case <-done:
			}
		})
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
	lock, ok, err := f.tryLocked(k)
	if errors.Is(err, packlock.ErrLost) {
		// The wait for a conversion releases the hold anyway.
		lock, ok, err = f.tryLocked(k)
	}
	if ok || err != nil {
		return ok, err
	}
	return f.waitLocked(ctx, lock, k)
}

// tryLocked acquires the lock if that needs no waiting. If it would, it returns the
// lock, open.
func (f *Flock) tryLocked(k kind) (lock *packlock.Lock, ok bool, err error) {
	if f.hold != nil {
		ok, err = f.convertLocked(k)
		return f.lock, ok, err
	}
	if lock, err = f.open(); err != nil {
		return nil, false, f.fail(err)
	}
	tryAcquire := lock.TryAcquire
	if k == shared {
		tryAcquire = lock.TryAcquireShared
	}
	hold, err := tryAcquire()
	switch {
	case err == nil:
		f.tookLocked(lock, hold, k)
		return nil, true, nil
	case errors.Is(err, packlock.ErrBusy):
		return lock, false, nil
	}
	lock.Close()
	return nil, false, f.fail(err)
}

// convertLocked makes the hold one of kind k if that needs no waiting.
func (f *Flock) convertLocked(k kind) (ok bool, err error) {
	switch {
	case k == exclusive && !f.hold.Shared(), k == shared && f.rlocked:
		return true, nil
	case k == exclusive:
		ok, err = dropin.Upgrade(f.hold)
	default:
		err = dropin.Downgrade(f.hold)
		ok = err == nil
	}
	if ok {
		f.tookLocked(f.lock, f.hold, k)
	}
	if errors.Is(err, packlock.ErrLost) {
		f.unlockLocked()
	}
	return ok, f.fail(err)
}

// waitLocked waits for the lock, with mu unlocked. If there is a hold, it is shared and
// is released first: two Flocks that waited for each other to release theirs would wait for
// ever.
func (f *Flock) waitLocked(ctx context.Context, lock *packlock.Lock, k kind) (bool, error) {
	if f.hold != nil {
		if err := f.hold.Release(); err != nil {
			f.unlockLocked()
			return false, f.fail(err)
		}
		f.lock, f.hold = nil, nil
	}
	waiting := make(chan struct{})
	f.waiting = waiting
	defer func() {
		f.waiting = nil
		close(waiting)
	}()
	acquire := lock.Acquire
	if k == shared {
		acquire = lock.AcquireShared
	}
	var hold *packlock.Hold
	var err error
	f.unlocked(func() { hold, err = acquire(ctx) })
	if err == nil {
		f.tookLocked(lock, hold, k)
		return true, nil
	}
	if f.locked || f.rlocked { // there was a hold, and no Unlock meanwhile
		if hold, _ := lock.TryAcquireShared(); hold != nil {
			hold.Detach()
			f.lock, f.hold = lock, hold
		} else {
			f.locked, f.rlocked = false, false
		}
	}
	if f.hold == nil {
		lock.Close()
	}
	if errors.Is(err, packlock.ErrCancelled) {
		return false, ctx.Err()
	}
	return false, f.fail(err)
}

// unlocked calls fn with mu unlocked.
func (f *Flock) unlocked(fn func()) {
	f.mu.Unlock()
	defer f.mu.Lock() // also if a context panics, which may be any caller's code
	fn()
}

// tookLocked notes that the Flock has got hold, of kind k.
func (f *Flock) tookLocked(lock *packlock.Lock, hold *packlock.Hold, k kind) {
	hold.Detach() // any goroutine may call Unlock, and the Flock knows what it holds
	f.lock, f.hold = lock, hold
	if k == exclusive {
		f.locked = true
	} else {
		f.rlocked = true
	}
}

// unlockLocked releases what the Flock holds, if anything.
func (f *Flock) unlockLocked() error {
	f.locked, f.rlocked = false, false
	if f.hold == nil {
		return nil
	}
	err := f.hold.Release()
	f.lock.Close()
	f.lock, f.hold = nil, nil
	return err
}

// open opens the lock file.
func (f *Flock) open() (*packlock.Lock, error) {
	opts := []packlock.Option{packlock.WithAnyFile(), packlock.WithMode(f.perm.Perm()), dropin.Unowned.(packlock.Option)}
	if f.flag&os.O_CREATE == 0 {
		opts = append(opts, dropin.MustExist.(packlock.Option))
	}
	return packlock.OpenFile(f.path, opts...)
}

// fail returns err with the path that the caller knows.
func (f *Flock) fail(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return &fs.PathError{Op: of.Op, Path: f.path, Err: of.Err}
	}
	return err
}
