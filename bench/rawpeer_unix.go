//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package main

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"packlock/locktest"
)

// rawPeer is a descriptor: the kernel's bare lock.
type rawPeer struct{ fd int }

func newRawPeer(path string) (locktest.Locker, error) {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return rawPeer{fd}, nil
}

func (p rawPeer) Lock(context.Context) error       { return p.flock(unix.LOCK_EX) }
func (p rawPeer) LockShared(context.Context) error { return p.flock(unix.LOCK_SH) }
func (p rawPeer) TryLock() (bool, error)           { return p.try(unix.LOCK_EX) }
func (p rawPeer) TryLockShared() (bool, error)     { return p.try(unix.LOCK_SH) }
func (p rawPeer) Unlock() error                    { return p.flock(unix.LOCK_UN) }
func (p rawPeer) Close() error                     { return unix.Close(p.fd) }

func (p rawPeer) try(how int) (bool, error) {
	err := p.flock(how | unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

func (p rawPeer) flock(how int) error {
	for {
		if err := unix.Flock(p.fd, how); err != unix.EINTR {
			return err
		}
	}
}
