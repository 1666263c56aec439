package contend

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ofdLock is an open file description lock on the first byte, on a descriptor of
// its own.
type ofdLock struct{ fd int }

func openOFD(path string) (Locker, error) {
	fd, err := openBare(path)
	if err != nil {
		return nil, err
	}
	l := &ofdLock{fd}
	// A try finds out whether the kernel and the file system know of it.
	switch err := l.fcntl(unix.F_OFD_SETLK, unix.F_WRLCK); {
	case err == nil:
		return l, l.Release()
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES): // somebody else has it
		return l, nil
	default:
		unix.Close(fd)
		return nil, fmt.Errorf("open file description locks: %w (%v)", errors.ErrUnsupported, err)
	}
}

func (l *ofdLock) Lock(context.Context) (Held, error) {
	if err := l.fcntl(unix.F_OFD_SETLKW, unix.F_WRLCK); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *ofdLock) Release() error { return l.fcntl(unix.F_OFD_SETLK, unix.F_UNLCK) }

func (l *ofdLock) Close() error { return unix.Close(l.fd) }

func (l *ofdLock) fcntl(how int, kind int16) error {
	for {
		lock := unix.Flock_t{Type: kind, Len: 1}
		err := unix.FcntlFlock(uintptr(l.fd), how, &lock)
		if err != unix.EINTR {
			return os.NewSyscallError("fcntl", err)
		}
	}
}
