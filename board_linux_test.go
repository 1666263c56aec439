package packlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { childRoles["waitwithdup"] = childWaitWithDup }

// childWaitWithDup is the role of a child that holds the lock of one pack, hands a duplicate to
// a grandchild, and waits for the lock of that pack once more, behind a reader.
func childWaitWithDup(args []string) error {
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	h, err := l.TryAcquire()
	if err != nil {
		return err
	}
	grandchild, err := childCommand(context.Background(), "echo")
	if err != nil {
		return err
	}
	dup, err := h.Dup()
	if err != nil {
		return err
	}
	grandchild.Stdin, grandchild.Stdout, grandchild.ExtraFiles = os.Stdin, os.Stdout, []*os.File{dup}
	if err := grandchild.Start(); err != nil {
		return err
	}
	dup.Close()
	if err := h.Release(); err != nil {
		return err
	}
	fmt.Println("released")
	var b [1]byte
	if _, err := io.ReadFull(os.Stdin, b[:]); err != nil {
		return err
	}
	_, err = l.Acquire(context.Background())
	return err
}

// realBoard returns a board of the lock file of l, or skips the test where there is none.
func realBoard(t *testing.T, l *Lock) *osBoard {
	t.Helper()
	b, err := l.entry().file.openBoard(l.Path())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system is none of those whose locks are known to be the kernel's own")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close() })
	if _, _, err := b.find(0, nil); err != nil {
		t.Skipf("this kernel has no locks of open file descriptions: %v", err)
	}
	return b.(*osBoard)
}

// awaitAnnouncement waits for the announcement of another process, of which no event tells.
func (b *osBoard) awaitAnnouncement(t *testing.T) {
	t.Helper()
	for at, _, err := b.find(0, nil); at == 0; at, _, err = b.find(0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// finds checks what a board finds.
func (b *osBoard) finds(t *testing.T, stale []int64, want int64, wantStale bool) {
	t.Helper()
	if at, staleOnes, err := b.find(0, stale); at != want || at == 0 && staleOnes != wantStale || err != nil {
		t.Errorf("find(%v) = %d, %v, %v; want %d, %v", stale, at, staleOnes, err, want, wantStale)
	}
}

// A board finds the announcements of others and not its own, and those behind stale ones.
func TestBoard(t *testing.T) {
	l := openReal(t, t.TempDir())
	h := acquireReal(t, l) // which is in the way of none of that
	defer release(t, h)
	asks, first, second := realBoard(t, l), realBoard(t, l), realBoard(t, l)
	asks.finds(t, nil, 0, false)
	if err := errors.Join(asks.announce(false), first.announce(false)); err != nil {
		t.Fatal(err)
	}
	asks.finds(t, nil, first.at, false)
	asks.finds(t, []int64{first.at}, 0, true)
	if err := second.announce(false); err != nil {
		t.Fatal(err)
	}
	asks.finds(t, []int64{first.at}, second.at, false)
	asks.finds(t, []int64{second.at}, first.at, false)
	asks.finds(t, []int64{first.at, second.at}, 0, true)
	was := second.at
	if err := errors.Join(second.withdraw(), second.announce(false)); err != nil || second.at == was {
		t.Errorf("announced at %d again, %v", was, err)
	}
	if err := errors.Join(second.withdraw(), first.withdraw()); err != nil {
		t.Fatal(err)
	}
	asks.finds(t, []int64{first.at}, 0, false)
}

// Announcements at either end of the range are found, also behind a stale one.
func TestBoardRange(t *testing.T) {
	l := openReal(t, t.TempDir())
	asks := realBoard(t, l)
	for _, at := range []int64{boardStart, boardStart + boardSize - 1} {
		b := realBoard(t, l)
		lock := &unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1}
		if err := b.fcntl(unix.F_OFD_SETLK, lock); err != nil {
			t.Fatal(err)
		}
		asks.finds(t, nil, at, false)
		asks.finds(t, []int64{at}, 0, true)
		b.at = at
		b.withdraw()
	}
}

// A lock of another program, of the whole file or of more than a byte, is no announcement,
// and the board says so. It is none of our locks' business.
func TestBoardBesideOtherPrograms(t *testing.T) {
	l := openReal(t, t.TempDir())
	asks, announces := realBoard(t, l), realBoard(t, l)
	f, err := os.OpenFile(l.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, lock := range map[string]unix.Flock_t{
		"the whole file":            {Type: unix.F_WRLCK},
		"the whole file, shared":    {Type: unix.F_RDLCK},
		"from the middle on":        {Type: unix.F_RDLCK, Start: boardStart + 7},
		"some bytes":                {Type: unix.F_RDLCK, Start: boardStart + 7, Len: 2},
		"a byte, but exclusively":   {Type: unix.F_WRLCK, Start: boardStart + 7, Len: 1},
		"bytes up to the first one": {Type: unix.F_RDLCK, Start: boardStart - 1, Len: 2},
	} {
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
			t.Fatal(err)
		}
		if at, _, err := asks.find(0, nil); at != 0 || err != errBusyBoard {
			t.Errorf("%s: found %d, %v", name, at, err)
		}
		if lock.Type == unix.F_WRLCK && lock.Len == 0 {
			if err := announces.announce(false); err != errBusyBoard {
				t.Errorf("%s: announced, %v", name, err)
			}
		}
		h := acquireReal(t, l)
		release(t, h)
		release(t, acquireShared(t, l))
		lock.Type = unix.F_UNLCK
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
			t.Fatal(err)
		}
	}
	asks.finds(t, nil, 0, false)
}

