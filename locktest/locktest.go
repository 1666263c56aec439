// Package locktest tests file locks: those of a file system, or those of a library.
//
// # Test my file system
//
// Check has processes lock a scratch file in a directory. It reports whether the lock
// excludes, wakes its waiters, and is released when its holder dies. The command
// packlock doctor DIR does the same.
//
//	func main() {
//		locktest.Child() // the processes are this program, run again
//		report, err := locktest.Check(context.Background(), "/mnt/share")
//		if err != nil {
//			log.Fatal(err)
//		}
//		fmt.Print(report) // report.Trusted is the short answer
//	}
//
// # Test my lock library
//
// Run has a subtest for each property that a lock can have. A property that the library
// claims is checked. The others are tested and logged.
//
//	func TestMain(m *testing.M) { locktest.Main(m) }
//
//	func TestLock(t *testing.T) {
//		locktest.Run(t, locktest.Lib{
//			Name:   "mylock",
//			Open:   func(path string) (locktest.Locker, error) { return mylock.Open(path) },
//			Claims: locktest.ExcludesHandles | locktest.NotInherited,
//		})
//	}
//
// Test is the same without package testing, for a command.
//
// # How it tests
//
// Every lock is acquired in a child process, which the test can kill. The children
// are the test binary or the command itself, run again: see Main and Child. If
// the environment variable TEST_EXEC is set, its words are put in front of their
// command line, for an emulator.
//
// Each step has a time limit, and the report names a step that did not end in time. The
// limits are generous. The report has the times that steps took, but they are never the
// reason to fail, so that a slow or busy machine gives no false alarm.
package locktest

// Where things are:
//
//	locktest.go     this overview; Locker, Lib, the claims
//	main.go         Main, Child: how this program becomes a child process
//	test.go         Run, Test, Check; one after the other, properties are examined
//	report.go       Report
//	properties.go   the table of properties
//	exclusion.go, waking.go, release.go, cancel.go, order.go, loss.go, odd.go, contention.go   the properties
//	shared.go, writers.go   those of shared locks; a reader holds or waits for one, a writer for the exclusive one
//	process.go      a child process, as the parent sees it
//	child.go        the life of a child
//	scripts.go      what a child does by itself
//	packlock.go     packlock as a Lib
//	census_*.go, system_*.go   what differs from system to system

import (
	"context"
	"os"
)

// A Locker is one handle on the lock file at a path. A test uses it from one goroutine at
// a time, but it may call Lock on several Lockers at once.
type Locker interface {
	// Lock waits until it holds the lock. It may ignore ctx, and then does not claim
	// Cancels.
	Lock(ctx context.Context) error

	// TryLock acquires the lock and returns true, or returns false if another handle
	// holds it. A library without it returns an errors.ErrUnsupported. Then the test
	// uses Lock.
	TryLock() (bool, error)

	Unlock() error

	// Close closes the handle. It releases the lock if the handle holds it.
	Close() error
}

// A SharedLocker is a Locker that can acquire its lock shared: any number of handles hold
// it at a time, or one holds it exclusively. Unlock and Close release either. Without it, a
// library has no properties of shared locks.
type SharedLocker interface {
	Locker

	// LockShared waits until it holds the lock shared, as Lock does for the exclusive one.
	LockShared(ctx context.Context) error

	// TryLockShared acquires the lock shared and returns true, or returns false if it
	// would have to wait. As TryLock, it may return an errors.ErrUnsupported.
	TryLockShared() (bool, error)
}

// A Dupper is a Locker that can hand its lock to a child process.
type Dupper interface {
	Locker

	// Dup returns a file for exec.Cmd's ExtraFiles. A child that inherits it keeps the
	// lock until the child closes it, even if this process is killed.
	Dup() (*os.File, error)
}

// A Checker is a Locker that can check whether the locked file is still the one at its
// path.
type Checker interface {
	Locker
	Check() error
}

// A Lib is a library to be tested, with the properties that it claims.
type Lib struct {
	Name   string
	Open   func(path string) (Locker, error) // of a file in an existing directory
	Claims Claims
}

// Claims is a set of properties. A test fails if the library claims a property that it
// lacks. It reports whether the library has the others.
//
// Some properties cannot be claimed, because every lock must have them. It excludes other
// processes. A waiter acquires it when it is free. Close, the end of the process and
// SIGKILL release it. If it can be shared, the same holds between shared and exclusive.
type Claims uint

const (
	ExcludesHandles          Claims = 1 << iota // two handles of one process exclude each other
	OneLockByAnyPath                            // also by "..", symbolic links to the directory, and hard links
	TryNeverWaits                               // TryLock and TryLockShared
	NotInherited                                // a process that the holder starts does not hold the lock
	HandsOver                                   // unless it gets the file of Dup
	Cancels                                     // Lock and LockShared return an error of their ctx when that ends, and do not acquire the lock
	CancelLeavesNothing                         // no threads, files or goroutines remain for each cancelled Lock
	NoThreadPerWaiter                           // waiting goroutines need no thread each
	FirstComeFirstServed                        // among the handles of a process
	NoPolling                                   // a waiter does not try again and again
	NoticesLoss                                 // of the lock file: deleted, replaced, renamed
	RefusesOddFiles                             // files that are not regular
	SecondUnlockIsHarmless                      // to other holders
	Shares                                      // any number of handles and processes hold the lock at a time, by LockShared
	ReadersQueue                                // no handle acquires the lock shared past a Lock that waits in its process
	ReadersQueueForOthers                       // the same for a Lock that waits in a different process
	WritersGetIn                                // Lock acquires the lock although handles of its process always share it
	WritersGetInBesideOthers                    // the same for handles of different processes
	KeepsOnUpgrade                              // a handle that holds the lock shared, and fails to acquire it exclusively, still holds it

	end
)

// AllClaims is every claim there is.
const AllClaims = end - 1
