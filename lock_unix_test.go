//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInterruptedCallIsRepeated(t *testing.T) {
	for _, end := range []error{nil, unix.EIO} {
		calls := 0
		err := ignoringEINTR(func() error {
			if calls++; calls <= 10_000 {
				return unix.EINTR
			}
			return end
		})
		if err != end || calls != 10_001 {
			t.Errorf("%v after %d calls, want %v after 10001", err, calls, end)
		}
	}
}

// NFSv4 locks only a descriptor that is open for writing and calls any other
// bad; the reason to give is why it could not be opened so.
func TestConflictIsNoError(t *testing.T) {
	for answer, want := range map[error]struct {
		taken bool
		err   error
	}{
		nil:              {true, nil},
		unix.EWOULDBLOCK: {false, nil},
		unix.EACCES:      {false, nil}, // an SMB mount on Linux
		unix.ENOLCK:      {false, unix.ENOLCK},
		unix.EBADF:       {false, unix.EBADF},
	} {
		if ok, err := taken(answer); ok != want.taken || err != want.err {
			t.Errorf("%v: %t, %v", answer, ok, err)
		}
	}
}

func TestReadOnlyDescriptorThatCannotBeLocked(t *testing.T) {
	f := &osFile{fd: -1, readOnly: unix.EACCES}
	_, err := f.try()
	for _, err := range []error{err, f.block()} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v, want that of opening", err)
		}
	}
	f = &osFile{fd: -1}
	if _, err := f.try(); err != unix.EBADF {
		t.Errorf("%v, want EBADF", err)
	}
}
