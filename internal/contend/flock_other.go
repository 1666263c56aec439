//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package contend

import "errors"

func openRaw(path string) (Locker, error) { return nil, errors.ErrUnsupported }
