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
// # Testing with synctest
//
// A Lock may be used in a testing/synctest bubble: opened there, or opened outside
// and used by goroutines of that bubble alone while it lasts. Goroutines inside and
// outside that wait for one file at the same time end the program: a channel of a
// bubble must not be used outside of it. Waiting for another process is not durably
// blocking, so that the bubble's time stands still meanwhile, and its deadlines do
// not come.
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
//	packlock.go   start here: the overview, the errors, Lock and all its methods
//	hold.go       Hold: Release, Context, Detach, Check, Dup
//	all.go        several packs at once: AcquireAll, Holds
//	acquire.go    an acquire under way, in the order in which it happens
//	context.go    what an acquire asks its caller's context; re-entry
//	entry.go      whose turn it is: taking it, giving it back, passing it on
//	queue.go      the line of waiters in front of an entry; waiting in it, and giving up
//	blocking.go   waiting in the kernel: the parked thread, the poller; the leak window
//	fairness.go   when other processes get their chance
//	orphan.go     when to look at the path, and moving to the file that is there now
//	watch.go      what is looked after for those who wait
//	deadlock.go   goroutines that wait for each other in a circle
//	registry.go   the process-wide table, file identity -> entry; opening and closing
//	stats.go      Stats and its counters
//	holders.go    Process; what Holders finds out
//	errors.go     how errors are made
//	kernel.go     the seam to the operating system
//	lock_unix.go, lock_windows.go, lock_other.go   the three that stand behind it;
//	              sidecar_unix.go opens, network_*.go asks servers
//	internal/goid the identity of the running goroutine
//	internal/proclocks what Linux tells about locks in /proc

import (
	"context"
	"errors"
	"runtime"
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
	ErrReentrant error = worded{"already held by the caller", ErrBusy}

	// ErrCancelled is why an acquire or WaitDrained fails whose context ended.
	// The error is also the context's Err and its Cause.
	ErrCancelled = errors.New("wait cancelled")

	// ErrReleased is why the use of a hold fails that was released before.
	ErrReleased = errors.New("hold already released")

	// ErrDeadlock is why an acquire fails that waits in a circle: its goroutine has
	// a pack that another waits for, and so on, until the last has the one that it
	// waits for itself. It is the one that has waited shortest. The others go on as
	// soon as its goroutine releases what it has.
	ErrDeadlock = errors.New("goroutines of this process wait for each other in a circle")

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
	// clock of now, and changed what its file.stat said before that look, 0 if
	// nobody asked. Whoever looks writes them.
	looked  atomic.Int64
	changed atomic.Int64

	// looking says that an arrival or the watch is at a look at path, and may hang
	// in it if a server does not answer. Others leave it to that one.
	looking atomic.Bool

	// entry changes when the sidecar is found lost, under the registry's mu
	// and that of both the old and the new entry. It is never nil.
	entry atomic.Pointer[entry]

	closed bool // guarded by the mu of entry
}

