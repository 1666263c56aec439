//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A lock file that is not a regular file is refused, and nothing is created or left open.
func TestIrregularLockFilesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(path string) error
		want error
	}{
		{"symlink", func(path string) error {
			target := path + ".target"
			return errors.Join(os.WriteFile(target, nil, 0o666), os.Symlink(target, path))
		}, unix.ELOOP},
		{"dangling symlink", func(path string) error { return os.Symlink(path+".target", path) }, unix.ELOOP},
		{"symlink to itself", func(path string) error { return os.Symlink(path, path) }, unix.ELOOP},
		{"symlink to a directory", func(path string) error { return os.Symlink(".", path) }, unix.ELOOP},
		{"FIFO", func(path string) error { return unix.Mkfifo(path, 0o666) }, fs.ErrInvalid},
		{"socket", func(path string) error {
			// A relative path, because the address of a socket must be short.
			t.Chdir(filepath.Dir(path))
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: FileName})
			if err == nil {
				l.SetUnlinkOnClose(false)
				l.Close()
			}
			return err
		}, fs.ErrInvalid},
		{"directory", func(path string) error { return os.Mkdir(path, 0o777) }, unix.EISDIR},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			checkRefused(t, path, test.want)
			after, err := os.ReadDir(dir)
			if err != nil || len(after) != len(before) {
				t.Errorf("the directory has %v (%v), want %v as before", after, err, before)
			}
			checkNotOpen(t, path)
		})
	}
}

// A FIFO that may only be read is refused at once. The open does not wait for a writer.
func TestUnwritableFIFOInPlaceOfLockFile(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), FileName)
		if err := unix.Mkfifo(path, 0o444); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, path, fs.ErrInvalid)
	})
}

func TestDeviceInPlaceOfLockFile(t *testing.T) {
	for _, path := range []string{"/dev/null", "/dev/tty"} {
		if _, err := os.Lstat(path); err != nil {
			t.Logf("without %s: %v", path, err)
			continue
		}
		checkRefused(t, path, fs.ErrInvalid)
	}
}

// While a FIFO stands in the place of the lock file, acquires fail. When it is removed,
// they work again.
func TestLockFileReplacedByFIFO(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	release(t, acquireReal(t, l))
	remove(t, l.Path())
	if err := unix.Mkfifo(l.Path(), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, by := range acquirers {
		_, err := by.acquire(bounded(t), l)
		checkPathError(t, err, "acquire", l.Path(), fs.ErrInvalid)
	}
	remove(t, l.Path())
	release(t, acquireReal(t, l))
}

func TestFileInPlaceOfDirectoryUnix(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, 0o666)
	checkRefused(t, filepath.Join(file, FileName), unix.ENOTDIR)
	checkRefused(t, filepath.Join(file, "pack", FileName), unix.ENOTDIR)
}

func TestNameTooLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 300))
	_, err := Open(dir)
	checkPathError(t, err, "open", filepath.Join(dir, FileName), unix.ENAMETOOLONG)
}

func TestNameOfAnyBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "\xff\n")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Skipf("the file system does not accept such names: %v", err)
	}
	checkLockable(t, dir)
}

func TestReadOnlyLockFile(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, FileName), 0o444)
		checkLockable(t, dir)
	})
}

func TestReadOnlyPack(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "pack")
		mkdir(t, dir, 0o777)
		writeFile(t, filepath.Join(dir, FileName), 0o444)
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		checkLockable(t, dir)
	})
}

func TestReadOnlyPackWithoutLockFile(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "pack")
		mkdir(t, dir, 0o555)
		checkRefused(t, filepath.Join(dir, FileName), fs.ErrPermission)
	})
}

func TestPackThatMayNotBeCreated(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		parent := filepath.Join(t.TempDir(), "parent")
		mkdir(t, parent, 0o555)
		dir := filepath.Join(parent, "pack")
		_, err := Open(dir)
		checkPathError(t, err, "mkdir", dir, fs.ErrPermission)
	})
}

func TestUnreadablePack(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "pack")
		mkdir(t, dir, 0)
		checkRefused(t, filepath.Join(dir, FileName), fs.ErrPermission)
	})
}

func TestUnreadableLockFile(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), FileName)
		writeFile(t, path, 0)
		checkRefused(t, path, fs.ErrPermission)
	})
}

func TestPackThatIsADanglingSymlink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pack")
	if err := os.Symlink("nowhere", dir); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	checkPathError(t, err, "mkdir", dir, fs.ErrExist)
}

func TestRelativePathInADeletedDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Remove(dir); err != nil {
		t.Skipf("the working directory cannot be deleted here: %v", err)
	}
	_, err := Open("pack")
	checkPathError(t, err, "open", "pack", fs.ErrNotExist)
}

// While the pack may not be read, Check fails. When it may be read again, acquires work.
func TestPackBecomesUnreadable(t *testing.T) {
	unprivileged(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "pack")
		mkdir(t, dir, 0o777)
		l := openReal(t, dir)
		h := acquireReal(t, l)
		if err := os.Chmod(dir, 0); err != nil {
			t.Fatal(err)
		}
		checkPathError(t, h.Check(), "check", l.Path(), fs.ErrPermission)
		release(t, h)
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		release(t, acquireReal(t, l))
	})
}
