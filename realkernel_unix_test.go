//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	rawLock = func(path string, wait bool) (func(), error) {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0) // NFSv4 locks nothing less
		if errors.Is(err, fs.ErrPermission) || err == unix.EROFS {
			fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			return nil, err
		}
		how := unix.LOCK_EX
		if !wait {
			how |= unix.LOCK_NB
		}
		if ok, err := taken(ignoringEINTR(func() error { return unix.Flock(fd, how) })); !ok {
			unix.Close(fd)
			return nil, err
		}
		return func() {
			// Closing is not enough while a child that is just being started
			// has the descriptor too.
			unix.Flock(fd, unix.LOCK_UN)
			unix.Close(fd)
		}, nil
	}
}

// unprivileged runs the rest of a test, which is about permissions, as somebody
// to whom they apply: for root, in a child process that becomes nobody.
func unprivileged(t *testing.T, rest func(t *testing.T)) {
	t.Helper()
	const nobody = 65534
	const env = "PACKLOCK_TEST_NOBODY"
	if os.Getenv(env) != "" {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			t.Skipf("root cannot become anybody else here: %v", err)
		}
		dir, err := os.MkdirTemp("", "")
		if err != nil {
			t.Skipf("nobody may make a temporary directory here: %v", err)
		}
		os.Remove(dir)
	}
	if os.Geteuid() != 0 {
		rest(t)
		return
	}
	cmd, err := childCommand(bounded(t), "", "-test.run=^"+t.Name()+"$", "-test.v")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, env+"=1")
	cmd.Stderr = nil
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, output)
	} else if strings.Contains(string(output), "--- SKIP") {
		t.Skipf("as nobody:\n%s", output)
	}
}

func mkdir(t testing.TB, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(path, 0o777) }) // so that it can be removed
}

func writeFile(t testing.TB, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// checkLockable checks that the pack can be opened and its lock does exclude.
func checkLockable(t testing.TB, dir string) {
	t.Helper()
	l := openReal(t, dir)
	h := acquireReal(t, l)
	checkExcludes(t, h)
	release(t, h)
	unlock, err := rawLock(l.Path(), true)
	if err != nil {
		t.Fatal(err)
	}
	checkBusy(t, l)
	unlock()
	release(t, acquireReal(t, l))
}

// checkRefused checks that the sidecar at path cannot be opened, nor its pack
// if it is that of one.
func checkRefused(t testing.TB, path string, want error) {
	t.Helper()
	_, err := OpenFile(path)
	checkPathError(t, err, "open", path, want)
	if dir, name := filepath.Split(path); name == FileName {
		_, err = Open(dir)
		checkPathError(t, err, "open", path, want)
	}
}
