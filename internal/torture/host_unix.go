//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package torture

import (
	"os"

	"golang.org/x/sys/unix"
)

// identity returns what tells an open file from all others that are open.
func identity(f *os.File) (uint64, error) {
	return (&rawLock{fd: int(f.Fd())}).identity()
}

// Signals that stop a process, have it go on, and have it say what its
// goroutines are doing and end.
var (
	signalStop os.Signal = unix.SIGSTOP
	signalGoOn os.Signal = unix.SIGCONT
	signalDump os.Signal = unix.SIGQUIT
)
