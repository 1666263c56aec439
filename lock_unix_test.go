//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package packlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	rawLock = func(path string, wait bool) (func(), error) {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0) // NFSv4 locks only a file that may be written
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
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			unix.Close(fd)
			return nil, err
		}
		if ok, err := networkOf(fd, path, &st).taken(ignoringEINTR(func() error { return unix.Flock(fd, how) })); !ok {
			unix.Close(fd)
			return nil, err
		}
		return func() {
			// Closing is not enough: a child that is being started may have the
			// descriptor, too.
			unix.Flock(fd, unix.LOCK_UN)
			unix.Close(fd)
		}, nil
	}
}

// unprivileged runs the rest of a test, which is about permissions, as a user without
// privileges. If the test runs as root, that is in a child process with a
// different user id.
func unprivileged(t *testing.T, rest func(t *testing.T)) {
	t.Helper()
	const id = 65534
	const env = "PACKLOCK_TEST_UNPRIVILEGED"
	if os.Getenv(env) != "" {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(id), syscall.Setuid(id)); err != nil {
			t.Skipf("root cannot change its user id here: %v", err)
		}
		dir, err := os.MkdirTemp("", "")
		if err != nil {
			t.Skipf("user %d may not make a temporary directory here: %v", id, err)
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
		t.Errorf("as user %d: %v\n%s", id, err, output)
	} else if strings.Contains(string(output), "--- SKIP") {
		t.Skipf("as user %d:\n%s", id, output)
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

// checkLockable checks that the pack can be opened, and that its lock excludes and is
// excluded.
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

// checkRefused checks that the lock file at path cannot be opened. If it is that of a
// pack, the pack cannot be opened either.
func checkRefused(t testing.TB, path string, want error) {
	t.Helper()
	_, err := OpenFile(path)
	checkPathError(t, err, "open", path, want)
	if dir, name := filepath.Split(path); name == FileName {
		_, err = Open(dir)
		checkPathError(t, err, "open", path, want)
	}
}

// A call that a signal interrupts is repeated until it is not interrupted.
func TestInterruptedCallIsRepeated(t *testing.T) {
	for _, end := range []error{nil, unix.EIO} {
		calls := 0
		err := ignoringEINTR(func() error {
			if calls++; calls <= 10_000 {
				return []error{unix.EINTR, unix.Errno(512)}[calls%2]
			}
			return end
		})
		if err != end || calls != 10_001 {
			t.Errorf("%v after %d calls, want %v after 10001", err, calls, end)
		}
	}
}

// A try of a lock that is held by another process is no error, whichever errno reports
// that.
func TestConflictIsNoError(t *testing.T) {
	for errno, want := range map[error]struct {
		taken bool
		err   error
	}{
		nil:              {true, nil},
		unix.EWOULDBLOCK: {false, nil},
		unix.EACCES:      {false, unix.EACCES}, // busy on SMB only: see TestForbiddenLockIsNotBusy
		unix.ENOLCK:      {false, unix.ENOLCK},
		unix.EBADF:       {false, unix.EBADF},
	} {
		if ok, err := noNetwork.taken(errno); ok != want.taken || err != want.err {
			t.Errorf("%v: %t, %v", errno, ok, err)
		}
	}
}

// NFSv4 locks only a descriptor that is open for writing, and fails with EBADF on a
// different one. Then the error is that of opening the file for writing.
func TestReadOnlyDescriptorThatCannotBeLocked(t *testing.T) {
	f := &osFile{fd: -1, readOnly: unix.EACCES}
	_, err := f.try(false)
	for _, err := range []error{err, f.block(false)} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v, want the error of opening", err)
		}
	}
	f = &osFile{fd: -1}
	if _, err := f.try(false); err != unix.EBADF {
		t.Errorf("%v, want EBADF", err)
	}
}

func init() {
	childRoles["stderr"] = childWithoutStderr
}

// childWithoutStderr is the role of a child that closes its standard error before it
// acquires the lock of the pack args[0]. A file that it opens would get that descriptor.
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
	fmt.Fprintln(os.NewFile(2, "stderr"), "this must not get into the lock file")
	fmt.Println(l.entry().file.(*osFile).fd, dup.Fd())
	return nil
}

