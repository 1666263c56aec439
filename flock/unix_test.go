//go:build unix

package flock_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"packlock/flock"
)

// Symbolic links are followed. The target of one that leads nowhere is made.
func TestSymbolicLink(t *testing.T) {
	path := lockPath(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	a, b := flock.New(link), flock.New(path)
	do(t, a.Lock)
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the target was not made: %v", err)
	}
	busy(t, b.TryLock)
	do(t, a.Unlock)
	do(t, b.Lock)
	busy(t, a.TryLock)
	do(t, b.Unlock)
}

// A directory is locked with and without O_CREATE.
func TestDirectory(t *testing.T) {
	lockPath(t)
	dir := t.TempDir()
	a, b := flock.New(dir, flock.SetFlag(os.O_RDONLY)), flock.New(dir)
	do(t, a.Lock)
	busy(t, b.TryLock)
	do(t, a.Unlock)
	do(t, b.Lock)
	busy(t, a.TryRLock)
	do(t, b.Unlock)
}

// Named pipes, sockets and character devices are refused.
func TestOtherKindsOfFile(t *testing.T) {
	path := lockPath(t)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, os.DevNull} {
		f := flock.New(path)
		if err := f.Lock(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, want fs.ErrInvalid", path, err)
		}
		says(t, f, false, false)
	}
}

// O_RDWR does not open a program that runs for writing.
func TestRunningProgram(t *testing.T) {
	lockPath(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := flock.New(self, flock.SetFlag(os.O_CREATE|os.O_RDWR))
	do(t, f.RLock)
	do(t, f.Unlock)
}
