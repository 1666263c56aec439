package torture

import (
	"os"

	"golang.org/x/sys/unix"
)

// announcements is where on a sidecar writers announce themselves: as far out as no file
// reaches, by locks of single bytes.
const announcements = 1 << 62

// announced reports whether a writer is announced on the sidecar, if it is there.
func announced(sidecar string) bool {
	f, err := os.Open(sidecar)
	if err != nil {
		return false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: announcements}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}

// announce announces a writer on the sidecar and returns the descriptor that does.
func announce(sidecar string) (*os.File, error) {
	f, err := os.Open(sidecar)
	if err != nil {
		return nil, err
	}
	return f, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: announcements + 1, Len: 1})
}
