// Package packlock guards a directory, called a pack, with one advisory lock on a lock
// file in it, <pack>/.grex-lock. The lock is held exclusively by one holder, or shared by
// any number. Packlock calls flock(2) on Unix and LockFileEx on Windows directly, without
// cgo.
//
// Goroutines of one process queue in front of the kernel's lock and hand it over
// among themselves. Processes meet at the kernel's lock. Packlock excludes, and is
// excluded by, any other program that locks the same file the same way, such as the
// Rust crate grex-core and flock(1).
//
//	lock, err := packlock.Open(dir) // once
//	...
//	defer lock.Close()
//	...
//	hold, err := lock.Acquire(ctx)
//	...
//	defer hold.Release()
//
// Do runs a function between the last two.
//
// The lock is advisory: it excludes only programs that acquire it. This package never
// deletes, writes or truncates the lock file. That the file exists means nothing.
//
// # Waiting and giving up
//
// A waiting goroutine costs no thread. For all waiters of one file at most one thread of
// the process is parked in the kernel, or two: see below. When the context of an acquire
// ends, the acquire returns at once. The parked thread cannot be interrupted. If no waiter
// is left, it stays as an orphaned wait until the lock's holder releases the lock. Then it
// acquires the lock and drains: it releases it at once. Until then TryAcquire returns
// ErrBusy. The next Acquire in the process adopts the orphaned wait instead of starting
// another one. Stats shows it, and WaitDrained waits for its end.
//
// # Shared holds
//
// AcquireShared is Acquire for a shared hold. In one process, acquires of both kinds are
// served first come, first served. While the process holds the lock shared and no Acquire
// waits, another AcquireShared takes next to no system calls. An orphaned wait for an
// exclusive hold does not keep shared acquires out while other processes hold the lock
// shared: they use a second descriptor and, if they must wait, a second thread.
//
// The kernel grants a shared lock while an exclusive one is waited for, so readers whose
// holds overlap would starve writers. On local Linux file systems a writer that waits in
// the kernel announces itself, by a lock on a byte far behind the end of the lock file. The
// readers of other processes that use this package wait until it has had the lock, for ten
// seconds at most. A writer that is stopped keeps them out for 1.1 seconds. Elsewhere, and
// for writers that do not use this package, each process only tries to stop reading for a
// moment, up to ten times a second.
//
// # Testing with synctest
//
// A Lock may be used in a testing/synctest bubble if it was opened there, or if only
// goroutines of that bubble use it while the bubble lasts. Do not use it in a second
// bubble, whose clock starts at the same time as that of the first. If goroutines inside
// and outside of a bubble wait for one file at the same time, the program ends, because a
// channel of a bubble must not be used outside of it. The same happens if an orphaned
// wait from outside is left when the first goroutine of the bubble waits. Waiting for
// another process is not durably blocking. Meanwhile the bubble's time stands still, and
// its deadlines do not expire.
//
// # Errors
//
// Every error is an *fs.PathError, for use with errors.Is and errors.As. Its path is the
// absolute path of the lock file. If Open or OpenFile fail, it may also be the path as
// given, or that of a directory that could not be created. Do, DoShared, AcquireAll,
// AcquireSets and Holds.Release may return joined errors. Do and DoShared return an error
// of the function as it is.
package packlock

