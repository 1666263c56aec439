// Package flock has the exported API of github.com/gofrs/flock v0.13, made of packlock.
// A program that uses that package can use this one without a change.
//
// Waits end when their context does, but nothing polls: TryLockContext and TryRLockContext
// wait in the kernel. The Flocks of a process on one file queue, first come, first
// served, and need one thread for all of them.
//
// docs/from-gofrs-flock.md lists the differences, and how to make the dependencies of a
// program use this package, too. New code should use packlock itself.
package flock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"packlock"
)

// An Option changes a Flock that New returns.
type Option func(f *Flock)

// SetFlag sets the flags of os.OpenFile with which the lock file is opened. Without it
// they are O_CREATE and O_RDONLY. Only O_CREATE counts: without it, a lock file that does not
// exist is an fs.ErrNotExist. The file is opened for reading only, or for writing where an
// NFS server locks no other file, and it is never truncated.
func SetFlag(flag int) Option {
	return func(f *Flock) { f.flag = flag }
}

// SetPermissions sets the permissions of a lock file that is created, before umask.
// Without it they are 0600. Other bits of the mode are ignored.
func SetPermissions(perm fs.FileMode) Option {
	return func(f *Flock) { f.perm = perm }
}

// A Flock holds the lock of a file, exclusive or shared, or does not hold it. It is safe for
// concurrent use, but it is one holder: two goroutines that must exclude each other need
// a Flock each.
//
// A Flock that becomes unreachable without Unlock keeps the lock until the process ends.
type Flock struct {
	path string
	flag int
	perm fs.FileMode

	mu sync.Mutex // guards the following; not held while a call waits for the lock

	// hold is what the Flock holds, of lock. Both are nil if it holds nothing.
	lock *packlock.Lock
	hold *packlock.Hold

	// locked and rlocked are set by the calls that succeed, until Unlock. hold knows
	// which of the two it is.
	locked, rlocked bool

	// waiting is closed when the call that waits for the lock ends. It is nil if none
	// does.
	waiting chan struct{}
}

// New returns a Flock of the lock file at path. It does not open the file: each Lock does,
// and Unlock closes it.
func New(path string, opts ...Option) *Flock {
	f := &Flock{path: path, flag: os.O_CREATE | os.O_RDONLY, perm: 0o600}
	for _, opt := range opts {
		opt(f)
	}
	return f
}

// NewFlock is New without options.
//
// Deprecated: Use New.
func NewFlock(path string) *Flock { return New(path) }

// Path returns the path that New got.
func (f *Flock) Path() string { return f.path }

// String returns the path that New got.
func (f *Flock) String() string { return f.path }

// Locked reports whether an exclusive lock was acquired since the last Unlock.
func (f *Flock) Locked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.locked
}

// RLocked reports whether a shared lock was acquired since the last Unlock.
func (f *Flock) RLocked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rlocked
}

// Stat returns the FileInfo of the file that is locked or, if the Flock holds no lock, of
// the file at the path.
func (f *Flock) Stat() (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hold != nil {
		file, err := f.hold.Dup()
		if err == nil {
			defer file.Close()
			return file.Stat()
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, f.fail(err)
		}
		// This is Windows, where a file that is open stays at its path.
	}
	return os.Stat(f.path)
}

// Lock waits until the Flock holds the lock exclusively. It returns nil at once if it does
// already. A shared lock is released before Lock waits, as flock(2) does it, so what it
// guards may have changed.
func (f *Flock) Lock() error {
	_, err := f.wait(context.Background(), exclusive)
	return err
}

// RLock waits until the Flock holds the lock, shared. It returns nil at once if RLock was
// called before. An exclusive lock becomes a shared one, in one step where the system can
// do that.
func (f *Flock) RLock() error {
	_, err := f.wait(context.Background(), shared)
	return err
}

// TryLock is Lock, but returns false where it would have to wait. A shared lock is kept
// then. If another process acquires the lock exclusively at the very moment at which TryLock
// gives it back, it is lost: the error is a packlock.ErrLost, and the Flock holds nothing.
func (f *Flock) TryLock() (bool, error) { return f.try(exclusive) }

// TryRLock is RLock, but returns false where it would have to wait.
func (f *Flock) TryRLock() (bool, error) { return f.try(shared) }

// TryLockContext is Lock with a wait that ends when ctx does: then the error is ctx.Err().
// A shared lock that it released is acquired again, unless a different holder has the lock
// exclusively by then: RLocked reports that. retryDelay is ignored, because the wait takes
// place in the kernel.
func (f *Flock) TryLockContext(ctx context.Context, retryDelay time.Duration) (bool, error) {
	return f.wait(ctx, exclusive)
}

// TryRLockContext is RLock with a wait that ends when ctx does: then the error is
// ctx.Err(). retryDelay is ignored, because the wait takes place in the kernel.
func (f *Flock) TryRLockContext(ctx context.Context, retryDelay time.Duration) (bool, error) {
	return f.wait(ctx, shared)
}

// Unlock releases the lock, in either kind, and closes the file. It does nothing if the
// Flock does not hold the lock.
func (f *Flock) Unlock() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail(f.unlockLocked())
}

// Close is Unlock.
func (f *Flock) Close() error { return f.Unlock() }
