package packlock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLocksTheFirstByteAlone(t *testing.T) {
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

func TestOpenSidecarCannotBeDeleted(t *testing.T) {
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
			t.Errorf("one can %s while the lock is held", name)
		}
	}
	checkExcludes(t, h)
	release(t, h)
	for name, attempt := range attempts {
		if err := attempt(); err == nil {
			t.Errorf("one can %s while the Lock is open", name)
		}
	}
	closeLock(t, l)
	remove(t, l.Path())
}

func TestDupIsForUnix(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l)
	_, err := h.Dup()
	checkPathError(t, err, "dup", l.Path(), errors.ErrUnsupported)
	release(t, h)
}
