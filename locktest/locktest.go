// Package locktest finds out what a file lock does: that of a file system, or
// that of a library.
//
// # Test my file system
//
// Check has processes lock a scratch file in a directory, and says whether the
// lock excludes, wakes, and is let go when its holder dies. Without a program of
// your own: packlock doctor DIR.
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
// Run is a subtest for each property that a lock can have. What the library
// claims is checked. What it does not claim is found out, and logged.
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
// Every lock is taken in a child process, which the test can kill. The children
// are the test binary or the command itself, run again: see Main and Child. If
// the environment variable TEST_EXEC is set, its words are put in front of their
// command line, for an emulator.
//
// Each step has a time limit, and what did not end in time is named. The limits
// are generous. How long something took is reported and is never the reason to
// fail, so that a slow or busy machine gives no false alarm.
package locktest

// Where things are:
//
//	locktest.go     this overview; Locker, Lib, the claims
//	main.go         Main, Child: how this program becomes a child process
//	test.go         Run, Test, Check; one after the other, properties are examined
//	report.go       Report
//	properties.go   the table of properties
//	exclusion.go, waking.go, release.go, cancel.go, order.go, loss.go, odd.go, contention.go   the properties
//	process.go      a child process, as the parent sees it
//	child.go        the life of a child
//	scripts.go      what a child does by itself
//	packlock.go     packlock as a Lib
//	census_*.go, system_*.go   what differs from system to system

import (
	"context"
	"os"
)

// A Locker is one handle on the lock file at a path, as a program would have it.
// It is used by one goroutine at a time, but that Lock may be under way on
// several Lockers at once.
type Locker interface {
	// Lock waits until the lock is the Locker's. It may ignore ctx, and then
	// does not claim Cancels.
	Lock(ctx context.Context) error

	// TryLock takes the lock and reports true, or reports false if somebody
	// else has it. Without such a thing, the error is an
	// errors.ErrUnsupported, and what needs it is tested with Lock.
	TryLock() (bool, error)

	Unlock() error

	// Close gives up the handle, and the lock if the handle has it.
	Close() error
}

// A Dupper is a Locker that can hand its lock to a child process.
type Dupper interface {
	Locker

	// Dup returns a file for exec.Cmd's ExtraFiles. A child that has it
	// keeps the lock, also if this process is killed, until it closes it.
	Dup() (*os.File, error)
}

// A Checker is a Locker that can tell whether the file that it has locked is
// still the one at its path.
type Checker interface {
	Locker
	Check() error
}

// A Lib is what is tested, and what it claims.
type Lib struct {
	Name   string
	Open   func(path string) (Locker, error) // of a file in an existing directory
	Claims Claims
}

// Claims is a set of properties. One that is claimed and not found is a failure.
// One that is not claimed is found out and reported.
//
// Some properties are not there to be claimed, because what lacks them is no
// lock: it excludes other processes, who waits gets it when it is free, and it is
// let go by Close, by the end of the process and by SIGKILL.
type Claims uint

const (
	ExcludesHandles        Claims = 1 << iota // two handles of one process exclude each other
	OneLockByAnyPath                          // also by "..", symbolic links to the directory, and hard links
	TryNeverWaits                             // TryLock
	NotInherited                              // a process that the holder starts does not have the lock
	HandsOver                                 // unless it is given the file of Dup
	Cancels                                   // Lock returns an error of its ctx when that ends, and takes nothing
	CancelLeavesNothing                       // no threads, files or goroutines for each cancelled Lock
	NoThreadPerWaiter                         // goroutines that wait do without a thread each
	FirstComeFirstServed                      // among the handles of a process
	NoPolling                                 // who waits does not ask again and again
	NoticesLoss                               // of the lock file: deleted, replaced, renamed
	RefusesOddFiles                           // what is no regular file
	SecondUnlockIsHarmless                    // to others

	end
)

// AllClaims is every claim there is.
const AllClaims = end - 1
