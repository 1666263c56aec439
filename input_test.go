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

func TestMissingPackIsCreated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "several", "levels", "deep")
	for range 2 {
		l := openReal(t, dir)
		if want := filepath.Join(dir, FileName); l.Path() != want {
			t.Errorf("got the path %q, want %q", l.Path(), want)
		}
		if info, err := os.Lstat(l.Path()); err != nil || !info.Mode().IsRegular() || info.Size() != 0 {
			t.Errorf("the sidecar is %v (%v), want an empty file", info, err)
		}
		checkFree(t, l)
	}
}

func TestOpenFileCreatesNoDirectory(t *testing.T) {
	needKernel(t)
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "sidecar")
	_, err := OpenFile(path)
	checkPathError(t, err, "open", path, fs.ErrNotExist)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the directory not to be there", err)
	}
}

func TestPathThatIsNone(t *testing.T) {
	for _, path := range []string{"", "\x00", "pack\x00", filepath.Join(t.TempDir(), "\x00")} {
		_, err := Open(path)
		checkPathError(t, err, "open", path, fs.ErrInvalid)
		_, err = OpenFile(path)
		checkPathError(t, err, "open", path, fs.ErrInvalid)
	}
}

func TestFileInPlaceOfPack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "pack")} {
		for _, open := range []func() (*Lock, error){
			func() (*Lock, error) { return Open(dir) },
			func() (*Lock, error) { return OpenFile(filepath.Join(dir, FileName)) },
		} {
			_, err := open()
			var pathError *fs.PathError
			if !errors.As(err, &pathError) || !strings.HasPrefix(pathError.Path, file) {
				t.Errorf("got the error %v, want an *fs.PathError of %s or in it", err, file)
			}
		}
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "content" {
		t.Errorf("the file has %q (%v), want it as it was", content, err)
	}
}

func TestDirectoryInPlaceOfSidecar(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	checkPathError(t, err, "open", path, syscall.EISDIR)
}

func TestOddPaths(t *testing.T) {
	for _, name := range []string{
		"with space", "-n", "ünïcödé 包", "%s", "$HOME", "~", "'",
		filepath.Join(strings.Repeat("long", 40), strings.Repeat("path", 40)), // Windows has a limit of 260
	} {
		l := openReal(t, filepath.Join(t.TempDir(), name))
		h := acquireReal(t, l)
		checkExcludes(t, h)
		release(t, h)
		childHolder(t, filepath.Dir(l.Path())).finish()
	}
}
