package flock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"packlock"
	"packlock/flock"
	"packlock/internal/dropin"
)

// RLock of a Flock that holds the lock makes it shared. Both are reported.
func TestDowngrade(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b, c := flock.New(path), flock.New(path), flock.New(path)
		do(t, a.Lock)
		s := startLock(t, b.RLock)
		s.waits()
		do(t, a.RLock)
		s.got()
		says(t, a, true, true)
		says(t, b, false, true)
		busy(t, c.TryLock)
		do(t, a.Unlock)
		says(t, a, false, false)
		busy(t, c.TryLock)
		do(t, b.Unlock)
		take(t, c.TryLock)
		do(t, c.Unlock)
	})
}

// Lock of a Flock that holds the lock shared makes it exclusive. Both are reported.
func TestUpgrade(t *testing.T) {
	path := lockPath(t)
	a, b := flock.New(path), flock.New(path)
	for _, call := range []func() (bool, error){
		a.TryLock,
		func() (bool, error) { return true, a.Lock() },
		func() (bool, error) { return a.TryLockContext(t.Context(), 0) },
	} {
		do(t, a.RLock)
		take(t, call)
		says(t, a, true, true)
		busy(t, b.TryRLock)
		take(t, a.TryRLock) // it is exclusive nevertheless
		busy(t, b.TryRLock)
		do(t, a.Unlock)
		take(t, b.TryLock)
		do(t, b.Unlock)
	}
}

// A lock that was made shared can become exclusive again.
func TestLockAfterDowngradeIsExclusive(t *testing.T) {
	path := lockPath(t)
	a, b := flock.New(path), flock.New(path)
	do(t, a.Lock)
	do(t, a.RLock)
	take(t, b.TryRLock)
	busy(t, a.TryLock)
	do(t, b.Unlock)
	do(t, a.Lock)
	busy(t, b.TryRLock)
	do(t, a.Unlock)
}

// A TryLock that returns false has kept the shared lock.
func TestFailedTryLockKeepsTheSharedLock(t *testing.T) {
	path := lockPath(t)
	a, b, c := flock.New(path), flock.New(path), flock.New(path)
	do(t, a.RLock)
	do(t, b.RLock)
	busy(t, a.TryLock)
	says(t, a, false, true)
	do(t, b.Unlock)
	busy(t, c.TryLock)
	do(t, a.Unlock)
	take(t, c.TryLock)
	do(t, c.Unlock)
}

// If another process acquires the lock while TryLock takes the shared one back, it is lost.
func TestTryLockThatLostTheSharedLock(t *testing.T) {
	f := flock.New(lockPath(t))
	losesConversions(t)
	do(t, f.RLock)
	if ok, err := f.TryLock(); ok || !errors.Is(err, packlock.ErrLost) {
		t.Errorf("%v, %v, want packlock.ErrLost", ok, err)
	}
	says(t, f, false, false)
	take(t, f.TryLock)
	do(t, f.Unlock)
}

// Lock and RLock wait for the lock that a conversion has lost.
func TestLockThatLostTheLock(t *testing.T) {
	f := flock.New(lockPath(t))
	losesConversions(t)
	do(t, f.RLock)
	do(t, f.Lock)
	says(t, f, true, false)
	do(t, f.RLock)
	says(t, f, false, true)
	do(t, f.Unlock)
}

// losesConversions has each conversion lose the lock while the test lasts.
func losesConversions(t *testing.T) {
	upgrade, downgrade := dropin.Upgrade, dropin.Downgrade
	t.Cleanup(func() { dropin.Upgrade, dropin.Downgrade = upgrade, downgrade })
	dropin.Downgrade = func(hold any) error {
		return errors.Join(packlock.ErrLost, hold.(*packlock.Hold).Release())
	}
	dropin.Upgrade = func(hold any) (bool, error) { return false, dropin.Downgrade(hold) }
}

