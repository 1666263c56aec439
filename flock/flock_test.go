package flock_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packlock"
	"packlock/flock"
)

// lockPath returns the path of a lock file that does not exist yet. It skips the test where
// there are no locks.
func lockPath(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lock")
	if l, err := packlock.OpenFile(filepath.Join(t.TempDir(), "probe")); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system has no file locks")
	} else if err == nil {
		l.Close()
	}
	return path
}

// take makes a call that must get the lock.
func take(t testing.TB, call func() (bool, error)) {
	t.Helper()
	if ok, err := call(); !ok || err != nil {
		t.Fatalf("%v, %v instead of the lock", ok, err)
	}
}

// busy makes a call that must not get the lock.
func busy(t testing.TB, call func() (bool, error)) {
	t.Helper()
	if ok, err := call(); ok || err != nil {
		t.Fatalf("%v, %v, want false: the lock is busy", ok, err)
	}
}

func do(t testing.TB, call func() error) {
	t.Helper()
	if err := call(); err != nil {
		t.Fatal(err)
	}
}

// says checks what a Flock reports about itself.
func says(t testing.TB, f *flock.Flock, locked, rlocked bool) {
	t.Helper()
	if f.Locked() != locked || f.RLocked() != rlocked {
		t.Errorf("Locked %v, RLocked %v, want %v, %v", f.Locked(), f.RLocked(), locked, rlocked)
	}
}

// started is a call that waits.
type started struct {
	t    testing.TB
	done chan struct{}
	ok   bool
	err  error
}

func start(t testing.TB, call func() (bool, error)) *started {
	s := &started{t: t, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.ok, s.err = call()
	}()
	return s
}

// startLock starts Lock or RLock.
func startLock(t testing.TB, call func() error) *started {
	return start(t, func() (bool, error) { err := call(); return err == nil, err })
}

// waits checks, in a bubble, that the call does not return.
func (s *started) waits() {
	s.t.Helper()
	synctest.Wait()
	select {
	case <-s.done:
		s.t.Fatalf("returned %v, %v instead of waiting", s.ok, s.err)
	default:
	}
}

func (s *started) got() {
	s.t.Helper()
	<-s.done
	if !s.ok || s.err != nil {
		s.t.Fatalf("%v, %v instead of the lock", s.ok, s.err)
	}
}

// fails checks the error of the call, which is want itself.
func (s *started) fails(want error) {
	s.t.Helper()
	<-s.done
	if s.ok || s.err != want {
		s.t.Fatalf("%v, %v, want the error %v", s.ok, s.err, want)
	}
}

// A Flock that holds the lock gets it again, and Unlock needs no lock.
func TestLockOfAHolderReturnsAtOnce(t *testing.T) {
	f := flock.New(lockPath(t))
	says(t, f, false, false)
	do(t, f.Unlock)
	for range 2 {
		do(t, f.Lock)
		take(t, f.TryLock)
		says(t, f, true, false)
	}
	do(t, f.Unlock)
	for range 2 {
		do(t, f.RLock)
		take(t, f.TryRLock)
		says(t, f, false, true)
	}
	do(t, f.Close)
	do(t, f.Close)
	says(t, f, false, false)
}

func TestPath(t *testing.T) {
	for _, f := range []*flock.Flock{flock.New("a/../b"), flock.NewFlock("a/../b")} {
		if f.Path() != "a/../b" || f.String() != "a/../b" {
			t.Errorf("Path %q, String %q", f.Path(), f.String())
		}
	}
}

// Flocks of one file exclude each other as the kernel's locks do.
func TestKinds(t *testing.T) {
	path := lockPath(t)
	a, b := flock.New(path), flock.New(path)
	take(t, a.TryLock)
	busy(t, b.TryLock)
	busy(t, b.TryRLock)
	do(t, a.Unlock)
	take(t, a.TryRLock)
	busy(t, b.TryLock)
	take(t, b.TryRLock)
	do(t, a.Unlock)
	says(t, b, false, true)
	busy(t, a.TryLock)
	do(t, b.Unlock)
	take(t, a.TryLock)
	do(t, a.Unlock)
}

