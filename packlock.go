// Package packlock guards a directory, a pack, with one advisory, exclusive
// lock on a sidecar file in it, <pack>/.grex-lock: flock(2) on Unix,
// LockFileEx on Windows, called directly, without cgo.
//
// Goroutines of one process queue in front of the kernel's lock and pass it on
// among themselves; processes meet at it. It excludes, and is excluded by, any
// other program that locks the same file the same way: the Rust crate
// grex-core, flock(1).
//
//	lock, err := packlock.Open(dir) // once
//	...
//	defer lock.Close()
//	...
//	hold, err := lock.Acquire(ctx)
//	...
//	defer hold.Release()
//
// Do runs a function between the latter two.
//
// The lock is advisory: it binds those who take it and nobody else. The
// sidecar is never deleted, written or truncated by this package; its being
// there means nothing.
//
// # Waiting and giving up
//
// A waiting goroutine costs no thread. For all that wait on one file at
// most one thread of the process is parked in the kernel, and when the context
// of an acquire ends, the acquire returns at once. The parked thread cannot be
// called back: if nobody is left to wait, it stays until the lock's holder
// lets go, gets the lock, and drains, that is, releases it at once. Until then
// TryAcquire reports ErrBusy. The next acquire in the process adopts such an
// orphaned wait instead of beginning another; Stats shows it, and WaitDrained
// waits for its end.
//
// # Errors
//
// Every error is an *fs.PathError (but what a function run by Do returns is
// returned as it is, and joined with the error of the release if that fails
// too), for use with errors.Is and errors.As. Its path is the absolute one of
// the sidecar; if Open or OpenFile fail, it may also be the path as given, or
// that of a directory that could not be made.
package packlock

// Where things are:
//
//	packlock.go   this overview; Lock: Open, OpenFile, Close; the errors
//	hold.go       Hold: Release, Context, Detach, Check, Dup; Do
//	stats.go      Stats and its counters
//	registry.go   the process-wide table: file identity -> entry
//	blocking.go   the engine: whose turn it is, acquiring, the parked thread, the leak window
//	queue.go      the line of waiters in front of an entry
//	kernel.go     the seam to the operating system
//	lock_unix.go, lock_windows.go, lock_other.go   the three that stand behind it
//	internal/goid the identity of the running goroutine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// FileName is the name of the sidecar in a pack.
const FileName = ".grex-lock"

var (
	// ErrBusy is why TryAcquire fails when the lock is held, or about to be
	// held or released, by somebody else in this process or another.
	ErrBusy = errors.New("lock is busy")

	// ErrReentrant is why an acquire fails that could only wait for its own
	// caller: the calling goroutine, or a hold that its context descends from,
	// has the lock already. It is an ErrBusy.
	ErrReentrant = fmt.Errorf("already held by the caller: %w", ErrBusy)

	// ErrCancelled is why an acquire or WaitDrained fails whose context ended.
	// The error is also the context's Err and its Cause.
	ErrCancelled = errors.New("wait cancelled")

	// ErrReleased is why the use of a hold fails that was released before.
	ErrReleased = errors.New("hold already released")

	// ErrLost says that the sidecar was deleted or replaced: whoever opens the
	// path now locks another file.
	ErrLost = errors.New("sidecar deleted or replaced")
)

// A Lock is the lock of one sidecar. It is safe for concurrent use and can be
// acquired as often as wanted: open it once and keep it. All Locks of a process
// on the same file, by whatever path, are one lock.
//
// A Lock that becomes unreachable without Close is closed by the garbage
// collector. That never releases a Hold.
type Lock struct {
	_ [0]sync.Mutex // vet finds copies, which the cleanup of the original would close
	*lock
	cleanup runtime.Cleanup
}