// Where things are:
//
//	packlock.go   start here: the overview, Lock and its methods
//	errors.go     the errors, and how they are made
//	shared.go     the methods of Lock for shared holds
//	hold.go       Hold: Release, Context, Detach, Check, Dup
//	all.go        several packs at once: AcquireAll, AcquireSets, Holds
//	acquire.go    an acquire under way, in the order in which it happens
//	trying.go     its tries of the kernel's lock
//	context.go    what an acquire reads from its context, or if that panics; re-entry
//	entry.go      the turn: taking it, giving it back, passing it on
//	group.go      the holds that have the lock shared: joining them, leaving them
//	courtesy.go   when readers make room for writers of other processes
//	intent.go     how such a writer announces itself, and readers ask for that
//	queue.go      the queue of waiters of an entry; waiting in it, and giving up
//	blocking.go   waiting in the kernel: the parked thread; the leak window
//	convert.go    holds that change their kind, for package flock
//	owners.go     the goroutines that they belong to
//	orphan.go     an orphaned wait that would hold up readers, and is left behind
//	poller.go     waiting in the kernel without a thread to spare
//	fairness.go   when other processes get their chance
//	location.go   what Locks of one path have in common: checks of the path, and how long they count
//	relocate.go   when the path is checked; moving to the file that is there now
//	watch.go      the alarms of an entry with waiters
//	deadlock.go   goroutines that wait for each other in a cycle
//	longwaits.go  the table of the edges of their graph, and the time that searches get
//	registry.go   the process-wide table, file identity -> entry; opening and closing
//	options.go    Option
//	stats.go      Stats and its counters; Process, and how Holders finds them
//	kernel.go     the seam to the operating system
//	lock_unix.go, lock_windows.go, lock_other.go   the three that stand behind it;
//	              open_unix.go opens, network_*.go asks servers; lock_linux.go has what
//	              only Linux has: limits on threads, opening for writing on NFS, inode numbers on 9p,
//	              the announcements of writers
//	internal/goid the identity of the running goroutine
//	internal/proclocks the kernel's tables of locks in /proc

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// FileName is the name of the lock file in a pack.
const FileName = ".grex-lock"

// A Lock is the lock of one lock file. It is safe for concurrent use and can be
// acquired any number of times: open it once and keep it. All Locks of a process
// on the same file, by any path, are one lock.
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
	path    string // absolute
	options options
	reg     *registry

	// location changes when the lock file is found lost, under the registry's mu
	// and that of both the old and the new entry. It is never nil.
	location atomic.Pointer[location]

	// Guarded by the mu of the location's entry.
	index   int // in the location's locks
	closed  bool
	closing chan struct{} // made by a waiter for a check, and closed by Close
}

// opened returns what is behind a Lock that was opened.
func (l *Lock) opened() *lock {
	if l == nil || l.lock == nil {
		panic("packlock: use of a Lock that Open did not return")
	}
	return l.lock
}

// Open returns the Lock of the pack at packPath. The lock file is FileName in that
// directory. Open creates the lock file, and the directory with its parents, if they
// do not exist. It acquires no lock.
//
// The lock file must be a regular file, not a symbolic link (OpenFile accepts one with
// WithAnyFile). If it cannot be opened for writing, it is opened for reading only, which is
// enough to lock it on most file systems. If the system or the file system has no such
// locks, Open or the first acquire fails with an error for which errors.Is(err,
// errors.ErrUnsupported) holds.
func Open(packPath string, opts ...Option) (*Lock, error) {
	return process.openPack(packPath, opts...)
}

// OpenFile returns the Lock of the lock file at lockPath, as Open does, but
// creates no directory.
func OpenFile(lockPath string, opts ...Option) (*Lock, error) {
	return process.openFile(lockPath, opts...)
}

// Path returns the absolute path of the lock file.
func (l *Lock) Path() string { return l.opened().path }

// Acquire waits until it holds the lock exclusively, first come, first served among the
// goroutines of this process, and returns the hold.
//
// The hold belongs to the calling goroutine: until it is released, a second acquire by
// the same goroutine fails with ErrReentrant. Call Hold.Detach if a different goroutine
// is going to release it. A server that hands its hold to a worker needs that, because
// net/http serves the next request of a connection on the same goroutine. So does a
// callback from C on a thread that Go did not start, if the hold outlives the call.
//
// Acquire returns
//   - ErrCancelled when ctx ends first, or has ended before. The error is also ctx.Err()
//     and context.Cause(ctx). A thread may remain parked: see the package's overview.
//   - ErrReentrant when the caller already holds the lock: the calling goroutine, or a
//     hold that ctx descends from (see Hold.Context).
//   - ErrDeadlock when it waits in a cycle with other goroutines of this process.
//   - fs.ErrNotExist when the directory of the lock file is gone.
//   - ErrLost when the lock file is lost a thousand times in a row.
//   - fs.ErrClosed when the Lock is closed, before or while it waits.
//
// If the lock file was deleted, replaced or renamed, Acquire continues with the file
// that is at the path now. While it waits, it notices that within a second or two on local
// file systems. Network file systems may take longer: see docs/network.md.
//
// The end of ctx does not interrupt system calls that do not wait for the lock. They may
// take long on a slow file system, or while another process has a lease on the file,
// which the kernel breaks within a minute.
//
// Acquire panics if ctx is nil.
func (l *Lock) Acquire(ctx context.Context) (*Hold, error) {
	h, err := l.opened().acquire(ctx, parking, false, nil)
	runtime.KeepAlive(l) // or the cleanup could close what we wait on
	return h, err
}

