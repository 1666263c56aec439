package packlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

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
		dir[len(volume):],           // from the root of the current drive
		volume + filepath.Base(dir), // from the working directory on that drive
		`.\pack`,
		`nothing\..\pack`, // resolved in the text
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

func TestSymlinkInPlaceOfSidecar(t *testing.T) {
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
			t.Errorf("got %v, want the target not to be created", err)
		}
	}
}

func TestDeviceInPlaceOfSidecar(t *testing.T) {
	const path = `\\.\NUL`
	_, err := OpenFile(path)
	checkPathError(t, err, "open", path, fs.ErrInvalid)
}

func TestReadOnlySidecar(t *testing.T) {
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
		t.Errorf("the sidecar is %v (%v), want it read-only as before", info, err)
	}
}
