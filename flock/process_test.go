package flock_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"packlock"
	"packlock/flock"
)

// childEnv is the variable that makes this test binary another process of a test. Its value
// is the kind of lock that the process holds, on the file that is its argument, until its
// standard input ends, or "try": then the process tries an exclusive one.
const childEnv = "FLOCK_TEST_CHILD"

func TestMain(m *testing.M) {
	kind := os.Getenv(childEnv)
	if kind == "" {
		os.Exit(m.Run())
	}
	if err := child(kind, flock.New(os.Args[1])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(kind string, f *flock.Flock) (err error) {
	ok := true
	switch kind {
	case "exclusive":
		err = f.Lock()
	case "shared":
		err = f.RLock()
	case "try":
		ok, err = f.TryLock()
	}
	if err != nil {
		return err
	}
	if !ok {
		fmt.Println("busy")
		return nil
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	return f.Unlock()
}

// elsewhere starts another process, which must print want, and returns a function that has
// it release the lock, if it holds it, and exit.
func elsewhere(t *testing.T, kind, path, want string) (release func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := slices.Concat(strings.Fields(os.Getenv("TEST_EXEC")), []string{self, path})
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+kind)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	do(t, cmd.Start)
	if said, err := bufio.NewReader(stdout).ReadString('\n'); strings.TrimSpace(said) != want {
		t.Fatalf("the other process printed %q (%v), want %q", said, err, want)
	}
	return func() {
		t.Helper()
		stdin.Close()
		do(t, cmd.Wait)
	}
}

// observe returns a Lock of the file, for its Stats.
func observe(t *testing.T, path string) *packlock.Lock {
	t.Helper()
	l, err := packlock.OpenFile(path, packlock.WithAnyFile())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// until waits for a state that no event reports.
func until(t *testing.T, l *packlock.Lock, reached func(packlock.Stats) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !reached(l.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still %+v after a minute", l.Stats())
		}
	}
}

func parked(s packlock.Stats) bool { return s.Parked }

// Flocks of different processes exclude each other.
func TestProcesses(t *testing.T) {
	path := lockPath(t)
	f := flock.New(path)
	release := elsewhere(t, "exclusive", path, "locked")
	busy(t, f.TryLock)
	busy(t, f.TryRLock)
	s := startLock(t, f.Lock)
	until(t, observe(t, path), parked)
	release()
	s.got()
	do(t, f.Unlock)
	release = elsewhere(t, "shared", path, "locked")
	busy(t, f.TryLock)
	take(t, f.TryRLock)
	busy(t, f.TryLock)
	says(t, f, false, true)
	release()
	take(t, f.TryLock)
	do(t, f.Unlock)
}

// A TryLock that fails because of another process's shared lock has kept its own.
func TestFailedTryLockKeepsTheSharedLockAmongProcesses(t *testing.T) {
	path := lockPath(t)
	f := flock.New(path)
	do(t, f.RLock)
	release := elsewhere(t, "shared", path, "locked")
	busy(t, f.TryLock)
	says(t, f, false, true)
	release()
	elsewhere(t, "try", path, "busy")()
	do(t, f.Unlock)
	elsewhere(t, "try", path, "locked")()
}

// A wait that was given up leaves one thread in the kernel, which gets the lock in the end
// and releases it.
func TestWaitThatWasGivenUp(t *testing.T) {
	path := lockPath(t)
	f, l := flock.New(path), observe(t, path)
	release := elsewhere(t, "exclusive", path, "locked")
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		s := start(t, func() (bool, error) { return f.TryLockContext(ctx, time.Millisecond) })
		until(t, l, func(s packlock.Stats) bool { return s.Waiting == 1 })
		cancel()
		s.fails(context.Canceled)
	}
	if stats := l.Stats(); !stats.Draining || stats.KernelWaits != 1 {
		t.Errorf("%+v, want one thread that drains", stats)
	}
	busy(t, f.TryLock)
	release()
	do(t, func() error { return l.WaitDrained(t.Context()) })
	take(t, f.TryLock)
	do(t, f.Unlock)
}

// Such a thread does not keep RLock out while other processes have the lock shared.
func TestRLockPassesAWaitThatWasGivenUp(t *testing.T) {
	path := lockPath(t)
	f, l := flock.New(path), observe(t, path)
	release := elsewhere(t, "shared", path, "locked")
	ctx, cancel := context.WithCancel(t.Context())
	s := start(t, func() (bool, error) { return f.TryLockContext(ctx, 0) })
	until(t, l, parked)
	cancel()
	s.fails(context.Canceled)
	do(t, f.RLock)
	do(t, f.Unlock)
	release()
	do(t, func() error { return l.WaitDrained(t.Context()) })
	take(t, f.TryLock)
	do(t, f.Unlock)
}

// RLock queues behind a Lock of this process that waits for another one. (While this
// process has the lock shared itself, it passes: TestRLockPassesQueuedLocks.)
func TestTryRLockBehindALockThatWaits(t *testing.T) {
	path := lockPath(t)
	a, b, l := flock.New(path), flock.New(path), observe(t, path)
	release := elsewhere(t, "shared", path, "locked")
	s := startLock(t, a.Lock)
	until(t, l, parked)
	busy(t, b.TryRLock)
	release()
	s.got()
	do(t, a.Unlock)
	take(t, b.TryRLock)
	do(t, b.Unlock)
}