// lock is what is behind a Lock. It is apart from it so that a cleanup on the
// Lock can close it.
type lock struct {
	path string // absolute
	reg  *registry

	// looked is when the file at path was last seen to be the entry's, on the
	// clock of now. Whoever has the turn of the entry reads and writes it.
	looked atomic.Int64

	// entry changes when the sidecar is found lost, under the registry's mu
	// and that of both the old and the new entry. It is never nil.
	entry atomic.Pointer[entry]

	closed bool // guarded by the mu of entry
}

// Open returns the Lock of the pack at packPath, that is, of the sidecar
// FileName in that directory. It creates the sidecar, and the directory with
// its parents, if missing, and takes no lock.
//
// The sidecar must be a regular file, not a symlink. Where it may not be
// written, it is opened for reading only, which is enough to lock it on most
// file systems. Where the system or the file system has no such locks, here or
// at the first acquire, errors.Is(err, errors.ErrUnsupported) holds.
func Open(packPath string) (*Lock, error) {
	return process.openPack(packPath)
}

// OpenFile returns the Lock of the sidecar at lockPath, as Open does, but
// creates no directory.
func OpenFile(lockPath string) (*Lock, error) {
	return process.openFile(lockPath)
}

// Path returns the absolute path of the sidecar.
func (l *Lock) Path() string { return l.path }

// Close gives up the Lock. Acquires that wait through it fail with fs.ErrClosed,
// AcquireBlocking not before the kernel answers; one that is just being granted
// the lock may still get it. Live holds stay valid and are released as ever. The
// sidecar's descriptor is closed when no Lock, hold or parked thread of the
// process uses it any more. A second Close fails with fs.ErrClosed.
func (l *Lock) Close() error {
	l.cleanup.Stop()
	return l.lock.close()
}

func (r *registry) openPack(packPath string) (*Lock, error) {
	dir, err := absolute(packPath)
	if err != nil {
		return nil, err
	}
	sidecar := strings.TrimRight(dir, separators) + string(filepath.Separator) + FileName
	l, err := r.openSidecar(sidecar)
	if !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	return r.openSidecar(sidecar)
}

func (r *registry) openFile(lockPath string) (*Lock, error) {
	path, err := absolute(lockPath)
	if err != nil {
		return nil, err
	}
	return r.openSidecar(path)
}

// openSidecar opens path, which is absolute.
func (r *registry) openSidecar(path string) (*Lock, error) {
	inner := &lock{path: path, reg: r}
	if err := r.attach(inner); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	l := &Lock{lock: inner}
	l.cleanup = runtime.AddCleanup(l, func(inner *lock) { inner.close() }, inner)
	return l, nil
}

// separators is what separates the elements of a path here.
var separators = func() string {
	var s strings.Builder
	for c := range uint8(0x80) {
		if os.IsPathSeparator(c) {
			s.WriteByte(c)
		}
	}
	return s.String()
}()

// absolute returns path, made absolute so that a later chdir does not take the
// Lock elsewhere. It does not clean it: "link/.." is not "." when link is a
// symlink.
func absolute(path string) (string, error) {
	invalid := func(what string) (string, error) {
		return "", &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%s: %w", what, fs.ErrInvalid)}
	}
	switch {
	case path == "":
		return invalid("empty path")
	case strings.IndexByte(path, 0) >= 0:
		return invalid("path with a NUL byte")
	case filepath.IsAbs(path):
		return path, nil
	case filepath.VolumeName(path) != "" || os.IsPathSeparator(path[0]):
		// Relative to a drive, or to the root of one: Windows resolves ".."
		// in the text itself, so cleaning is right there.
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return abs, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return wd + string(filepath.Separator) + path, nil
}

// fail makes the error of an acquire.
func (l *lock) fail(err error) error {
	return &fs.PathError{Op: "acquire", Path: l.path, Err: err}
}

// cancelled returns the error for the end of ctx: an ErrCancelled, and also
// the context's Err and its Cause.
func cancelled(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", ErrCancelled, cause)
	}
	return fmt.Errorf("%w: %w: %w", ErrCancelled, err, cause)
}
