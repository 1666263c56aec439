//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package contend

import (
	"context"
	"errors"
)

// rawLock is nothing here: it cannot be opened.
type rawLock struct{}

func openRaw(path string) (Locker, error) { return nil, errors.ErrUnsupported }

func (*rawLock) Lock(context.Context) (Held, error)       { return nil, errors.ErrUnsupported }
func (*rawLock) LockShared(context.Context) (Held, error) { return nil, errors.ErrUnsupported }

func (*rawLock) try() (bool, error) { return false, errors.ErrUnsupported }

func (*rawLock) Release() error { return errors.ErrUnsupported }
func (*rawLock) stat() error    { return errors.ErrUnsupported }
