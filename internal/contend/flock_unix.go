//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package contend

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// rawLock is flock(2) on a descriptor of its own.
type rawLock struct{ fd int }

func openRaw(path string) (Locker, error) {
	fd, err := openBare(path)
	if err != nil {
		return nil, err
	}
	return &rawLock{fd}, nil
}

// openBare opens path without the help of package os, which would make its
// descriptor known to the runtime's poller.
func openBare(path string) (fd int, err error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR:
		default:
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func (l *rawLock) Lock(context.Context) (Held, error) {
	if err := l.flock(unix.LOCK_EX); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *rawLock) LockShared(context.Context) (Held, error) {
	if err := l.flock(unix.LOCK_SH); err != nil {
		return nil, err
	}
	return l, nil
}

// try takes the lock if that needs no waiting.
func (l *rawLock) try() (bool, error) {
	err := l.flock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func (l *rawLock) Release() error { return l.flock(unix.LOCK_UN) }

func (l *rawLock) Close() error { return unix.Close(l.fd) }

func (l *rawLock) flock(how int) error {
	for {
		err := unix.Flock(l.fd, how)
		if err != unix.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

// stat asks about the open file what it takes to know whether it was deleted.
func (l *rawLock) stat() error {
	var st unix.Stat_t
	return os.NewSyscallError("fstat", unix.Fstat(l.fd, &st))
}