// A lock file is not opened as standard error, because a panic would be written into it.
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
		t.Errorf("the lock file contains %q, %v", text, err)
	}
}

// A duplicate is a blocking descriptor. The runtime would add a non-blocking one to its
// poller, which opens two more descriptors, and ends the program if none is left.
func TestDupIsBlocking(t *testing.T) {
	h := acquireReal(t, openReal(t, t.TempDir()))
	f, err := h.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := f.SyscallConn() // not Fd, which makes the descriptor blocking
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

// An errno of flock(2) that does not explain itself gets a description.
func TestFlockErrorsAreDescribed(t *testing.T) {
	for _, row := range []struct {
		errno error
		is    error
		text  string
	}{
		{unix.ESTALE, errFileLost, ""},
		{unix.ENOLCK, unix.ENOLCK, "no lock manager"},
		{unix.Errno(524), errors.ErrUnsupported, "by this file system"},
		{unix.EBADF, unix.EACCES, "may be written"},
		{unix.EIO, unix.EIO, ""},
	} {
		err := (&osFile{readOnly: unix.EACCES, network: otherNetwork}).describe(row.errno)
		if !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%v: %v", row.errno, err)
		}
	}
}

// changed returns the change time of the file at path.
func changed(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Lstat(path, &st) }); err != nil {
		t.Fatal(err)
	}
	return st.Ctim.Nano()
}

