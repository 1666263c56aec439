//go:build darwin || dragonfly || freebsd || illumos || linux || openbsd

package contend

import "golang.org/x/sys/unix"

const clockMonotonic = unix.CLOCK_MONOTONIC
