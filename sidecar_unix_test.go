//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	childRoles["stderr"] = childWithoutStderr
}

// childWithoutStderr has closed its standard error: what it opens next would get
// that descriptor.
func childWithoutStderr(args []string) error {
	os.Stderr.Close()
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	h, err := l.TryAcquire()
	if err != nil {
		return err
	}
	dup, err := h.Dup()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.NewFile(2, "stderr"), "this must not get into the sidecar")
	fmt.Println(l.entry().file.(*osFile).fd, dup.Fd())
	return nil
}

// A sidecar is not opened as standard error, into which a panic would be written.
func TestStandardDescriptorsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	cmd, err := childCommand(bounded(t), "stderr", dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var own, dup int
	if _, err := fmt.Sscan(string(out), &own, &dup); err != nil || own < 3 || dup < 3 {
		t.Errorf("descriptors %q", out)
	}
	if text, err := os.ReadFile(filepath.Join(dir, FileName)); err != nil || len(text) > 0 {
		t.Errorf("the sidecar has %q, %v", text, err)
	}
}

// The runtime takes a descriptor that is not blocking into its poller, which costs
// two more and ends the program if there are none.
func TestDupIsBlocking(t *testing.T) {
	h := acquireReal(t, openReal(t, t.TempDir()))
	f, err := h.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := f.SyscallConn() // and not Fd, which makes it blocking
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
	})
	release(t, h)
}

func TestErrorsOfFlockAreWorded(t *testing.T) {
	for _, row := range []struct {
		errno error
		is    error
		says  string
	}{
		{unix.ESTALE, errFileLost, ""},
		{unix.ENOLCK, unix.ENOLCK, "no lock manager"},
		{unix.Errno(524), errors.ErrUnsupported, "by this file system"},
		{unix.EBADF, unix.EACCES, "may be written"},
		{unix.EIO, unix.EIO, ""},
	} {
		err := (&osFile{readOnly: unix.EACCES}).describe(row.errno)
		if !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%v: %v", row.errno, err)
		}
	}
}

// changed returns the time of the last change of the file at path.
func changed(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Lstat(path, &st) }); err != nil {
		t.Fatal(err)
	}
	return st.Ctim.Nano()
}

// A sidecar that was renamed is noticed by the very next acquire, unless the
// kernel's clock for files has stood still since it was made.
func TestRenamedSidecarIsNoticedByTheNextAcquire(t *testing.T) {
	dir := t.TempDir()
	clock := filepath.Join(dir, "clock")
	writeFile(t, clock, 0o666)
	l := openReal(t, dir)
	for i := range 10 {
		release(t, acquireReal(t, l))
		until(t, "the clock for files to go on", func() bool {
			if err := os.Chmod(clock, 0o666); err != nil {
				t.Fatal(err)
			}
			return changed(t, clock) > changed(t, l.Path())
		})
		release(t, acquireReal(t, l)) // the look is young
		if err := os.Rename(l.Path(), filepath.Join(dir, fmt.Sprint("renamed-", i))); err != nil {
			t.Fatal(err)
		}
		h := acquireReal(t, l)
		if err := h.Check(); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		release(t, h)
	}
}

func TestDirectoryThatAServerForgotIsGone(t *testing.T) {
	for _, row := range []struct{ err, is error }{
		{&os.PathError{Op: "stat", Path: ".", Err: unix.ESTALE}, os.ErrNotExist},
		{unix.ESTALE, os.ErrNotExist},
		{unix.EACCES, unix.EACCES},
	} {
		if err := explainDirectory(row.err); !errors.Is(err, row.is) {
			t.Errorf("%v: %v, want %v", row.err, err, row.is)
		}
	}
}
