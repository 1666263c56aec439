package torture

import (
	"os"

	"golang.org/x/sys/unix"
)

// announcements is where writers announce themselves on a lock file, by locks of single bytes.
// No file is as long.
const announcements = 1 << 62

// announced reports whether the lock file is there and a writer is announced on it.
func announced(sidecar string) bool {
	f, err := os.Open(sidecar)
	if err != nil {
		return false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: announcements}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}

// announce announces a writer on the lock file, for as long as the descriptor that it returns
// is open.
func announce(sidecar string) (*os.File, error) {
	f, err := os.Open(sidecar)
	if err != nil {
		return nil, err
	}
	return f, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: announcements + 1, Len: 1})
}