// The first lock makes the file, with the permissions that were set.
func TestFileIsMadeByTheFirstLock(t *testing.T) {
	path := lockPath(t)
	for _, row := range []struct {
		opts []flock.Option
		want fs.FileMode
	}{
		{nil, 0o600},
		{[]flock.Option{flock.SetPermissions(0o640)}, 0o640},
		{[]flock.Option{flock.SetPermissions(fs.ModeSetuid | 0o600)}, 0o600}, // other bits are ignored
	} {
		f := flock.New(path, row.opts...)
		if _, err := f.Stat(); !os.IsNotExist(err) {
			t.Fatalf("Stat before Lock: %v", err)
		}
		do(t, f.Lock)
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode() != row.want {
			t.Errorf("mode %v, want %v", info.Mode(), row.want)
		}
		do(t, f.Unlock)
		if info, err = f.Stat(); err != nil || info.Name() != "lock" {
			t.Errorf("Stat after Unlock: %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// Of the flags only O_CREATE counts.
func TestSetFlag(t *testing.T) {
	for flag, name := range map[int]string{
		os.O_CREATE | os.O_RDWR:               "O_RDWR",
		os.O_CREATE | os.O_WRONLY:             "O_WRONLY",
		os.O_CREATE | os.O_RDWR | os.O_TRUNC:  "O_TRUNC",
		os.O_CREATE | os.O_RDWR | os.O_APPEND: "O_APPEND",
		os.O_CREATE | os.O_RDWR | os.O_EXCL:   "O_EXCL",
	} {
		t.Run(name, func(t *testing.T) {
			path := lockPath(t)
			f := flock.New(path, flock.SetFlag(flag))
			do(t, f.Lock)
			do(t, f.Unlock)
			if err := os.WriteFile(path, []byte("data"), 0o400); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o400); err != nil {
				t.Fatal(err)
			}
			do(t, f.Lock)
			do(t, f.Unlock)
			if data, err := os.ReadFile(path); string(data) != "data" {
				t.Errorf("the file has %q (%v)", data, err)
			}
			os.Chmod(path, 0o600) // or it could not be deleted on Windows
		})
	}
	t.Run("without O_CREATE", func(t *testing.T) {
		path := lockPath(t)
		f := flock.New(path, flock.SetFlag(os.O_RDONLY))
		for _, call := range []func() (bool, error){f.TryLock, f.TryRLock} {
			if ok, err := call(); ok || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v, %v, want fs.ErrNotExist", ok, err)
			}
		}
		if err := f.Lock(); !os.IsNotExist(err) {
			t.Errorf("Lock: %v, want fs.ErrNotExist", err)
		}
		says(t, f, false, false)
		other := flock.New(path)
		do(t, other.Lock)
		busy(t, f.TryLock)
		do(t, other.Unlock)
	})
}

// The path is the caller's in errors, too.
func TestErrorsHaveThePathAsGiven(t *testing.T) {
	lockPath(t)
	t.Chdir(t.TempDir())
	_, want := os.Open("missing/lock")
	f := flock.New("missing/lock")
	for _, call := range []func() error{f.Lock, f.RLock, func() error { _, err := f.TryLock(); return err }} {
		if err := call(); err == nil || err.Error() != want.Error() || !os.IsNotExist(err) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// A wait takes place in the kernel or the queue: a released lock is not found an hour
// later.
func TestRetryDelayIsIgnored(t *testing.T) {
	path := lockPath(t)
	for _, call := range []func(*flock.Flock, context.Context, time.Duration) (bool, error){
		(*flock.Flock).TryLockContext, (*flock.Flock).TryRLockContext,
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := flock.New(path), flock.New(path)
			do(t, a.Lock)
			s := start(t, func() (bool, error) { return call(b, t.Context(), time.Hour) })
			s.waits()
			since := time.Now()
			do(t, a.Unlock)
			s.got()
			if d := time.Since(since); d != 0 {
				t.Errorf("got the lock %v after it was released", d)
			}
			do(t, b.Unlock)
		})
	}
}

// Flocks of one path queue in a process, first come, first served, and neighbouring shared
// ones are admitted together.
func TestFlocksQueue(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		first := flock.New(path)
		do(t, first.Lock)
		var mu sync.Mutex
		var order []int
		var waits []*started
		for n := range 8 {
			f := flock.New(path)
			s := startLock(t, func() error {
				call := f.Lock
				if n == 3 || n == 4 {
					call = f.RLock
				}
				err := call()
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				time.Sleep(time.Second)
				return errors.Join(err, f.Unlock())
			})
			s.waits()
			waits = append(waits, s)
		}
		since := time.Now()
		do(t, first.Unlock)
		for _, s := range waits {
			s.got()
		}
		if order[3] == 4 { // both at once
			order[3], order[4] = 3, 4
		}
		if !slices.IsSorted(order) {
			t.Errorf("got the lock in the order %v", order)
		}
		if d := time.Since(since); d != 7*time.Second {
			t.Errorf("it took %v: the shared locks were not held together", d)
		}
	})
}

