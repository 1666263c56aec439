package packlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

func init() {
	rawLock = func(path string, wait bool) (func(), error) {
		return lockBytes(path, 0, 1, wait)
	}
}

// lockBytes is rawLock for a range of the file at path.
func lockBytes(path string, offset, length uint32, wait bool) (unlock func(), err error) {
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, share, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, err
	}
	var flags uint32 = windows.LOCKFILE_EXCLUSIVE_LOCK
	if !wait {
		flags |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	if err := windows.LockFileEx(h, flags, 0, length, 0, &windows.Overlapped{Offset: offset}); err != nil {
		windows.CloseHandle(h)
		if err == windows.ERROR_LOCK_VIOLATION {
			err = nil
		}
		return nil, err
	}
	return func() {
		windows.UnlockFileEx(h, 0, length, 0, &windows.Overlapped{Offset: offset})
		windows.CloseHandle(h)
	}, nil
}

// The lock is the first byte of the file: a lock of other bytes neither excludes it nor is
// excluded.
func TestLocksOnlyTheFirstByte(t *testing.T) {
	l := openReal(t, t.TempDir())
	const all = 1<<32 - 1
	for _, test := range []struct {
		offset, length uint32
		excludes       bool
	}{
		{0, 1, true},
		{0, all, true},
		{1, all, false},
	} {
		h := acquireReal(t, l)
		unlock, err := lockBytes(l.Path(), test.offset, test.length, false)
		if err != nil {
			t.Fatal(err)
		}
		if excluded := unlock == nil; excluded != test.excludes {
			t.Errorf("%d bytes at %d: excluded %t, want %t", test.length, test.offset, excluded, test.excludes)
		}
		if unlock != nil {
			unlock()
		}
		release(t, h)

		unlock, err = lockBytes(l.Path(), test.offset, test.length, true)
		if err != nil {
			t.Fatal(err)
		}
		if test.excludes {
			checkBusy(t, l)
		} else {
			release(t, acquireReal(t, l))
		}
		unlock()
	}
}

// While the Lock is open, the lock file can be neither deleted nor moved, and its pack
// cannot be deleted.
func TestOpenLockFileCannotBeDeleted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pack")
	l := openReal(t, dir)
	attempts := map[string]func() error{
		"delete":          func() error { return os.Remove(l.Path()) },
		"move away":       func() error { return os.Rename(l.Path(), l.Path()+".moved") },
		"delete the pack": func() error { return os.RemoveAll(dir) },
	}
	h := acquireReal(t, l)
	for name, attempt := range attempts {
		if err := attempt(); err == nil {
			t.Errorf("%s: no error while the lock is held", name)
		}
	}
	checkExcludes(t, h)
	release(t, h)
	for name, attempt := range attempts {
		if err := attempt(); err == nil {
			t.Errorf("%s: no error while the Lock is open", name)
		}
	}
	closeLock(t, l)
	remove(t, l.Path())
}

func TestDupIsUnsupported(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	_, err := h.Dup()
	checkPathError(t, err, "dup", l.Path(), errors.ErrUnsupported)
	release(t, h)
}

// All kinds of Windows paths to a pack lead to one lock.
func TestPathsOfEveryKind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pack")
	l := openReal(t, dir)
	t.Chdir(filepath.Dir(dir))
	h := acquireReal(t, l)
	defer release(t, h)
	volume := filepath.VolumeName(dir)
	for _, path := range []string{
		filepath.ToSlash(dir),
		`\\?\` + dir,
		`\\.\` + dir,
		strings.ToUpper(dir),
		strings.ToLower(dir),
		dir + `\`,
		dir + `/`,
		dir[len(volume):],           // relative to the root of the current drive
		volume + filepath.Base(dir), // relative to the working directory on that drive
		`.\pack`,
		`nothing\..\pack`, // Windows resolves it in the text of the path
	} {
		l, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := l.TryAcquire(); !errors.Is(err, ErrReentrant) {
			t.Errorf("TryAcquire by %s: got %v, want %v", path, err, ErrReentrant)
		}
		closeLock(t, l)
	}
}

func TestSymlinkInPlaceOfLockFile(t *testing.T) {
	for _, target := range []string{"target", "dangling"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "target"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, FileName)
		if err := symlink(filepath.Join(dir, target), path); err != nil {
			t.Skipf("without symlinks: %v", err)
		}
		_, err := Open(dir)
		checkPathError(t, err, "open", path, syscall.ELOOP)
		if _, err := os.Lstat(filepath.Join(dir, "dangling")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist: the target was created", err)
		}
	}
}

func TestDeviceInPlaceOfLockFile(t *testing.T) {
	const path = `\\.\NUL`
	_, err := OpenFile(path)
	checkPathError(t, err, "open", path, fs.ErrInvalid)
}

func TestReadOnlyLockFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	l := openReal(t, dir)
	h := acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
	childHolder(t, dir).finish()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Errorf("the lock file is %v (%v), want it read-only as before", info, err)
	}
}

// A virus scanner or an indexer opens a new file without sharing it, for a moment. Open
// waits for that, and fails if it takes longer than sharingTime.
func TestOpenWaitsForAFileThatIsNotShared(t *testing.T) {
	for _, row := range []struct {
		closes time.Duration
		want   error
	}{{sharingTime / 5, nil}, {time.Hour, windows.ERROR_SHARING_VIOLATION}} {
		path := filepath.Join(t.TempDir(), FileName)
		name, err := windows.UTF16PtrFromString(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := windows.CreateFile(name, windows.GENERIC_READ, 0, nil, windows.CREATE_ALWAYS, windows.FILE_ATTRIBUTE_NORMAL, 0)
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		timer := time.AfterFunc(row.closes, func() {
			windows.CloseHandle(h)
			close(closed)
		})
		l, err := OpenFile(path)
		if !errors.Is(err, row.want) {
			t.Errorf("%v, want %v", err, row.want)
		}
		if err == nil {
			closeLock(t, l)
		}
		if timer.Stop() {
			windows.CloseHandle(h)
		} else {
			<-closed
		}
	}
}

// WithAnyFile opens for reading only, and follows links.
func TestAnyFileOnWindows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	l, err := OpenFile(path, WithAnyFile())
	if err != nil {
		t.Fatal(err)
	}
	defer closeLock(t, l)
	other, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLock(t, other)
	h := acquireReal(t, l)
	if _, err := other.TryAcquire(); !errors.Is(err, ErrReentrant) {
		t.Errorf("%v, want ErrReentrant", err)
	}
	checkExcludes(t, h)
	release(t, h)
}
