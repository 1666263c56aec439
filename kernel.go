package packlock

import (
	"os"
	"time"
)

// kernel is the seam between the portable part of the package, which decides,
// and the operating system, which does. Tests put a fake behind it.
//
// Every error is the bare cause (an errno); the portable part adds operation
// and path. Of a file that a server no longer knows, try and block answer
// errStale, stat that it has no name. Open answers errNameKept where the name cannot
// be had yet.
type kernel interface {
	// open opens the sidecar at path, which is absolute, and creates it if it
	// is missing, but never its directory. It follows no symlink in the last
	// element and accepts only a regular file.
	open(path string) (file, error)

	// pause keeps the calling thread from running for about d, or does nothing
	// where unlocking passes the lock to the first who waits for it in the
	// kernel, so that nobody can barge in.
	pause(d time.Duration)
}

// file is one open file description of a sidecar. Anybody may call id, remote and
// sameAt at any time, and dup and held while it is open. The other methods are
// called by whoever has the turn of its entry, hence by one goroutine at a time.
type file interface {
	id() fileID

	// remote reports whether it is on a network file system: there what this
	// machine remembers of names and files may be out of date.
	remote() bool

	// sameAt reports whether the file at path, no symlink followed in the last
	// element, is this one; if it is remote, the server is asked as far as that can
	// be had. That nothing is there is an answer, not an error.
	sameAt(path string) (bool, error)

	// held reports whether the server still has the lock, which the caller has, to
	// its account, as far as that can be had.
	held() (bool, error)

	// try takes the exclusive lock if that needs no waiting and reports
	// whether it did.
	try() (bool, error)

	// block waits in the kernel, on the calling thread, until the lock is
	// taken. Nothing can call it off.
	block() error

	unlock() error

	// stat reports whether the file still has a name somewhere, and a number
	// that is another one, as far as the system can tell, after a name was
	// added, taken away or changed: the time of the inode's last change.
	stat() (linked bool, changed int64, err error)

	// dup returns a duplicate, close-on-exec, of the descriptor: the same open
	// file description, and so the same lock.
	dup(name string) (*os.File, error)

	close() error
}

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
