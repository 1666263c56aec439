package packlock

import (
	"os"
	"time"
)

// kernel is the seam between the portable part of the package, which decides,
// and the operating system, which does. Tests put a fake behind it.
//
// Every error is the bare cause (an errno); the portable part adds operation
// and path. try, block and stat return errFileLost if a server no longer knows the file,
// or has deleted it. open returns errDeletePending while no other file can be at the path.
type kernel interface {
	// open opens the lock file at path, which is absolute, and creates it if it
	// is missing, unless it must exist, but never its directory. It follows no symlink in
	// the last element and accepts only a regular file, unless the options say any.
	open(path string, o options) (file, error)

	// threadLimit returns how many threads this process may have, 0 if no limit is known.
	// Other processes may count, too.
	threadLimit() int

	// pause keeps the calling thread from running for about d, or does nothing
	// where unlocking passes the lock to the first waiter in the kernel, so that no
	// process can barge in.
	pause(d time.Duration)
}

// file is one open file description of a lock file. Any goroutine may call id, regular,
// remote and sameAt at any time, and dup and serverStillGrants while it is open. The other
// methods are called by the owner of its entry's turn, or by a thread that was left behind
// with it, hence by one goroutine at a time.
type file interface {
	id() fileID

	// regular reports whether it is a regular file.
	regular() bool

	// remote reports whether the file is on a network file system, where to lock and
	// unlock takes a round trip.
	remote() bool

	// sameAt reports whether the file at path is this one. A symlink in the last element
	// is followed only if follow is set. On a network file system it asks the server, where that is
	// possible. That nothing is at path is a result, not an error.
	sameAt(path string, follow bool) (bool, error)

	// serverStillGrants reports whether the server still considers the lock ours, where
	// that can be found out. The caller holds the lock.
	serverStillGrants() (bool, error)

	// try takes the lock, exclusive or shared, if that needs no waiting and reports
	// whether it did.
	try(shared bool) (bool, error)

	// block waits in the kernel, on the calling thread, until the lock is
	// taken. It cannot be interrupted.
	block(shared bool) error

	// toShared makes the exclusive lock a shared one and reports whether it did. It does
	// nothing where the kernel would release the lock in between. After an error the lock
	// may be gone.
	toShared() (bool, error)

	unlock() error

	// stat reports whether the file still has a name somewhere, and its change time: a
	// number that differs after a name was added, removed or changed, noCtime where
	// that cannot be relied on.
	stat() (linked bool, ctime int64, err error)

	// dup returns a duplicate, close-on-exec, of the descriptor: the same open
	// file description, and so the same lock.
	dup(name string) (*os.File, error)

	// openBoard opens the board of the file, which is at path. Where there are no
	// announcements, its errors are neither errFileLost nor errBusyBoard.
	openBoard(path string) (board, error)

	close() error
}

// board is one more open file description of a lock file, by which a process announces to
// others that it waits for the lock exclusively. It has one announcement at a time. It must
// be used by one goroutine at a time. announce and find return errBusyBoard if another
// program has locked the bytes that they use.
type board interface {
	// announce makes the announcement, at a place that no other process is likely to have. One
	// that renews the last one is at the next place.
	announce(renews bool) error

	withdraw() error

	// find returns where another process has an announcement that is not stale: the one that
	// it returned last, if that is still there. If there is none it returns 0, and whether
	// there are stale ones.
	find(last int64, stale []int64) (at int64, staleOnes bool, err error)

	close() error
}

// noCtime is the change time that is never relied on.
const noCtime = 0

// fileID is the identity of a file on this machine: device and inode, or
// volume and file id. It is not reused while the file is open.
type fileID struct {
	volume uint64
	file   [2]uint64
}

// epoch is where the clock of now starts.
var epoch = time.Now()

// now is a monotonic clock in nanoseconds. time.Since reads only that clock,
// which is half of what time.Now costs.
func now() int64 { return int64(time.Since(epoch)) }

// inBubble reports whether time t was told by now in a testing/synctest bubble. There
// clocks start in the year 2000, long before epoch.
func inBubble(t int64) bool { return t < 0 }