// TryAcquire returns a hold if it can acquire the lock without waiting. Otherwise it
// fails with ErrBusy, or with ErrReentrant if the calling goroutine holds the lock. Its
// system calls may take long, as those of Acquire.
func (l *Lock) TryAcquire() (*Hold, error) {
	h, err := l.opened().acquire(context.Background(), trying, false, nil)
	runtime.KeepAlive(l)
	return h, err
}

// AcquireBlocking is Acquire without a context. If other goroutines of this
// process are ahead, it queues behind them. If a different process holds the lock, it
// waits in the kernel on the caller's own thread, unless too many threads of the process
// wait already. That wait cannot be cancelled. It does not even end when the Lock is
// closed or the lock file is lost.
//
// Deprecated: use Acquire, which can be cancelled and needs one thread for all waiters.
func (l *Lock) AcquireBlocking() (*Hold, error) {
	h, err := l.opened().acquire(context.Background(), blocking, false, nil)
	runtime.KeepAlive(l)
	return h, err
}

// Do acquires the lock with ctx, calls fn, and releases the lock when fn returns,
// panics or calls runtime.Goexit. The context that fn gets is ctx marked by
// Hold.Context. Do returns the error of the acquire, or that of fn joined with that of
// the release.
func (l *Lock) Do(ctx context.Context, fn func(ctx context.Context) error) error {
	h, err := l.Acquire(ctx)
	if err != nil {
		return err
	}
	return h.do(ctx, fn)
}

// WaitDrained waits until no orphaned wait is left: until the parked thread without a
// waiter, if there is one, has drained or was adopted by a new acquire. It returns nil
// at once if there is none. If the lock file is lost meanwhile, the orphaned wait stays
// with the old file and drains there, unseen by Stats and WaitDrained. Close does not end
// the call. On a Lock that is closed already it fails with fs.ErrClosed.
//
// When ctx ends first, the error is the same as that of Acquire. WaitDrained panics if
// ctx is nil.
func (l *Lock) WaitDrained(ctx context.Context) error {
	err := l.opened().waitDrained(ctx)
	runtime.KeepAlive(l)
	return err
}

// Stats returns the counts and the present state. The counts are read one by
// one, so they may include an acquire under way in part.
func (l *Lock) Stats() Stats { return l.opened().stats() }

// Holders returns the processes that hold the lock of the file that is at the Lock's
// path now, according to the kernel's tables: first the process that acquired it, several
// if they share it, then those that inherited a descriptor of it. Without a file there
// are none.
//
// Holders acquires no lock, waits for none and starts no process. Its result may be
// outdated when it returns. It reads the descriptors of every process on the machine, so
// call it to tell people what they wait for, and not on each acquire.
//
// Only Linux has such tables. On other systems, and where /proc is missing, the error is
// an errors.ErrUnsupported. The tables are not complete, so an empty result does not
// prove that the lock is free:
//
//   - Processes in other pid namespaces, such as those of a different container, are
//     missing, except in namespaces inside this process's own.
//   - On a network file system, processes on other machines are missing. On GlusterFS,
//     and where a FUSE server keeps the locks, those on this machine are missing, too.
//   - Only root can see the descriptors of another user's processes. The process that
//     acquired the lock is returned nevertheless. One that inherited it is missing, or, if
//     no other holder is known, it is a Process without a PID.
func (l *Lock) Holders() ([]Process, error) { return l.opened().holders() }

// Close closes the Lock. Acquires that wait through it fail with fs.ErrClosed, but an
// AcquireBlocking fails only when the kernel grants the lock. An acquire that is being
// granted the lock may still succeed. Live holds stay valid, and must be released as
// always. The descriptor of the lock file is closed when no Lock, hold or parked thread
// of the process uses it any more. A second Close fails with fs.ErrClosed.
func (l *Lock) Close() error {
	inner := l.opened()
	l.cleanup.Stop()
	return inner.close()
}
