//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package main

import (
	"errors"

	"packlock/locktest"
)

func newRawPeer(string) (locktest.Locker, error) { return nil, errors.ErrUnsupported }
