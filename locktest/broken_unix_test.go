//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package locktest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// systemFlaws are those of things that there are not on Windows, and lockers of
// flock(2), of which each lacks something that is claimed for it.
var systemFlaws = []flaw{
	broken("polls", false, FirstComeFirstServed|ReadersQueue|WritersGetIn, func(l *packLocker, _ string) Locker { return polling{l} }, "no polling"),
	broken("hands over nothing", false, 0, func(l *packLocker, _ string) Locker { return dupOfNothing{l} }, "handed to a child"),
	{Lib: Lib{Name: "flock", Open: openFlock(unix.O_NOFOLLOW), Claims: flockClaims | NoticesLoss},
		caught: []string{"notices loss while idle", "notices loss while held", "notices loss while it waits"}, hangs: true},
	{Lib: Lib{Name: "flock of anything", Open: openFlock(0), Claims: flockClaims | RefusesOddFiles},
		caught: []string{"refuses odd files"}},
	{Lib: Lib{Name: "flock that threads wait for", Open: openFlock(0), Claims: flockClaims | NoThreadPerWaiter},
		caught: []string{"no thread for each waiter"}},
	{Lib: Lib{Name: "flock that is inherited", Open: openInherited, Claims: flockClaims | NotInherited},
		caught: []string{"not inherited"}, hangs: true},
	{Lib: Lib{Name: "flock whose writers starve", Open: openFlock(0), Claims: flockClaims | sharedClaims}, caught: []string{
		"readers queue", "readers queue for others", "writers get in", "writers get in beside others", "upgrade keeps the lock"}, hangs: true},
	{Lib: Lib{Name: "a file that exists", Open: openExisting, Claims: TryNeverWaits | ExcludesHandles | Cancels | CancelLeavesNothing},
		caught: []string{"released on exit", "released on kill"}, hangs: true},
}

const flockClaims = ExcludesHandles | OneLockByAnyPath | TryNeverWaits | NoPolling | SecondUnlockIsHarmless | Shares

// flock is a descriptor.
type flock struct{ fd int }

func openFlock(flags int) func(path string) (Locker, error) {
	return func(path string) (Locker, error) {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|flags, 0o666)
		return flock{fd}, err
	}
}

func openInherited(path string) (Locker, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT, 0o666)
	return flock{fd}, err
}

func (f flock) call(how int) error {
	for {
		if err := unix.Flock(f.fd, how); err != unix.EINTR {
			return err
		}
	}
}

func (f flock) Lock(context.Context) error { return f.call(unix.LOCK_EX) }

func (f flock) TryLock() (bool, error) { return f.try(unix.LOCK_EX) }

func (f flock) LockShared(context.Context) error { return f.call(unix.LOCK_SH) }

func (f flock) TryLockShared() (bool, error) { return f.try(unix.LOCK_SH) }

func (f flock) try(how int) (bool, error) {
	err := f.call(how | unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

func (f flock) Unlock() error { return f.call(unix.LOCK_UN) }
func (f flock) Close() error  { return unix.Close(f.fd) }

// existing is held by who made the file.
type existing struct {
	path string
	mu   sync.Mutex // guards the following
	made bool
}

func openExisting(path string) (Locker, error) {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	return &existing{path: path + ".held"}, nil
}

func (e *existing) TryLock() (bool, error) {
	f, err := os.OpenFile(e.path, os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.made = true
	return true, f.Close()
}

func (e *existing) Lock(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if took, err := e.TryLock(); took || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

func (e *existing) Unlock() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.made {
		return os.ErrNotExist
	}
	e.made = false
	return os.Remove(e.path)
}

func (e *existing) Close() error {
	e.Unlock()
	return nil
}

type polling struct{ *packLocker }

func (l polling) Lock(ctx context.Context) error {
	for ctx.Err() == nil {
		if took, err := l.TryLock(); took || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	return ctx.Err()
}

type dupOfNothing struct{ *packLocker }

func (l dupOfNothing) Dup() (*os.File, error) { return os.Open(os.DevNull) }
