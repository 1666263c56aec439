//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
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

// A lock file is created with the mode of WithMode, before umask. The mode of one that
// exists stays. A lost one is replaced with the mode of the Lock that notices.
func TestModeOfACreatedLockFile(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	dir := t.TempDir()
	check := func(path string, want fs.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	private, err := Open(dir, WithMode(0o600))
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	check(private.Path(), 0o600)
	plain := openReal(t, dir)
	check(private.Path(), 0o600)
	remove(t, private.Path())
	release(t, acquireReal(t, plain))
	check(private.Path(), 0o640)
	remove(t, private.Path())
	release(t, acquireReal(t, private))
	check(private.Path(), 0o600)
	group, err := OpenFile(filepath.Join(dir, "group"), WithMode(0o666))
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	check(group.Path(), 0o640)
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	dir := t.TempDir()
	for name, open := range map[string]func() (*Lock, error){
		"a mode with other bits":   func() (*Lock, error) { return Open(dir, WithMode(0o4600)) },
		"the mode of a directory":  func() (*Lock, error) { return OpenFile(dir+"/file", WithMode(fs.ModeDir|0o700)) },
		"any file, in a directory": func() (*Lock, error) { return Open(dir, WithAnyFile()) },
	} {
		l, err := open()
		if l != nil || !errors.Is(err, fs.ErrInvalid) || !errors.As(err, new(*fs.PathError)) {
			t.Errorf("%s: %v, want fs.ErrInvalid", name, err)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("%v was created, %v", names, err)
	}
}

// openAny opens path with WithAnyFile.
func openAny(t testing.TB, path string) *Lock {
	t.Helper()
	l, err := OpenFile(path, WithAnyFile())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// checkAnyExcludes checks that a hold of l excludes a program that locks what is at path
// as flock(1) does, and is excluded by it.
func checkAnyExcludes(t testing.TB, l *Lock, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	h := acquireReal(t, l)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("%s is not locked: %v", path, err)
	}
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	release(t, h)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	checkBusy(t, l)
}

// WithAnyFile locks what flock(1) locks: a file, a directory, the target of a link, also
// of one that leads nowhere yet.
func TestAnyFileIsLocked(t *testing.T) {
	dir := t.TempDir()
	file, link, dangling, sub := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "sub")
	writeFile(t, file, 0o444)
	for link, target := range map[string]string{link: "sub", dangling: "target"} {
		if err := os.Symlink(target, filepath.Join(dir, filepath.Base(link))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, same := range map[string]string{
		file: file, sub: sub, link: sub, dangling: filepath.Join(dir, "target"), filepath.Join(dir, "new"): filepath.Join(dir, "new"),
	} {
		l := openAny(t, path)
		checkAnyExcludes(t, l, same)
		if mode, err := unix.FcntlInt(uintptr(l.entry().file.(*osFile).fd), unix.F_GETFL, 0); err != nil || mode&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("%s is open with %#o, %v; want for reading only", path, mode, err)
		}
	}
}

// A program that is running can be locked, and a locked one can be started.
func TestAnyFileMayBeARunningProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	l := openAny(t, path)
	h := acquireReal(t, l)
	cmd := exec.Command(path)
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	release(t, h)
}

func TestWhatAnyFileRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o666); err != nil {
		t.Skip("no named pipes here:", err)
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		fifo: fs.ErrInvalid, filepath.Join(dir, "s"): fs.ErrInvalid, os.DevNull: fs.ErrInvalid, loop: unix.ELOOP,
		filepath.Join(dir, "missing", "file"): fs.ErrNotExist,
	} {
		if l, err := OpenFile(path, WithAnyFile()); l != nil || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// A directory that is deleted is not replaced by a file.
func TestDeletedDirectoryIsNotReplacedByAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	l := openAny(t, dir)
	release(t, acquireReal(t, l))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	until(t, "an acquire to notice", func() bool {
		h, err := l.TryAcquire()
		if err == nil {
			release(t, h)
		}
		return errors.Is(err, fs.ErrNotExist)
	})
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want nothing at the path", err)
	}
}

// Locks of one file are one lock, whatever their options. A Lock without WithAnyFile does
// not move to what it refuses to open.
func TestLocksOfOneFileWithDifferentOptions(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	writeFile(t, path, 0o666)
	plain, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	anyFile := openAny(t, path)
	h := acquireReal(t, plain)
	if _, err := anyFile.TryAcquire(); !errors.Is(err, ErrReentrant) {
		t.Errorf("%v, want ErrReentrant", err)
	}
	release(t, h)
	if plain.entry() != anyFile.entry() {
		t.Error("two entries of one file")
	}
	remove(t, path)
	writeFile(t, path+".target", 0o666)
	if err := os.Symlink("file.target", path); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.TryAcquire(); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v, want ELOOP", err)
	}
	h = acquireReal(t, anyFile)
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	if !isLocked(t, path+".target") {
		t.Error("the target of the link is not locked")
	}
	release(t, h)
}
