//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package contend

import (
	"errors"
	"os"
	"time"
	"unsafe"
)

func now() int64 { return time.Now().UnixNano() }

func sharedNow() int64 { return now() }

func mapFile(f *os.File, size int) (unsafe.Pointer, error) {
	return nil, errors.ErrUnsupported
}