// Lock releases the shared lock before it waits, so two Flocks that do so at once both get
// it.
func TestUpgradesAtOnce(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := flock.New(path), flock.New(path)
		do(t, a.RLock)
		do(t, b.RLock)
		s := startLock(t, a.Lock)
		s.waits()
		do(t, b.Lock)
		says(t, b, true, true)
		s.waits()
		do(t, b.Unlock)
		s.got()
		says(t, a, true, true)
		do(t, a.Unlock)
	})
}

// A TryLockContext that gives up takes the shared lock back, unless another holder has
// the lock exclusively.
func TestUpgradeWhoseContextEnds(t *testing.T) {
	path := lockPath(t)
	for _, taken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b, c := flock.New(path), flock.New(path), flock.New(path)
			do(t, a.RLock)
			do(t, b.RLock)
			writer := startLock(t, c.Lock)
			writer.waits()
			ctx, cancel := context.WithCancel(t.Context())
			s := start(t, func() (bool, error) { return a.TryLockContext(ctx, 0) })
			s.waits()
			if taken {
				do(t, b.Unlock)
				writer.got()
			}
			cancel()
			s.fails(context.Canceled)
			says(t, a, false, !taken)
			if !taken {
				do(t, b.Unlock)
				writer.waits()
				do(t, a.Unlock)
				writer.got()
			}
			do(t, c.Unlock)
			take(t, a.TryLock)
			do(t, a.Unlock)
		})
	}
}

// Unlock, while Lock waits, ends the claim to the shared lock.
func TestUnlockDuringAnUpgrade(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b, c := flock.New(path), flock.New(path), flock.New(path)
		do(t, a.RLock)
		do(t, b.RLock)
		ctx, cancel := context.WithCancel(t.Context())
		s := start(t, func() (bool, error) { return a.TryLockContext(ctx, 0) })
		s.waits()
		do(t, a.Unlock)
		cancel()
		s.fails(context.Canceled)
		says(t, a, false, false)
		do(t, b.Unlock)
		take(t, c.TryLock)
		do(t, c.Unlock)
	})
}

// While this process has the file shared, RLock waits for no Lock: the goroutine that is to
// release the shared lock may be the one that calls RLock.
func TestRLockPassesQueuedLocks(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := flock.New(path), flock.New(path)
		do(t, a.RLock)
		s := startLock(t, b.Lock)
		s.waits()
		for _, call := range []func(*flock.Flock) error{
			(*flock.Flock).RLock,
			func(f *flock.Flock) error { _, err := f.TryRLock(); return err },
			func(f *flock.Flock) error { _, err := f.TryRLockContext(t.Context(), 0); return err },
		} {
			c := flock.New(path)
			do(t, func() error { return call(c) })
			says(t, c, false, true)
			do(t, c.Unlock)
		}
		s.waits()
		do(t, a.Unlock)
		s.got()
		do(t, b.Unlock)
	})
}

// It passes those that queued before it, too, when this process gets the file shared.
func TestRLockPassesLocksAheadOfIt(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		first, a, b, c := flock.New(path), flock.New(path), flock.New(path), flock.New(path)
		do(t, first.Lock)
		reader := startLock(t, a.RLock)
		reader.waits()
		writer := startLock(t, b.Lock)
		writer.waits()
		late := startLock(t, c.RLock)
		late.waits()
		do(t, first.Unlock)
		reader.got()
		late.got()
		writer.waits()
		do(t, a.Unlock)
		do(t, c.Unlock)
		writer.got()
		do(t, b.Unlock)
	})
}

// TryRLock is never busy because of another RLock, be it that this acquires the lock at the
// same moment or releases it.
func TestTryRLocksAtOnce(t *testing.T) {
	path := lockPath(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			f := flock.New(path)
			for n := range 100 {
				if ok, err := f.TryRLock(); !ok || err != nil {
					t.Errorf("TryRLock number %d: %v, %v instead of the lock", n, ok, err)
					return
				}
				if err := f.Unlock(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