// The error of a wait that ended is that of the context itself.
func TestContextErrorIsBare(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := flock.New(path), flock.New(path)
		do(t, a.Lock)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, call := range []func(context.Context, time.Duration) (bool, error){b.TryLockContext, b.TryRLockContext} {
			start(t, func() (bool, error) { return call(ctx, time.Hour) }).fails(context.DeadlineExceeded)
			ctx, cancel := context.WithCancelCause(t.Context())
			s := start(t, func() (bool, error) { return call(ctx, time.Hour) })
			s.waits()
			cancel(errors.New("for a reason"))
			s.fails(context.Canceled)
		}
		says(t, b, false, false)
		// It is read before anything else, as by gofrs/flock.
		if ok, err := a.TryLockContext(ctx, 0); ok || err != context.DeadlineExceeded {
			t.Errorf("%v, %v of a Flock that holds the lock, want the context's error", ok, err)
		}
		do(t, a.Unlock)
		take(t, b.TryLock)
		do(t, b.Unlock)
	})
}

// While one call of a Flock waits, the others answer.
func TestFlockAnswersWhileItWaits(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := flock.New(path), flock.New(path)
		do(t, a.Lock)
		s := startLock(t, b.Lock)
		s.waits()
		says(t, b, false, false)
		busy(t, b.TryLock)
		busy(t, b.TryRLock)
		do(t, b.Unlock)
		if _, err := b.Stat(); err != nil {
			t.Error(err)
		}
		s.waits()
		do(t, a.Unlock)
		s.got()
		says(t, b, true, false)
		do(t, b.Unlock)
	})
}

// Two waits of one Flock end together, or each with its context.
func TestWaitsOfOneFlock(t *testing.T) {
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := flock.New(path), flock.New(path)
		do(t, a.Lock)
		short, cancel := context.WithCancel(t.Context())
		first := start(t, func() (bool, error) { return b.TryLockContext(short, 0) })
		first.waits()
		second := startLock(t, b.Lock)
		third := start(t, func() (bool, error) { return b.TryLockContext(short, 0) })
		second.waits()
		third.waits()
		cancel()
		first.fails(context.Canceled)
		third.fails(context.Canceled)
		fourth := startLock(t, b.Lock)
		second.waits()
		fourth.waits()
		do(t, a.Unlock)
		second.got()
		fourth.got()
		do(t, b.Unlock)
		take(t, a.TryLock)
		do(t, a.Unlock)
	})
}

// A file that takes the place of the lock file is locked instead, also by a Flock that
// waits.
func TestReplacedLockFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open stays where it is on Windows")
	}
	path := lockPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := flock.New(path), flock.New(path)
		do(t, a.Lock)
		s := startLock(t, b.Lock)
		s.waits()
		old, err := a.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		s.got()
		locked, err := b.Stat()
		if err != nil {
			t.Fatal(err)
		}
		there, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(locked, there) {
			t.Error("the file that was replaced is locked")
		}
		if still, err := a.Stat(); err != nil || !os.SameFile(still, old) {
			t.Errorf("Stat of the first Flock is not of the file that it has locked (%v)", err)
		}
		do(t, a.Unlock)
		do(t, b.Unlock)
	})
}

// A Flock that becomes unreachable keeps the lock.
func TestUnreachableFlockStaysLocked(t *testing.T) {
	lockPath(t)
	dir, err := os.MkdirTemp("", "flock")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) // Windows deletes no file that is open
	path := filepath.Join(dir, "lock")
	do(t, flock.New(path).Lock)
	for range 3 {
		runtime.GC()
	}
	busy(t, flock.New(path).TryLock)
}

// A goroutine that holds the lock by package packlock would wait for itself.
func TestHoldOfPacklock(t *testing.T) {
	path := lockPath(t)
	lock, err := packlock.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	hold, err := lock.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	f := flock.New(path)
	busy(t, f.TryLock)
	var of *fs.PathError
	if err := f.Lock(); !errors.Is(err, packlock.ErrReentrant) || !errors.As(err, &of) || of.Path != path {
		t.Errorf("%v, want packlock.ErrReentrant with the path", err)
	}
	if err := hold.Release(); err != nil {
		t.Fatal(err)
	}
	// One of a Flock belongs to no goroutine.
	do(t, f.Lock)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := lock.Acquire(ctx); !errors.Is(err, packlock.ErrCancelled) {
		t.Errorf("%v, want packlock.ErrCancelled", err)
	}
	do(t, f.Unlock)
}
