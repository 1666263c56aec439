//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package packlock

import (
	"errors"
	"time"
)

// osKernel is no kernel: this system has neither flock(2) nor LockFileEx.
type osKernel struct{}

func (osKernel) open(path string, _ options) (file, error) {
	return nil, errors.ErrUnsupported
}

func (osKernel) pause(time.Duration) {}

func (osKernel) threadLimit() int { return 0 }

func explainDirectory(err error) error { return err }