// A program that has the lock shared by flock, and then wants the whole file by lockf, does
// not hang behind a writer that waits for it: the announcement is away for a moment each
// second.
func TestLockOfTheWholeFileGetsThrough(t *testing.T) {
	l := openReal(t, t.TempDir())
	realBoard(t, l)
	f, err := os.OpenFile(l.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		h, err := l.Acquire(bounded(t))
		if err == nil {
			err = h.Release()
		}
		got <- err
	}()
	asks := realBoard(t, l)
	asks.awaitAnnouncement(t)
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != unix.EAGAIN {
		t.Errorf("without waiting: %v, want EAGAIN", err)
	}
	whole := make(chan error)
	go func() { whole <- unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK}) }()
	if err := <-whole; err != nil {
		t.Error(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// When a process is killed while it waits, its announcement is gone, although a child has a
// duplicate of its lock file.
func TestKilledWriterLeavesNoAnnouncement(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	asks := realBoard(t, l)
	c := childStart(t, "waitwithdup", dir)
	c.expect("released")
	h := acquireShared(t, l)
	if _, err := io.WriteString(c.stdin, "\n"); err != nil {
		t.Fatal(err)
	}
	asks.awaitAnnouncement(t)
	c.kill()
	asks.finds(t, nil, 0, false)
	release(t, h)
	release(t, acquireReal(t, l))
}

// A writer that is stopped while it waits holds readers up for a second at most.
func TestStoppedWriterHoldsReadersUpForASecond(t *testing.T) {
	dir := t.TempDir()
	l := openReal(t, dir)
	asks := realBoard(t, l)
	h := acquireShared(t, l)
	h.Detach() // or the next one is its own
	c := childWaiter(t, dir)
	for at := int64(0); at == 0; { // or it was stopped in the moment of a renewal
		if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		asks.awaitAnnouncement(t)
		if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		if err == nil {
			at, _, err = asks.find(0, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.entry().courtesy.askedAt.Store(0) // the next reader asks, however soon
	checkBusyFor(t, l, true)
	release(t, h)
	start := time.Now()
	for range 3 { // the lock itself is granted to the stopped process, or to us
		h, err := l.AcquireShared(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		release(t, h)
	}
	t.Logf("after %v", time.Since(start))
	c.kill()
}

// Each kind of lock file that has no announcements says so.
func TestNoBoard(t *testing.T) {
	for name, f := range map[string]*osFile{
		"a network file system": {network: nfs, isRegular: true},
		"a directory":           {localLocks: true},
	} {
		if _, err := f.openBoard("/"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A board is of the file that is locked, and not of what is at its path by now.
func TestNoBoardOfALostFile(t *testing.T) {
	l, other := openReal(t, t.TempDir()), openReal(t, t.TempDir())
	realBoard(t, l)
	f := l.entry().file
	for _, path := range []string{other.Path(), l.Path() + ".missing"} {
		if _, err := f.openBoard(path); err != errFileLost {
			t.Errorf("%s: %v, want errFileLost", path, err)
		}
	}
}
