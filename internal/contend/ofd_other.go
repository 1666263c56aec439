//go:build !linux

package contend

import "errors"

func openOFD(path string) (Locker, error) { return nil, errors.ErrUnsupported }