// The next acquire notices that the lock file was renamed, if the kernel's clock for
// files has advanced since the file was made.
func TestRenamedLockFileIsNoticedByTheNextAcquire(t *testing.T) {
	dir := t.TempDir()
	clock := filepath.Join(dir, "clock")
	writeFile(t, clock, 0o666)
	l := openReal(t, dir)
	for i := range 10 {
		release(t, acquireReal(t, l))
		until(t, "the clock for files to advance", func() bool {
			if err := os.Chmod(clock, 0o666); err != nil {
				t.Fatal(err)
			}
			return changed(t, clock) > changed(t, l.Path())
		})
		release(t, acquireReal(t, l)) // the path check is recent
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

// If the server no longer knows the directory, the error is fs.ErrNotExist.
func TestDirectoryForgottenByServerDoesNotExist(t *testing.T) {
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

// The umask alone decides the modes of the lock file and of the directories that Open
// creates, because several users may share a pack.
func TestUmaskDecidesModes(t *testing.T) {
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

// If a file takes the place of the pack, the lock file is lost. It is not an error of the
// path check.
func TestPackReplacedByFileIsLost(t *testing.T) {
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

// Open requests no more than it needs. It tries to create the lock file only if it is
// missing, and opens it read-only only if it may not be written. The rows have the calls
// in their order, and the result of each: nil or an errno.
func TestOpenRequestsNoMoreThanNeeded(t *testing.T) {
	const (
		write  = unix.O_RDWR
		create = unix.O_RDWR | unix.O_CREAT
		read   = unix.O_RDONLY
	)
	type call struct {
		mode   int
		result error
	}
	// In a sticky directory Linux denies O_CREAT on another user's file.
	createdMeanwhile := []call{{write, unix.ENOENT}, {create, unix.EACCES}}
	for _, row := range []struct {
		what          string
		calls         []call
		readOnly, err error
	}{
		{"it is there", []call{{write, nil}}, nil, nil},
		{"it is missing", []call{{write, unix.ENOENT}, {create, nil}}, nil, nil},
		{"another process creates it meanwhile",
			append(createdMeanwhile, call{write, nil}), nil, nil},
		{"another process deletes and creates it, again and again",
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
		{"the server has a different file by that name",
			append(slices.Repeat([]call{{write, unix.ESTALE}}, 9), call{write, nil}), nil, nil},
		{"the server does not know the directory any more",
			slices.Repeat([]call{{write, unix.ESTALE}}, 10), nil, unix.ENOENT},
		{"a signal comes", []call{{write, unix.EINTR}, {write, nil}}, nil, nil},
	} {
		var modes []int
		var paused time.Duration
		stale := 0
		_, readOnly, err := openFD("/pack", options{}, func(_ string, mode int, _ uint32) (int, error) {
			n := len(modes)
			modes = append(modes, mode&(unix.O_ACCMODE|unix.O_CREAT))
			if n >= len(row.calls) {
				return -1, errors.New("called too often")
			}
			if row.calls[n].result == unix.ESTALE {
				stale++
			}
			return 3, row.calls[n].result
		}, func(d time.Duration) { paused += d })
		// GlusterFS remembers the name for a second. The open is repeated after each pause.
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
		if !slices.Equal(modes, want) {
			t.Errorf("%s: called with %#o, want %#o", row.what, modes, want)
		}
	}
}

func init() { childRoles["crowd"] = childCrowd }

// childCrowd is the role of a child that holds packs, each with waiters. A waiter gives up
// at a time limit and waits again. For each line that the child reads it prints how many
// goroutines there are in addition to the waiters, and how long an Open takes. args are
// a directory, how many packs, and how many waiters of each.
func childCrowd(args []string) error {
	dir := args[0]
	packs, _ := strconv.Atoi(args[1])
	waiters, _ := strconv.Atoi(args[2])
	var locks []*Lock
	for i := range packs {
		l, err := Open(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		held := make(chan error)
		go func() {
			h, err := l.Acquire(context.Background())
			held <- err
			runtime.KeepAlive(h)
		}()
		if err := <-held; err != nil {
			return err
		}
		locks = append(locks, l)
	}
	for i, l := range locks {
		for j := range waiters {
			limit := 200*time.Millisecond + time.Duration((i*waiters+j)%1800)*time.Millisecond
			go func() {
				for {
					ctx, cancel := context.WithTimeout(context.Background(), limit)
					if _, err := l.Acquire(ctx); !errors.Is(err, ErrCancelled) {
						panic(err)
					}
					cancel()
				}
			}()
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		start := time.Now()
		l, err := Open(filepath.Join(dir, "one-more"))
		if err != nil {
			return err
		}
		took := time.Since(start)
		l.Close()
		fmt.Println(runtime.NumGoroutine()-packs*waiters, took.Microseconds())
	}
	return nil
}

// When a process under load was stopped and continues, its background goroutines end, and
// do not pile up.
func TestNothingPilesUpAfterStopsUnderLoad(t *testing.T) {
	packs, waiters, stops, stopped := 1000, 50, 15, time.Second
	if testing.Short() {
		packs, waiters, stops, stopped = 200, 10, 1, 400*time.Millisecond
	}
	c := childStart(t, "crowd", t.TempDir(), strconv.Itoa(packs), strconv.Itoa(waiters))
	state := func() (more int, open time.Duration) {
		t.Helper()
		if _, err := c.stdin.WriteString("state\n"); err != nil {
			t.Fatal(err)
		}
		line, err := c.stdout.ReadString('\n')
		fields := strings.Fields(line)
		if len(fields) != 2 {
			t.Fatalf("child printed %q (%v)", line, err)
		}
		more, err = strconv.Atoi(fields[0])
		us, err2 := strconv.Atoi(fields[1])
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		return more, time.Duration(us) * time.Microsecond
	}
	more, open := state()
	t.Logf("before: %d more goroutines, an Open takes %v", more, open)
	for range stops {
		for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGCONT} {
			if err := unix.Kill(c.cmd.Process.Pid, sig); err != nil {
				t.Fatal(err)
			}
			time.Sleep(stopped) // the process is stopped, and then it is not
		}
		more, open = state()
		t.Logf("after a stop: %d more goroutines, an Open takes %v", more, open)
	}
	// Each pack may be in the middle of a path check and a search for deadlocks.
	until(t, "the extra goroutines to end", func() bool {
		more, open = state()
		return more < 2*packs+100
	})
	t.Logf("in the end: %d more goroutines, an Open takes %v", more, open)
}

// lockErrnos are errors of flock(2) on file systems that are broken, are out of locks,
// need a different descriptor, or cannot lock.
var lockErrnos = []unix.Errno{unix.EIO, unix.ENOLCK, unix.EBADF, unix.ENOSYS, unix.EOPNOTSUPP}

// openErrnos are errors of open(2) where the disk or a table is full, or broken.
var openErrnos = []unix.Errno{unix.ENOSPC, unix.EMFILE, unix.ENFILE, unix.EIO}

// forEachErrno runs test on a fake kernel for each errno.
func forEachErrno(t *testing.T, errnos []unix.Errno, test func(t *testing.T, e *engine, errno unix.Errno)) {
	for _, errno := range errnos {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			onFake(t, func(t *testing.T, e *engine) {
				test(t, e, errno)
				e.works()
			})
		})
	}
}

// checkAcquireErrno checks the error of an acquire that a system call failed with errno.
func (e *engine) checkAcquireErrno(err error, errno unix.Errno) {
	e.Helper()
	checkPathError(e, err, "acquire", fakePath, errno)
	if got, want := errors.Is(err, errors.ErrUnsupported), errno == unix.ENOSYS || errno == unix.EOPNOTSUPP; got != want {
		e.Errorf("%v is an errors.ErrUnsupported: %t, want %t", err, got, want)
	}
}

// An acquire whose try, link check or path check fails returns the error. The next waiter
// is not affected.
func TestErrorWithoutWait(t *testing.T) {
	for _, call := range []string{"try", "stat", "sameAt"} {
		t.Run(call, func(t *testing.T) {
			forEachErrno(t, lockErrnos, func(t *testing.T, e *engine, errno unix.Errno) {
				for _, acquire := range []func(*Lock) *acquiring{e.acquire, e.blocking} {
					e.makeCheckDue(call)
					fail := make(chan struct{})
					e.beforeNext(call, func() error {
						<-fail
						return errno
					})
					first, second := acquire(e.l), e.acquire(e.l)
					second.waits()
					close(fail)
					first.failed(errno)
					e.checkAcquireErrno(first.err, errno)
					e.release(second.got())
				}
				e.makeCheckDue(call)
				e.failNext(call, errno)
				_, err := e.l.TryAcquire()
				e.checkAcquireErrno(err, errno)
			})
		})
	}
}

// When the wait in the kernel fails, as it begins or as it ends, the first waiter gets the
// error. The next waiter is not affected.
func TestErrorOfWait(t *testing.T) {
	for _, call := range []string{"block", "blocked"} {
		t.Run(call, func(t *testing.T) {
			forEachErrno(t, lockErrnos, func(t *testing.T, e *engine, errno unix.Errno) {
				for _, acquire := range []func(*Lock) *acquiring{e.acquire, e.blocking} {
					f := e.lockedElsewhere()
					fail := make(chan struct{})
					e.beforeNext(call, func() error {
						<-fail
						return errno
					})
					first, second := acquire(e.l), e.acquire(e.l)
					if call == "blocked" {
						f.release()
					}
					first.waits()
					close(fail)
					first.failed(errno)
					e.checkAcquireErrno(first.err, errno)
					if call == "block" {
						second.waits()
						f.release()
					}
					e.release(second.got())
				}
			})
		})
	}
}

// A waiter gets the lock, by a grant or a hand-over, and its path check fails. The waiter
// returns the error, and the lock goes to the next waiter.
func TestErrorOfPathCheckAfterWait(t *testing.T) {
	forEachErrno(t, lockErrnos, func(t *testing.T, e *engine, errno unix.Errno) {
		f := e.lockedElsewhere()
		line := []*acquiring{e.acquire(e.l), e.acquire(e.l), e.acquire(e.l), e.acquire(e.l)}
		e.failNext("sameAt", errno)
		f.release()
		line[0].failed(errno)
		e.checkAcquireErrno(line[0].err, errno)
		h := line[1].got()

		// A path check is due, but the slice has not ended.
		e.l.location.Load().checkedAt.Add(-int64(handOverCheckAge))
		time.Sleep(time.Nanosecond)
		e.failNext("sameAt", errno)
		e.release(h)
		line[2].failed(errno)
		e.checkAcquireErrno(line[2].err, errno)
		e.release(line[3].got())
	})
}

// A file that cannot be unlocked is closed, which releases the lock. The next acquire, and
// all waiters, continue with a new descriptor.
func TestErrorOfUnlock(t *testing.T) {
	forEachErrno(t, lockErrnos, func(t *testing.T, e *engine, errno unix.Errno) {
		opened := 1
		reopened := func() {
			t.Helper()
			opened++
			e.works()
			e.called("open", opened)
		}
		f := e.k.foreigner(t, fakePath)

		h := e.try(e.l)
		e.failNext("unlock", errno)
		checkPathError(t, h.Release(), "release", fakePath, errno)
		f.lock(t) // the lock is free
		f.release()
		checkPathError(t, h.Release(), "release", fakePath, ErrReleased)
		reopened()

		h = e.try(e.l)
		line := []*acquiring{e.acquire(e.l), e.acquire(e.l)}
		time.Sleep(sliceTime)
		e.failNext("unlock", errno)
		checkPathError(t, h.Release(), "release", fakePath, errno)
		for _, a := range line {
			e.release(a.got())
		}
		reopened()

		// The parked thread drains, and no caller gets the error.
		f.lock(t)
		e.acquire(e.l).givesUp()
		drained := e.drain(e.l)
		e.failNext("unlock", errno)
		f.release()
		drained.succeeds()
		reopened()

		// Nor does any caller get the error if a lost file cannot be unlocked.
		e.k.unlink(fakePath)
		e.failNext("unlock", errno)
		e.release(e.try(e.l))
		reopened()
	})
}

// Open returns the error of the system, and the next Open works.
func TestErrorOfOpen(t *testing.T) {
	forEachErrno(t, openErrnos, func(t *testing.T, e *engine, errno unix.Errno) {
		for _, path := range []string{fakePath, otherPath} {
			e.failNext("open", errno)
			_, err := e.reg.openFile(path)
			checkPathError(t, err, "open", path, errno)
			if err := e.open(path).Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// When the lock file is lost and cannot be opened again, the first acquire that needs it
// gets the error. The next one opens it again.
func TestErrorOfReopening(t *testing.T) {
	forEachErrno(t, openErrnos, func(t *testing.T, e *engine, errno unix.Errno) {
		h := e.try(e.l)
		line := []*acquiring{e.acquire(e.l), e.acquire(e.l), e.acquire(e.l)}
		e.k.unlink(fakePath)
		time.Sleep(pathCheckAge)
		e.failNext("open", errno)
		e.release(h)
		line[0].failed(errno)
		e.checkAcquireErrno(line[0].err, errno)
		for _, a := range line[1:] {
			e.release(a.got())
		}

		e.k.unlink(fakePath)
		e.failNext("open", errno)
		_, err := e.l.TryAcquire()
		e.checkAcquireErrno(err, errno)
	})
}

// Close returns the error of the system, and has closed the Lock nevertheless.
func TestErrorOfClose(t *testing.T) {
	forEachErrno(t, []unix.Errno{unix.EIO}, func(t *testing.T, e *engine, errno unix.Errno) {
		other := e.open(otherPath)
		e.failNext("close", errno)
		checkPathError(t, other.Close(), "close", otherPath, errno)
		checkPathError(t, other.Close(), "close", otherPath, fs.ErrClosed)
	})
}

// While the process has no descriptors left, or the disk is full, acquires of a pack that
// was deleted and made again fail. After that they work again.
func TestAcquireWorksAfterErrorsOfOpen(t *testing.T) {
	forEachErrno(t, openErrnos, func(t *testing.T, e *engine, errno unix.Errno) {
		e.k.removeDir(filepath.Dir(fakePath))
		_, err := e.l.TryAcquire()
		checkPathError(t, err, "acquire", fakePath, fs.ErrNotExist)
		e.k.makeDir(filepath.Dir(fakePath))
		e.fail("open", errno)
		for range 3 {
			for _, a := range []*acquiring{e.acquire(e.l), e.blocking(e.l)} {
				a.failed(errno)
				e.checkAcquireErrno(a.err, errno)
			}
		}
		e.works()
		e.stats(Stats{Acquired: 1, Reopened: 1})
	})
}
