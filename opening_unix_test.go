//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who may use what is created is for the umask to say, and for nobody else: a
// pack may be shared.
func TestModesAreTheUmasks(t *testing.T) {
	dir := t.TempDir()
	defer unix.Umask(unix.Umask(0))
	for _, umask := range []int{0, 0o022, 0o077} {
		unix.Umask(umask)
		pack := filepath.Join(dir, fmt.Sprintf("%03o", umask), "pack")
		l, err := Open(pack)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		for path, mode := range map[string]int{l.Path(): 0o666, pack: 0o777, filepath.Dir(pack): 0o777} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := info.Mode().Perm(), os.FileMode(mode&^umask); got != want {
				t.Errorf("umask %03o: %s has mode %o, want %o", umask, path, got, want)
			}
		}
	}
}

// A file in the place of the pack has no sidecar in it, which is an answer: the
// sidecar is lost.
func TestFileInPlaceOfThePackIsALoss(t *testing.T) {
	pack := filepath.Join(t.TempDir(), "pack")
	l := openReal(t, pack)
	h := acquireReal(t, l)
	if err := os.RemoveAll(pack); err != nil {
		t.Fatal(err)
	}
	writeFile(t, pack, 0o666)
	checkPathError(t, h.Check(), "check", l.Path(), ErrLost)
	release(t, h)
}

// The calls by which the sidecar is opened, and what the system answers to each:
// nil or an errno.
func TestOpeningAsksForNoMoreThanItNeeds(t *testing.T) {
	const (
		write  = unix.O_RDWR
		create = unix.O_RDWR | unix.O_CREAT
		read   = unix.O_RDONLY
	)
	type call struct {
		mode   int
		answer error
	}
	// In a sticky directory Linux denies O_CREAT on somebody else's file.
	createdMeanwhile := []call{{write, unix.ENOENT}, {create, unix.EACCES}}
	for _, row := range []struct {
		what          string
		calls         []call
		readOnly, err error
	}{
		{"it is there", []call{{write, nil}}, nil, nil},
		{"it is missing", []call{{write, unix.ENOENT}, {create, nil}}, nil, nil},
		{"somebody creates it meanwhile",
			append(createdMeanwhile, call{write, nil}), nil, nil},
		{"somebody deletes and creates it, again and again",
			append(slices.Repeat(createdMeanwhile, 9), call{write, nil}), nil, nil},
		{"it is missing and may not be created",
			append(slices.Repeat(createdMeanwhile, 10), call{read, unix.ENOENT}), nil, unix.EACCES},
		{"the directory is missing", []call{{write, unix.ENOENT}, {create, unix.ENOENT}}, nil, unix.ENOENT},
		{"it may only be read", []call{{write, unix.EACCES}, {read, nil}}, unix.EACCES, nil},
		{"it is immutable", []call{{write, unix.EPERM}, {read, nil}}, unix.EPERM, nil},
		{"the file system is read-only", []call{{write, unix.EROFS}, {read, nil}}, unix.EROFS, nil},
		{"it is missing on a read-only file system",
			[]call{{write, unix.ENOENT}, {create, unix.EROFS}, {read, unix.ENOENT}}, nil, unix.EROFS},
		{"it may not even be read", []call{{write, unix.EACCES}, {read, unix.EACCES}}, nil, unix.EACCES},
		{"there are no descriptors left", []call{{write, unix.EMFILE}}, nil, unix.EMFILE},
		{"another machine has replaced it", []call{{write, unix.EINVAL}, {write, nil}}, nil, nil},
		{"the server knows another file by that name",
			append(slices.Repeat([]call{{write, unix.ESTALE}}, 9), call{write, nil}), nil, nil},
		{"the server does not know the directory any more",
			slices.Repeat([]call{{write, unix.ESTALE}}, 10), nil, unix.ENOENT},
		{"a signal comes", []call{{write, unix.EINTR}, {write, nil}}, nil, nil},
	} {
		var asked []int
		var paused time.Duration
		stale := 0
		_, readOnly, err := openFD("/pack", func(_ string, mode int, _ uint32) (int, error) {
			n := len(asked)
			asked = append(asked, mode&(unix.O_ACCMODE|unix.O_CREAT))
			if n >= len(row.calls) {
				return -1, errors.New("asked too often")
			}
			if row.calls[n].answer == unix.ESTALE {
				stale++
			}
			return 3, row.calls[n].answer
		}, func(d time.Duration) { paused += d })
		// GlusterFS needs a second to forget, and is asked after each pause.
		if want := 2 * time.Millisecond * (1<<min(stale, maxAgain-1) - 1); paused != want {
			t.Errorf("%s: paused for %v, want %v", row.what, paused, want)
		}
		if readOnly != row.readOnly || err != row.err && !errors.Is(err, row.err) {
			t.Errorf("%s: read-only %v, error %v; want %v, %v", row.what, readOnly, err, row.readOnly, row.err)
		}
		var want []int
		for _, c := range row.calls {
			want = append(want, c.mode)
		}
		if !slices.Equal(asked, want) {
			t.Errorf("%s: asked with %#o, want %#o", row.what, asked, want)
		}
	}
}