// opened returns what is behind a Lock that was opened.
func (l *Lock) opened() *lock {
	if l == nil || l.lock == nil {
		panic("packlock: use of a Lock that Open did not return")
	}
	return l.lock
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
func (l *Lock) Path() string { return l.opened().path }

// Acquire waits until the lock is the caller's, first come, first served among
// the goroutines of this process, and returns the hold.
//
// When ctx ends before it has the lock, or has ended already, Acquire returns at
// once with an error for which errors.Is holds with ErrCancelled, ctx.Err() and
// context.Cause(ctx). The package's overview tells of the parked thread that may
// be left behind. Only system calls of its own that do not wait for the lock are
// not interrupted. That matters if the file system is slow to answer (GlusterFS is
// given a second to find a file that took a lost one's place), or if somebody has a
// lease on that file: it is broken within a minute.
//
// If the calling goroutine or a hold that ctx descends from (see Hold.Context) has
// the lock, Acquire fails with ErrReentrant. A function that C code calls, on a
// thread that Go did not start, runs on a goroutine that serves other such calls
// later: a hold that outlives the call has to be detached (Hold.Detach).
//
// If it waits in a circle with other goroutines of this process, each of which has a
// pack that another waits for, it may fail with ErrDeadlock.
//
// If the sidecar was deleted, replaced or renamed, Acquire goes on with the file
// that is at the path then, also if it waits already, within a second (on GlusterFS
// it took up to half a minute). If the pack directory is gone, it fails with
// fs.ErrNotExist.
//
// It panics if ctx is nil.
func (l *Lock) Acquire(ctx context.Context) (*Hold, error) {
	h, err := l.opened().acquire(ctx, parking, nil)
	runtime.KeepAlive(l) // or the cleanup could close what we wait on
	return h, err
}

// TryAcquire returns a hold if that needs no waiting. Otherwise it fails with
// ErrBusy, or with ErrReentrant if it is the calling goroutine that has the
// lock. The system calls that it makes may take their time, as those of Acquire.
func (l *Lock) TryAcquire() (*Hold, error) {
	h, err := l.opened().acquire(context.Background(), trying, nil)
	runtime.KeepAlive(l)
	return h, err
}

// AcquireBlocking is Acquire without a context. If other goroutines of this
// process are ahead, it queues behind them; if it is another process that has
// the lock, it waits in the kernel on the caller's own thread (unless too many
// threads of the process do that already) and cannot be called off, not even by
// Close or the loss of the sidecar.
//
// Deprecated: use Acquire, which can be called off and needs one thread
// for all that wait.
func (l *Lock) AcquireBlocking() (*Hold, error) {
	h, err := l.opened().acquire(context.Background(), blocking, nil)
	runtime.KeepAlive(l)
	return h, err
}

// Do calls fn while holding the lock, acquired with ctx, and releases it when
// fn returns, panics or calls runtime.Goexit. The context that fn gets is ctx,
// marked by Hold.Context. Do returns the error of the acquire, or those of fn
// and of the release.
func (l *Lock) Do(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	h, err := l.Acquire(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if released := h.Release(); err == nil {
			err = released
		} else if released != nil {
			err = errors.Join(err, released)
		}
	}()
	return fn(h.Context(ctx))
}

// WaitDrained waits until no thread is parked on the sidecar with nobody
// waiting for it: until the one that is, if any, has drained or was adopted by a
// new acquire. It returns nil at once if there is none. Close does not end it. A
// thread that is parked on a sidecar that was lost drains unseen.
//
// When ctx ends first, the error is as that of Acquire. It panics if ctx is nil.
func (l *Lock) WaitDrained(ctx context.Context) error {
	err := l.opened().waitDrained(ctx)
	runtime.KeepAlive(l)
	return err
}

// Stats returns the counts and the present state. The counts are read one by
// one, so those of an acquire under way may be there in part.
func (l *Lock) Stats() Stats { return l.opened().stats() }

// Holders returns who has the lock of the file that is at the Lock's path now, as
// the kernel's tables say: the process that took it first, then those that have
// inherited its descriptor. It takes no lock, waits for none and starts no
// process. What it says may have changed by the time it is read. It looks at the
// descriptors of every process on the machine, so it is for telling people who
// wait, not for each acquire.
//
// Only Linux tells. Elsewhere, and where /proc is missing, the error is an
// errors.ErrUnsupported. And Linux does not tell everything, so no holders is no
// proof that the lock is free:
//
//   - Processes in other pid namespaces, such as those of another container, are
//     left out, except in namespaces inside this process's own.
//   - On a network file system, so are those on other machines; on GlusterFS, and
//     wherever a FUSE server keeps the locks, those on this one, too.
//   - The descriptors of another user's processes are shown to root only. The
//     process that took the lock is returned nevertheless. One that inherited it
//     is not, or, if nobody else is known to have it, is a Process without a PID.
//
// If nothing is at the path, nobody has it.
func (l *Lock) Holders() ([]Process, error) { return l.opened().holders() }

// Close gives up the Lock. Acquires that wait through it fail with fs.ErrClosed,
// AcquireBlocking not before the kernel answers; one that is just being granted
// the lock may still get it. Live holds stay valid and are released as ever. The
// sidecar's descriptor is closed when no Lock, hold or parked thread of the
// process uses it any more. A second Close fails with fs.ErrClosed.
func (l *Lock) Close() error {
	inner := l.opened()
	l.cleanup.Stop()
	return inner.close()
}
