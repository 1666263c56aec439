//go:build darwin || dragonfly || freebsd || illumos || netbsd || openbsd

package torture

import "errors"

func exchange(a, b string) error { return errors.ErrUnsupported }
