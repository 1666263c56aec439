//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package contend

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var epoch = time.Now()

// now is a monotonic clock of this process, in nanoseconds: one that costs no
// system call.
func now() int64 { return int64(time.Since(epoch)) }

// sharedNow is a monotonic clock of this machine, in nanoseconds, that goes on
// at the same pace and can be compared between processes.
func sharedNow() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clockMonotonic, &ts); err != nil {
		panic(err) // there is no reason for which it could fail
	}
	return ts.Nano()
}

// mapFile maps the beginning of f into memory, shared with every process that
// does so too. It stays mapped.
func mapFile(f *os.File, size int) (unsafe.Pointer, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return unsafe.Pointer(unsafe.SliceData(b)), nil
}
