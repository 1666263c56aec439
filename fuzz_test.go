package packlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"packlock/internal/goid"
)

// A schedule is a list of events that happen to a process, other processes and the kernel.
// Three bytes make an event: what, a and b. Between two events, all goroutines run until they
// block, and then the state is checked: see world.check. The outcome depends only on the bytes.
// After doCancelAnd, the order of the goroutines may differ, but not the outcome.
//
// go test -v shows the events and their results.

// maxEvents is the number of events after which a schedule is cut off.
const maxEvents = 100

// The events.
const (
	doOpen      = iota // opens a Lock; a: slot, b: path
	doClose            // a: slot
	doAcquire          // a: slot + numSlots*goroutine, b: context + numContexts*(1 for shared)
	doTry              // a: slot + numSlots*goroutine, b: 1 for shared
	doBlocking         // AcquireBlocking; a: slot + numSlots*goroutine
	doCancel           // ends the context of an acquire or WaitDrained; a: which
	doCancelAnd        // the same, at the same time as the next event
	doRelease          // a: hold, b: 1 for a hold that is already released
	doDetach           // a: hold
	doCheck            // a: hold, b: as for doRelease
	doDup              // a: hold, b: as for doRelease
	doDrain            // WaitDrained; a: slot, b: context
	doForeign          // another process opens the file and locks or waits, or unlocks; a: process, b: path + numPaths*(1 to wait + 2 for shared + 4 to announce itself)
	doFiles            // a: the change of files, b: path
	doFail             // the next call fails; a: which call
	doSlow             // the next call hangs; a: which call
	doGoOn             // a call that hangs returns; a: which call
	doSleep            // a: how long
	doNoThreads        // there is no room for more parked threads; the next one ends that
	doConvert          // as package flock does, to the other kind; a: hold
	numEvents
)

const (
	numSlots      = 4
	numGoroutines = 6
	numForeigners = 3
	numPaths      = 3
)

// The contexts of acquires and of WaitDrained.
const (
	ctxPlain  = iota
	ctxMarked // by the latest live hold
	ctxTwice  // by the two latest live holds
	ctxAgain  // the latest marked context
	ctxEnded
	ctxShort // ends after 1.5 ms
	ctxLong  // ends after 75 ms
	numContexts
)

const (
	fileUnlink = iota
	fileReplace
	fileLink      // the file gets the next path, too
	fileRename    // to the next path
	fileRemoveDir // the directory of the path
	fileMakeDir   // the directory of the path
	numFileChanges
)

var (
	fuzzPaths  = [numPaths]string{fakePath, otherPath, fakeAbs("/pack/alias")}
	fuzzCalls  = [...]string{"try", "block", "blocked", "unlock", "stat", "sameAt", "open", "close", "dup", "serverStillGrants", "toShared"}
	fuzzSleeps = [...]time.Duration{10 * time.Microsecond, yieldPause + 1, sliceTime + 1, 3*sliceTime + 1, pathCheckAge + 1, 100 * time.Millisecond, 2 * time.Second}
)

// go test plays these schedules, and fuzzing starts from them and from those in testdata.
var schedules = []struct {
	name   string
	events [][3]byte
}{
	{"nothing", nil},
	{"one goroutine", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doAcquire}, {doCheck}, {doDup}, {doRelease}, {doRelease, 0, 1}, {doBlocking}, {doRelease}}},
	{"queue in one process", [][3]byte{{doOpen}, {doOpen, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 9}, {doBlocking, 12}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"queue behind another process", [][3]byte{{doOpen}, {doForeign}, {doTry}, {doAcquire}, {doAcquire, 4}, {doAcquire, 8}, {doForeign}, {doRelease}, {doRelease}, {doRelease}}},
	{"another process locks in between", [][3]byte{{doOpen}, {doTry}, {doForeign, 0, 3}, {doAcquire, 4}, {doSleep, 2}, {doRelease}, {doForeign, 1, 3}, {doForeign}, {doForeign, 1}, {doRelease}}},
	{"cancel, drain", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doTry, 4}, {doDrain}, {doForeign}, {doTry}, {doRelease}}},
	{"cancel, adopt", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doAcquire, 4}, {doForeign}, {doRelease}}},
	{"cancel of the first and of the last", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doAcquire, 8}, {doCancel}, {doCancel, 1}, {doForeign}, {doRelease}}},
	{"cancel against grant", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancelAnd}, {doForeign}, {doTry}, {doRelease}}},
	{"cancel against hand over", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doCancelAnd}, {doRelease}, {doRelease}}},
	{"cancel against close", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancelAnd}, {doClose}, {doOpen}, {doAcquire, 4}, {doForeign}}},
	{"cancel after the grant, before block returns", [][3]byte{{doOpen}, {doSlow, 2}, {doForeign}, {doAcquire}, {doForeign}, {doCancel}, {doAcquire, 4}, {doGoOn}, {doRelease}}},
	{"cancel during a try", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doCancel}, {doGoOn}, {doSlow, 4}, {doAcquire}, {doAcquire, 4}, {doCancel}, {doGoOn}}},
	{"cancel of a waiter that was passed the turn", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doSleep, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doSleep, 6}, {doRelease}, {doCancel}, {doSleep, 1}, {doRelease}, {doTry}, {doRelease}}},
	{"deadlines", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 0, ctxShort}, {doAcquire, 4, ctxLong}, {doAcquire, 8, ctxEnded}, {doDrain, 0, ctxShort}, {doSleep, 3}, {doDrain, 0, ctxShort}, {doSleep, 6}, {doDrain, 0, ctxShort}, {doSleep, 3}}},
	{"new acquires while it drains", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doSlow, 3}, {doForeign}, {doTry}, {doAcquire, 4}, {doDrain}, {doGoOn}, {doRelease}}},
	{"re-entry", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doTry}, {doAcquire}, {doBlocking}, {doAcquire, 4, ctxMarked}, {doAcquire, 5, ctxMarked}, {doAcquire, 8, ctxTwice}, {doDetach}, {doAcquire}, {doAcquire, 12, ctxAgain}, {doRelease}, {doRelease}, {doAcquire, 4, ctxAgain}}},
	{"re-entry through a lost lock file", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 4}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 1}, {doAcquire}, {doForeign}, {doRelease}, {doRelease}, {doFiles, fileReplace}, {doOpen, 2}, {doTry, 2}, {doAcquire}}},
	{"released twice", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doRelease}, {doRelease, 0, 1}, {doCheck}, {doDetach, 0, 1}}},
	{"close while parked", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doClose}, {doClose, 1}, {doOpen, 2}, {doAcquire, 10}, {doForeign}, {doRelease}, {doClose}, {doAcquire}, {doTry, 1}, {doDrain}}},
	{"close while blocking", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doBlocking}, {doAcquire, 5}, {doClose}, {doForeign}, {doRelease}}},
	{"close during a try", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doAcquire, 4}, {doClose}, {doGoOn}, {doOpen}, {doTry}}},
	{"close during a try that fails", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doForeign}, {doClose}, {doGoOn}, {doOpen}, {doForeign}}},
	{"close while it yields", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doSleep, 1}, {doTry}, {doAcquire, 4}, {doSleep, 6}, {doRelease}, {doClose}, {doForeign}, {doSleep, 1}, {doOpen}, {doForeign}}},
	{"close while its hold is checked", [][3]byte{{doOpen}, {doTry}, {doSlow, 5}, {doCheck}, {doRelease}, {doSlow, 7}, {doClose}, {doGoOn}, {doFiles, fileRemoveDir}, {doGoOn}}},
	{"close with a hold", [][3]byte{{doOpen}, {doTry}, {doClose}, {doOpen}, {doTry}, {doTry, 4}, {doCheck}, {doRelease}, {doTry}}},
	{"replaced while others queue", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doAcquire, 8}, {doFiles, fileReplace}, {doForeign, 1, 3}, {doForeign}, {doTry, 13}, {doForeign, 1}, {doRelease}, {doRelease}, {doRelease}}},
	{"replaced, and the new file is already open", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 13}, {doAcquire, 17}, {doSleep, 4}, {doCheck, 1}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"one of two names deleted", [][3]byte{{doOpen}, {doFiles, fileLink}, {doOpen, 1, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 9}, {doAcquire, 12}, {doAcquire, 17}, {doFiles, fileUnlink}, {doSleep, 4}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"renamed away and over", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doFiles, fileRename}, {doTry, 5}, {doSleep, 4}, {doAcquire, 5}, {doRelease}, {doTry}, {doRelease}, {doRelease}}},
	{"renamed away while others wait", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFiles, fileRename}, {doForeign}, {doRelease}}},
	{"renamed away before a hand-over", [][3]byte{{doOpen}, {doFiles, fileRename}, {doSleep, 3}, {doTry}, {doAcquire, 4}, {doRelease}, {doRelease}}},
	{"directory deleted", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileRemoveDir}, {doForeign}, {doTry}, {doOpen, 1}, {doFiles, fileMakeDir}, {doTry}, {doRelease}}},
	{"deleted while it is reopened", [][3]byte{{doOpen}, {doFiles, fileUnlink}, {doSlow, 6}, {doAcquire}, {doAcquire, 4}, {doClose}, {doGoOn}}},
	{"lost under another process, then TryAcquire", [][3]byte{{doOpen}, {doForeign}, {doTry}, {doFiles, fileUnlink}, {doTry}, {doSleep, 4}, {doTry}, {doTry, 4}, {doCheck}, {doRelease}, {doForeign}}},
	{"lost under another process, then Acquire", [][3]byte{{doOpen}, {doForeign}, {doFiles, fileReplace}, {doForeign, 1}, {doSleep, 4}, {doAcquire}, {doAcquire, 4}, {doForeign, 1}, {doRelease}, {doRelease}, {doFiles, fileReplace}, {doForeign, 1}, {doFiles, fileReplace}, {doSleep, 4}, {doBlocking}, {doRelease}}},
	{"lost under a parked thread, then Acquire", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doFiles, fileUnlink}, {doSleep, 4}, {doAcquire, 8}, {doRelease}, {doRelease}, {doRelease}, {doForeign}}},
	{"lost under a parked thread, then TryAcquire", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFiles, fileReplace}, {doForeign, 1}, {doSleep, 4}, {doTry, 4}, {doForeign, 1}, {doRelease}, {doForeign}}},
	{"lost under an AcquireBlocking", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doAcquire, 4}, {doFiles, fileUnlink}, {doSleep, 4}, {doAcquire, 8}, {doAcquire, 12}, {doDrain}, {doForeign}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost under an AcquireBlocking, twice", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doSleep, 6}, {doFiles, fileUnlink}, {doAcquire, 8}, {doFiles, fileUnlink}, {doSleep, 6}, {doForeign}, {doSleep, 6}, {doRelease}, {doRelease}}},
	{"lost under an AcquireBlocking, and back again", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doFiles, fileRename}, {doSleep, 4}, {doAcquire, 4}, {doRelease}, {doFiles, fileRename, 1}, {doFiles, fileRename, 2}, {doSleep, 4}, {doAcquire, 8}, {doClose}, {doForeign}, {doRelease}}},
	{"lost while it drains", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doFiles, fileUnlink}, {doSleep, 4}, {doAcquire, 4}, {doDrain}, {doForeign}, {doRelease}}},
	{"lost under waiters", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doBlocking, 8}, {doFiles, fileReplace}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doForeign}}},
	{"lost several times under waiters", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doSleep, 6}, {doFiles, fileReplace}, {doForeign, 1}, {doSleep, 6}, {doFiles, fileReplace}, {doSleep, 6}, {doAcquire, 8}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doForeign}, {doForeign, 1}}},
	{"lost under a hold with waiters", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doFiles, fileReplace}, {doSleep, 6}, {doCheck}, {doCheck, 1}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost by one of two names under waiters", [][3]byte{{doOpen}, {doFiles, fileLink}, {doOpen, 1, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doAcquire, 8}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}, {doRelease}, {doForeign}, {doRelease}}},
	{"lost under waiters, and the new file is already open", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 13}, {doAcquire, 17}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doForeign}}},
	{"lost under pollers", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileUnlink}, {doSleep, 5}, {doTry, 8}, {doRelease}, {doRelease}, {doForeign, 1}, {doAcquire}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}}},
	{"lost during a try", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doAcquire, 4}, {doFiles, fileUnlink}, {doSleep, 6}, {doGoOn}, {doRelease}, {doRelease}}},
	{"lost during a path check", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doSleep, 4}, {doSlow, 5}, {doAcquire, 4}, {doFiles, fileReplace}, {doGoOn}, {doRelease}, {doForeign}, {doForeign}, {doFiles, fileReplace}, {doSlow, 6}, {doSleep, 4}, {doAcquire, 8}, {doClose}, {doGoOn}}},
	{"lost during a path check of its holder", [][3]byte{{doOpen}, {doAcquire}, {doSleep, 6}, {doSlow, 5}, {doFiles, fileUnlink}, {doAcquire}, {doAcquire, 8}, {doGoOn}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost when the check for a waiter fails", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFail, 5}, {doFiles, fileReplace}, {doSleep, 4}, {doAcquire, 4}, {doBlocking, 8}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doForeign}}},
	{"lost when path checks fail", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFail, 5}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}, {doForeign}, {doForeign}, {doAcquire}, {doFail, 6}, {doFiles, fileUnlink}, {doTry, 4}, {doSleep, 4}, {doTry, 4}, {doRelease}}},
	{"lost, and back again under waiters", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doForeign}, {doAcquire}, {doFiles, fileRename}, {doSleep, 4}, {doAcquire, 4}, {doRelease}, {doRelease}, {doFiles, fileRename, 1}, {doFiles, fileRename, 2}, {doSleep, 4}, {doTry}, {doAcquire, 4}, {doForeign}, {doRelease}, {doRelease}}},
	{"held by the caller, and lost", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, ctxMarked}, {doFiles, fileReplace}, {doTry}, {doSleep, 4}, {doTry}, {doTry}, {doAcquire}, {doAcquire, 8, ctxTwice}, {doRelease}, {doRelease}, {doTry}, {doFiles, fileReplace}, {doSleep, 4}, {doAcquire}, {doRelease}, {doRelease}}},
	{"directory deleted under waiters", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doBlocking, 8}, {doFiles, fileRemoveDir}, {doSleep, 6}, {doFiles, fileMakeDir}, {doTry}, {doRelease}, {doForeign}}},
	{"directory deleted under a hold with waiters", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doFiles, fileRemoveDir}, {doSleep, 6}, {doTry, 12}, {doRelease}}},
	{"directory deleted, then Acquire", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileRemoveDir}, {doSleep, 4}, {doAcquire, 8}, {doForeign}}},
	{"directory deleted under an AcquireBlocking on a lost file", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doFiles, fileUnlink}, {doSleep, 6}, {doAcquire, 16}, {doFiles, fileRemoveDir}, {doAcquire, 8}, {doSleep, 4}, {doForeign}, {doSleep, 6}, {doRelease}}},
	{"directory deleted under pollers", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doSleep, 5}, {doFiles, fileRemoveDir}, {doSleep, 4}, {doTry, 8}, {doForeign}}},
	{"deadlock", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doTry, 5}, {doAcquire, 1}, {doAcquire, 4}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doRelease}, {doRelease}, {doRelease}}},
	{"deadlock through a context", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doAcquire, 17, ctxMarked}, {doRelease, 1}, {doTry, 9}, {doAcquire, 13, ctxAgain}, {doAcquire, 8}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doRelease}, {doRelease}}},
	{"two deadlocks that share a wait", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doAcquire}, {doAcquire, 9}, {doAcquire, 8, ctxMarked}, {doAcquire, 16, ctxMarked}, {doAcquire, 1}, {doSleep, 6}, {doSleep, 6}, {doRelease}, {doRelease}}},
	{"deadlock that ends because a lock file is lost", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doTry, 5}, {doAcquire, 1}, {doFiles, fileReplace}, {doSleep, 4}, {doAcquire, 4}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}}},
	{"every call fails", [][3]byte{{doOpen}, {doFail}, {doTry}, {doFail, 4}, {doTry}, {doForeign}, {doFail, 1}, {doAcquire}, {doFail, 2}, {doAcquire, 4}, {doAcquire, 8}, {doForeign}, {doFail, 3}, {doSleep, 2}, {doRelease}, {doTry}, {doRelease}, {doSleep, 4}, {doFail, 5}, {doTry}, {doFail, 6}, {doFiles, fileUnlink}, {doTry}, {doTry}, {doFail, 8}, {doDup}, {doRelease}, {doFail, 7}, {doClose}}},
	{"unlock fails, with a queue", [][3]byte{{doOpen}, {doOpen, 1}, {doFiles, fileLink}, {doOpen, 2, 1}, {doTry}, {doAcquire, 5}, {doAcquire, 10}, {doAcquire, 12}, {doSleep, 2}, {doSlow, 8}, {doDup}, {doFail, 3}, {doRelease}, {doGoOn}, {doRelease}, {doRelease}, {doRelease}}},
	{"unlock fails, draining", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doFail, 3}, {doForeign}, {doTry}, {doRelease}}},
	{"every call hangs", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doSlow}, {doAcquire}, {doTry, 4}, {doAcquire, 8}, {doCancel, 1}, {doTry, 5}, {doSleep, 5}, {doGoOn}, {doSlow, 3}, {doRelease}, {doRelease}, {doAcquire, 4}, {doTry, 9}, {doSleep, 5}, {doGoOn}, {doRelease}}},
	{"the slice ends", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doForeign}, {doForeign, 0, 3}, {doAcquire, 4}, {doRelease}, {doAcquire, 8}, {doSleep, 2}, {doRelease}, {doForeign}, {doRelease}, {doAcquire, 12}, {doSleep, 2}, {doRelease}, {doAcquire}, {doSleep, 1}, {doRelease}}},
	{"the slice ends, then TryAcquire", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doForeign}, {doSleep, 2}, {doRelease}, {doTry}, {doRelease}}},
	{"no room for threads", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doNoThreads}, {doForeign}, {doForeign, 1, 1}, {doAcquire}, {doBlocking, 5}, {doAcquire, 8}, {doSleep, 4}, {doCancel}, {doForeign, 1}, {doSleep, 4}, {doNoThreads}, {doSleep, 5}, {doForeign}, {doRelease}, {doRelease}}},
	{"no waiter left for the poller", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doSleep, 3}, {doCancel}, {doDrain}, {doAcquire}, {doClose}, {doForeign}, {doSleep, 4}, {doOpen}, {doTry}}},
}

func FuzzEngine(f *testing.F) {
	names := make(map[string]string)
	for _, s := range slices.Concat(schedules, sharedSchedules) {
		var data []byte
		for _, event := range s.events {
			data = append(data, event[:]...)
		}
		names[string(data)] = s.name
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) { play(t, names[string(data)], data) })
	})
}

func play(t *testing.T, name string, data []byte) {
	k := newFakeKernel()
	w := &world{
		T: t, k: k, reg: newRegistry(k),
		acquired: make(map[*entry]uint64), cancelled: make(map[*entry]uint64),
		handedOver: make(map[*entry]uint64), lockedAt: make(map[*entry]time.Time),
		changed: make(map[string]time.Time), turns: make(map[*entry]turn), yieldingSince: make(map[*entry]time.Time),
		failing: make(map[string]*fuzzError), slow: make(map[string]bool), withdrawn: make(map[*fakeInode]time.Time),
	}
	k.setHook(w.hook)
	w.log("schedule %q", name)
	for i := range w.goroutines {
		g := &w.goroutines[i]
		g.work = make(chan func())
		go func() {
			g.id = goid.Get()
			for work := range g.work {
				work()
			}
		}()
	}
	synctest.Wait()
	for i := 0; len(data) >= 3 && i < maxEvents; i++ {
		what, a, b := data[0]%numEvents, int(data[1]), int(data[2])
		data = data[3:]
		w.began = time.Now()
		w.event(what, a, b)
		if what != doCancelAnd {
			w.settle()
		}
	}
	w.settle()
	w.end()
}

// event makes one event happen, if it can.
func (w *world) event(what byte, a, b int) {
	slot := a % numSlots
	l := w.slots[slot]
	path := fuzzPaths[b%numPaths]
	switch what {
	case doOpen:
		if (l == nil || l.closed) && !w.opening[slot] {
			w.open(slot, path)
		}
	case doClose:
		if l != nil {
			w.close(slot, l)
		}
	case doAcquire:
		w.acquire(slot, a/numSlots, parking, b/numContexts%2 == 1, b%numContexts)
	case doTry:
		w.acquire(slot, a/numSlots, trying, b%2 == 1, ctxPlain)
	case doBlocking:
		w.acquire(slot, a/numSlots, blocking, false, ctxPlain)
	case doCancel:
		w.cancel(a, false)
	case doCancelAnd:
		w.cancel(a, true)
	case doRelease:
		w.release(a, b%2 == 1)
	case doDetach:
		if len(w.holds) > 0 {
			i := a % len(w.holds)
			w.log("detach hold %d", i)
			w.holds[i].Detach()
			w.holds[i].owner = nil
		}
	case doCheck:
		w.checkHold(a, b%2 == 1)
	case doDup:
		w.dup(a, b%2 == 1)
	case doDrain:
		if l != nil {
			w.drain(slot, l, b%numContexts)
		}
	case doForeign:
		w.foreign(a%numForeigners, path, b/numPaths)
	case doFiles:
		w.changeFiles(a%numFileChanges, b%numPaths)
	case doFail:
		call := fuzzCalls[a%len(fuzzCalls)]
		w.log("the next %s fails", call)
		w.frozen(func() { w.failing[call] = &fuzzError{call: call} })
	case doSlow:
		call := fuzzCalls[a%len(fuzzCalls)]
		w.log("the next %s hangs", call)
		w.frozen(func() { w.slow[call] = true })
	case doGoOn:
		w.goOn(a)
	case doSleep:
		d := fuzzSleeps[a%len(fuzzSleeps)]
		w.log("%v pass", d)
		time.Sleep(d)
	case doConvert:
		w.convert(a)
	case doNoThreads:
		w.noThreads = !w.noThreads
		w.log("no room for threads: %t", w.noThreads)
		if w.noThreads {
			w.mostThreads = w.reg.threads.n.Load()
			w.reg.threads.n.Add(maxParked)
		} else {
			w.reg.threads.n.Add(-maxParked)
		}
	}
}

// The reference model of a schedule follows.

// explained checks that an error is an *fs.PathError of the operation, and that it was
// expected. It is either an injected error of the kernel, which was not returned by a different
// call, or one that expected accepts.
func (w *world) explained(err error, op, path string, expected func(err error) bool) {
	pathErr, ok := err.(*fs.PathError)
	if !ok || pathErr.Op != op || pathErr.Path != path {
		w.fail("%v is not an error of %s on %s", err, op, path)
	}
	if injected := (*fuzzError)(nil); errors.As(err, &injected) {
		// A check of the path is for all acquires that wait for it.
		shared := injected.call == "sameAt" || injected.call == "open"
		if !injected.seen || injected.delivered && !shared {
			w.fail("%v was not injected, or was returned twice", err)
		}
		injected.delivered = true
	} else if !expected(err) {
		w.fail("unexpected: %v", err)
	}
}

// failedOnItsWay reports whether the acquire failed before it could be refused: in a path check
// or, if it had to leave a lost file, in any call.
func (w *world) failedOnItsWay(a *fuzzAcquire) bool {
	injected := (*fuzzError)(nil)
	return errors.As(a.err, &injected) && (a.mustCheck || injected.call == "sameAt" || injected.call == "open")
}

// endOf reports whether err is the right error for the end of ctx.
func (w *world) endOf(ctx *fuzzContext, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ErrCancelled) && errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx))
}

// frozen calls do with all state locked. The locks order do before the goroutines that go on
// when time passes, which the race detector would not know otherwise.
func (w *world) frozen(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reg.mu.Lock()
	defer w.reg.mu.Unlock()
	entries := w.entries()
	for _, e := range entries {
		e.mu.Lock()
	}
	w.k.mu.Lock()
	defer func() {
		w.k.mu.Unlock()
		for _, e := range entries {
			e.mu.Unlock()
		}
	}()
	do()
}

// entries returns all entries that are in use, each once.
func (w *world) entries() []*entry {
	var entries []*entry
	add := func(e *entry) {
		if !slices.Contains(entries, e) {
			entries = append(entries, e)
		}
	}
	for _, e := range w.reg.entries {
		add(e)
	}
	for _, l := range w.slots {
		if l != nil {
			add(l.Lock.entry())
		}
	}
	for _, h := range w.holds {
		add(h.entry)
	}
	for _, a := range w.acquires {
		add(a.lock.Lock.entry())
	}
	for _, e := range w.leftBehind {
		add(e)
	}
	return entries
}

// The following functions must be called in frozen only.

// lost reports whether the file at path is not that of e.
func (w *world) lost(e *entry, path string) bool {
	return e.file.(*fakeFile).inode != w.k.files[path]
}

// lostFor returns for how long the file of e has been lost, if it is.
func (w *world) lostFor(e *entry, path string) time.Duration {
	if !w.lost(e, path) {
		return 0
	}
	return time.Since(w.changed[path])
}

// underWay reports whether an acquire or a release owns the turn, and not a live hold.
func (w *world) underWay(e *entry) bool {
	return e.turn == turnTaken && !slices.ContainsFunc(w.holds, func(h *fuzzHold) bool { return h.Hold == e.hold })
}

// mustCheck reports whether the acquire, which is about to begin, must notice that the lock file
// is lost before it is refused or waits.
func (w *world) mustCheck(a *fuzzAcquire) bool {
	e := a.arrival
	return !a.closed && !a.cancelled && w.lostFor(e, a.lock.path) > pathCheckAge && !w.underWay(e) &&
		(e.turn != turnTaken && e.turn != turnShared || a.mode == trying || a.shared && e.joinableLocked() || w.callerHolds(a, e.grants))
}

// mayBeBusy reports whether the acquire, if it is a TryAcquire, may return ErrBusy. The lock of its
// file, or that of the file at its path, is held or about to be held, and not only shared if the
// acquire is. If it must notice that the file is lost, only the file at the path counts.
func (w *world) mayBeBusy(a *fuzzAcquire) bool {
	e := a.lock.Lock.entry()
	inodes := []*fakeInode{w.k.files[a.lock.path]}
	if w.lostFor(e, a.lock.path) <= pathCheckAge || w.underWay(e) || e.queue.n > 0 {
		inodes = append(inodes, e.file.(*fakeFile).inode)
	}
	taken := func(e *entry) bool {
		free := e.turn == turnFree || a.shared && e.joinableLocked()
		return !free && slices.Contains(inodes, e.file.(*fakeFile).inode)
	}
	for _, other := range w.reg.entries {
		if taken(other) {
			return true
		}
	}
	return taken(e) || slices.ContainsFunc(inodes, func(i *fakeInode) bool {
		return i != nil && (len(i.locked) > 0 && !(a.shared && i.shared) || a.shared && w.isAnnounced(i))
	})
}

// callerHolds reports whether a hold that is accepts belongs to the goroutine of the acquire, or
// has marked its context.
func (w *world) callerHolds(a *fuzzAcquire, is func(h *fuzzHold) bool) bool {
	return slices.ContainsFunc(w.holds, func(h *fuzzHold) bool {
		return is(h) && (h.owner == a.goroutine || a.ctx != nil && slices.Contains(a.ctx.marks, h))
	})
}

// queued returns the entry in whose queue the acquire waits, nil if there is none.
func (w *world) queued(a *fuzzAcquire) *entry {
	e := a.lock.Lock.entry()
	for q := e.queue.sentinel.next; q != &e.queue.sentinel; q = q.next {
		if q.owner == a.goroutine.id {
			return e
		}
	}
	return nil
}

// blocked returns the entry for which the acquire waits in the kernel on its own thread, nil if
// there is none. Its Lock may have moved to a different entry since.
func (w *world) blocked(a *fuzzAcquire) *entry {
	if a.mode != blocking {
		return nil
	}
	return w.turnOf(a, turnBlocked)
}

// turnOf returns the entry that has the given turn, owned by the acquire and not by a hold.
func (w *world) turnOf(a *fuzzAcquire, turn turn) *entry {
	for _, e := range w.entries() {
		if e.turn == turn && e.hold != nil && e.hold.owner == a.goroutine.id && (turn != turnTaken || w.underWay(e)) {
			return e
		}
	}
	return nil
}

// mayBeOvertaken reports whether later acquires may overtake this one, which is under way. It
// waits in the kernel for a file that its Lock has left, or by a Lock that is closed, or it checks
// the path before it is queued.
func (w *world) mayBeOvertaken(a *fuzzAcquire) bool {
	if e := w.blocked(a); e != nil {
		return e != a.lock.Lock.entry() || a.closedInKernel
	}
	return w.hangs("sameAt", "open", "serverStillGrants") && w.queued(a) == nil && w.turnOf(a, turnTaken) == nil
}

// calling reports whether a call is under way that belongs to no file. Its caller may own the turn
// of any entry.
func (w *world) calling() bool {
	return w.pausing > 0 || w.converting > 0 || w.hangs("open", "sameAt", "serverStillGrants", "close")
}

// hangs reports whether one of the calls hangs.
func (w *world) hangs(calls ...string) bool {
	return slices.ContainsFunc(w.hanging, func(h hangingCall) bool { return slices.Contains(calls, h.call) })
}

// acquireDone checks the outcome of an acquire that has returned.
func (w *world) acquireDone(a *fuzzAcquire) {
	a.goroutine.busy = false
	l := a.lock
	if a.err != nil {
		if errors.Is(a.err, ErrCancelled) {
			w.cancelled[l.Lock.entry()]++
		}
		w.givenBack = true
		if errors.Is(a.err, fs.ErrNotExist) {
			w.turnedAway++
			w.checkTurnedAway(a)
		}
		if errors.Is(a.err, ErrDeadlock) {
			w.turnedAway++
		}
		if a.mustCheck && !a.slow && errors.Is(a.err, ErrBusy) && w.lost(l.Lock.entry(), l.path) {
			w.fail("%s: refused because of a lost file", a.what)
		}
		w.explained(a.err, "acquire", l.path, func(err error) bool {
			switch {
			case errors.Is(err, ErrCancelled):
				return a.ctx != nil && w.endOf(a.ctx, err)
			case errors.Is(err, fs.ErrClosed):
				return l.closed
			case errors.Is(err, ErrReentrant):
				return a.refused // at its entry, or at one that it moved to
			case errors.Is(err, ErrBusy):
				return a.mode == trying && a.mayBeBusy
			case errors.Is(err, fs.ErrNotExist):
				return a.gone
			case errors.Is(err, ErrDeadlock):
				return a.deadlock
			}
			return false
		})
		var want error
		switch {
		case a.cancelled:
			want = ErrCancelled
		case a.ctx != nil && a.ctx.Err() != nil: // the acquire may have noticed that or not
		case a.closed:
			want = fs.ErrClosed
		case a.reentrant && !w.failedOnItsWay(a):
			want = ErrReentrant
		}
		if want != nil && !errors.Is(a.err, want) {
			w.fail("%s: %v, want %v", a.what, a.err, want)
		}
		if injected := (*fuzzError)(nil); want == nil && a.joins && !errors.As(a.err, &injected) {
			w.fail("%s: %v, though its caller holds the lock shared", a.what, a.err)
		}
		if a.hold != nil {
			w.fail("%s: a hold with an error", a.what)
		}
		return
	}
	switch {
	case a.contextEnded || a.cancelled || a.ctx != nil && a.ctx.endedBefore(a.returned):
		w.fail("%s: succeeded, though its context had ended", a.what)
	case a.closed || a.closedInKernel:
		w.fail("%s: succeeded, though its Lock was closed", a.what)
	case a.reentrant:
		w.fail("%s: succeeded, though its caller holds the lock", a.what)
	}
	e := a.hold.entry
	f := e.file.(*fakeFile)
	w.acquired[e]++
	w.granted++
	n := e.counts.handedOver.Load()
	before, known := w.handedOver[e]
	uncounted := w.moved && !known // whether this one was handed over
	handedOver := n > before && !uncounted
	w.handedOver[e] = n
	joined := a.shared && slices.ContainsFunc(w.holds, e.grants)
	if joined {
		// The kernel's lock is that of another member.
	} else if !handedOver || w.lockedAt[e].IsZero() || w.givenBack {
		// In the latter cases, an acquire that failed may have been granted the lock.
		w.lockedAt[e] = a.returned
	} else if held := a.returned.Sub(w.lockedAt[e]); held >= sliceTime && !a.slow {
		w.fail("%s: handed over, though the process has held the lock for %v", a.what, held)
	}
	w.holds = append(w.holds, &fuzzHold{Hold: a.hold, owner: a.goroutine, inode: f.inode})
	w.log("%s: succeeds", a.what)
	for _, b := range w.acquires {
		sameFile := b.lock.path == l.path || a.arrival == e && b.lock.Lock.entry() == e
		// An acquire that fails may still be closing a file.
		waits := b.mode != trying && !b.done.Load() && !w.hangs("close") && !b.mayBeOvertaken
		// A member may join again, and a cycle is broken by letting a shared waiter join.
		// A shared try may join a group that only gives other processes a chance.
		mayOvertake := a.shared && (a.joins || a.reenters || a.cycle || a.mode == trying && b.shared)
		if b.seq < a.seq && waits && b.arrival == a.arrival && sameFile && !mayOvertake {
			w.fail("%s overtook %s", a.what, b.what)
		}
	}
	if w.k.files[l.path] != f.inode && !a.slow && !uncounted {
		age := a.returned.Sub(w.changed[l.path])
		switch {
		case (handedOver || joined) && age > handOverCheckAge, !handedOver && !joined && a.waited, age > pathCheckAge:
			w.fail("%s: got a file that has been lost for %v", a.what, age)
		case !handedOver && !joined && f.inode.links == 0:
			w.fail("%s: got a file without links", a.what)
		}
	}
}

// checkTurnedAway checks that no waiter of the path still waits when the acquire was turned away
// because the directory is missing.
func (w *world) checkTurnedAway(a *fuzzAcquire) {
	e := a.lock.Lock.entry()
	if w.calling() || len(w.hanging) > 0 || !w.gone(a.lock.path) || a.returned.Sub(w.changed[a.lock.path]) <= pathCheckAge {
		return
	}
	if a.mode == blocking && a.arrival != e {
		return // it waited for a file that the others had left, and they have a watch of their own
	}
	for _, b := range w.acquires {
		if b.lock.path == a.lock.path && w.queued(b) == e && !b.slow { // or it may have come later
			w.fail("%s: still waits, though %s failed because the directory is missing", b.what, a.what)
		}
	}
}

// checkWait checks that the acquire does not wait for a file that it must know to be lost.
func (w *world) checkWait(a *fuzzAcquire) {
	e := w.queued(a)
	if e == nil || !w.lost(e, a.lock.path) {
		return
	}
	checked := w.watchDelayedAt.Before(a.arrived) // or its check failed, and the watch makes the next one
	if a.mustCheck && !a.slow && checked && w.changed[a.lock.path].Before(a.arrived) {
		w.fail("%s: waits for a file that was lost when it arrived", a.what)
	}
	if a.mode == blocking && e != a.arrival && a.requeuedAt.IsZero() {
		a.requeuedAt = time.Now()
	}
	since := a.arrived
	for _, t := range []time.Time{w.changed[a.lock.path], w.watchDelayedAt, a.requeuedAt} {
		if t.After(since) {
			since = t
		}
	}
	if waited := time.Since(since); waited > watchInterval+2*pathCheckAge {
		w.fail("%s: has waited for a lost file for %v", a.what, waited)
	}
}

// checkParked checks that no thread has just begun to wait in the kernel for a lost file.
func (w *world) checkParked(e *entry) {
	was, known := w.turns[e]
	w.turns[e] = e.turn
	if !known || was == e.turn || was == turnPolled || !time.Now().Equal(w.began) {
		return // no wait has begun, or it began at a different time
	}
	var path string
	switch e.turn {
	case turnParked:
		if e.queue.n == 0 {
			return
		}
		path = e.queue.sentinel.next.lock.path
	case turnBlocked:
		for _, a := range w.acquires {
			if w.blocked(a) == e {
				path = a.lock.path
			}
		}
	default:
		return
	}
	if age := w.lostFor(e, path); age > pathCheckAge {
		w.fail("%s: a wait in the kernel begins for a file that was lost %v ago", path, age)
	}
}

// check checks the state when all goroutines are blocked.
func (w *world) check() {
	calling := w.calling()
	w.leftBehind = slices.DeleteFunc(w.leftBehind, func(e *entry) bool { return e.orphan.file == nil })
	entries := w.entries()
	w.leftBehind = entries
	for id, e := range w.reg.entries {
		if e.id != id || e.unusable || e.closed {
			w.fail("%s: an entry that does not belong in the registry", e.file.(*fakeFile).path)
		}
		if len(e.locations) == 0 && e.turn == turnFree && e.pins == 0 && e.orphan.file == nil && !w.hangs("close") {
			w.fail("%s: an unused entry", e.file.(*fakeFile).path)
		}
	}
	for _, l := range w.slots {
		if l == nil || l.closed {
			continue
		}
		if !l.entry.isUsedBy(l.lock) {
			w.fail("%s: the entry of an open Lock does not have the Lock", l.path)
		}
		if !l.entry.unusable && w.reg.entries[l.entry.id] != l.entry {
			w.fail("%s: the registry does not have the entry of an open Lock", l.path)
		}
		w.checkStats(l)
	}
	for i, h := range w.holds {
		twice := slices.ContainsFunc(w.holds[:i], func(other *fuzzHold) bool {
			return other.inode == h.inode && !(h.shared && other.shared)
		})
		if twice || !h.entry.grants(h) || !h.inode.locked[h.entry.active.(*fakeFile)] || h.inode.shared != h.shared {
			w.fail("%s: a live hold that does not exclude", h.Path())
		}
	}

	waiting, descriptors := int32(0), 0
	for _, e := range entries {
		w.checkEntry(e, calling)
		w.checkGroup(e)
		w.checkYield(e)
		w.checkOrphan(e)
		w.checkParked(e)
		if e.turn == turnParked || e.turn == turnBlocked {
			waiting++
		}
		if e.orphan.file != nil && !e.orphan.unlocking {
			waiting++
		}
		descriptors += w.descriptors(e)
	}
	if w.noThreads {
		if waiting > w.mostThreads {
			w.fail("%d threads, %d more than there is room for", waiting, waiting-w.mostThreads)
		}
		w.mostThreads = waiting
		waiting += maxParked
	}
	if n := w.reg.threads.n.Load(); n != waiting {
		w.fail("%d threads counted, want %d", n, waiting)
	}
	if len(w.hanging) == 0 && w.k.nopen != descriptors {
		w.fail("%d descriptors, want %d of %d entries", w.k.nopen, descriptors, len(w.reg.entries))
	}

	for _, a := range w.acquires {
		e := w.queued(a)
		w.checkWait(a)
		w.checkCycle(a)
		switch {
		case w.hangs("close"):
			// It may be closing the lost file that it moved away from.
		case a.tie && w.hangs("unlock", "toShared"):
			// It is giving back what it was granted.
		case a.cancelled || a.closed || a.reentrant || a.joins:
			w.fail("%s: has not returned at once", a.what)
		case e != nil && a.ctx != nil && a.ctx.Err() != nil:
			w.fail("%s: is queued, though its context has ended", a.what)
		case e != nil && w.callerHolds(a, e.grants) && !a.duringConversion:
			w.fail("%s: waits for its own caller", a.what)
		case e != nil && (a.mode != trying || w.mayAwaitTry(a, e)):
		case w.blocked(a) != nil:
		case calling && a.mode != trying || len(w.hanging) > 0:
		default:
			w.fail("%s: neither waits nor returns", a.what)
		}
	}
	for _, task := range w.others {
		if task.ctx == nil && len(w.hanging) == 0 && w.converting == 0 { // an upgrade may await an orphaned wait
			w.fail("%s: has not returned", task.what)
		}
		if task.ctx != nil && task.ctx.Err() != nil {
			w.fail("%s: has not returned, though its context has ended", task.what)
		}
	}
}

// isUsedBy reports whether the open Lock uses the entry.
func (e *entry) isUsedBy(l *lock) bool {
	return slices.ContainsFunc(e.locations, func(loc *location) bool { return slices.Contains(loc.locks, l) })
}

// checkEntry checks the invariants of an entry when no goroutine runs.
func (w *world) checkEntry(e *entry, calling bool) {
	f := e.active.(*fakeFile)
	bad := func(format string, args ...any) {
		w.fail("%s, turn %d, %d queued, in call %q: %s", f.path, e.turn, e.queue.n, f.inCall, fmt.Sprintf(format, args...))
	}
	n := 0
	for q := e.queue.sentinel.next; q != &e.queue.sentinel; q = q.next {
		if n++; q.next.prev != q || q.prev.next != q {
			bad("the queue is not a ring")
		}
		if !e.isUsedBy(q.lock) || q.lock.closed || q.lock.entry() != e {
			bad("a waiter is queued that does not belong here")
		}
	}
	if n != e.queue.n {
		bad("%d waiters are in the queue", n)
	}
	for i, loc := range e.locations {
		samePath := func(other *location) bool { return other.path == loc.path }
		if loc.entry != e || slices.ContainsFunc(e.locations[:i], samePath) || len(loc.locks) == 0 {
			bad("it has a location that does not belong here")
		}
		for i, l := range loc.locks {
			if l.closed || l.location.Load() != loc || l.path != loc.path || l.index != i {
				bad("it has a Lock that does not belong here")
			}
		}
	}
	if e.drained != nil && !e.drainingLocked() {
		bad("drained is set, but the draining has ended")
	}

	ours := f.inode.locked[f]
	if !ours {
		delete(w.lockedAt, e)
	}
	if e.unusable && e.pins > 0 {
		ours = false // closing the file will release the lock
	}
	switch e.turn {
	case turnFree:
		if n > 0 || e.hold != nil || ours || f.inCall != "" {
			bad("the turn is free, but there is a waiter, a hold, a lock or a call")
		}
	case turnTaken:
		held := e.hold != nil && slices.ContainsFunc(w.holds, func(h *fuzzHold) bool { return h.Hold == e.hold })
		switch {
		case held && (!ours || f.inode.shared || e.hold.shared):
			bad("a hold without the lock")
		case held && f.inCall != "":
			bad("a call while the lock is held")
		case !held && !calling && f.inCall == "":
			bad("the turn is taken, but no hold or call uses it")
		}
	case turnBlocked, turnParked:
		switch {
		case (e.hold != nil) != (e.turn == turnBlocked) || f.inCall != "block":
			bad("no call waits in the kernel")
		case !w.hangs("block", "blocked") && (len(f.inode.locked) == 0 || ours || e.shared && f.inode.shared):
			bad("the lock is free, and the call still waits")
		}
	case turnPolled:
		if e.hold != nil || f.inCall != "" && f.inCall != "try" && f.inCall != "unlock" || n == 0 && !calling && f.inCall == "" {
			bad("the poller should not poll")
		}
	case turnUnlocking:
		if e.hold != nil || f.inCall != "unlock" && !calling {
			bad("the thread should not be draining")
		}
	}
}

func (w *world) checkStats(l *fuzzLock) {
	s := l.stats
	bad := s.HandedOver > s.Contended || s.Contended > s.Acquired || s.Draining && !s.Parked ||
		s.Adopted+s.Drained > s.Cancelled+w.turnedAway || s.Acquired > w.granted && len(w.hanging) == 0
	if l.before.Draining && l.before.Waiting == 0 && s.Parked && !s.Draining && s.KernelWaits == l.before.KernelWaits {
		bad = bad || s.Adopted+s.Drained == l.before.Adopted+l.before.Drained
	}
	if !w.moved {
		bad = bad || s.Acquired < w.acquired[l.entry] || s.Cancelled < w.cancelled[l.entry] || s.Reopened > 0
	}
	if len(w.hanging) == 0 && w.pausing == 0 {
		waiting := 0
		for _, a := range w.acquires {
			at := w.blocked(a)
			if at == nil {
				at = a.lock.entry
			}
			if at == l.entry {
				waiting++
			}
		}
		bad = bad || s.Waiting != waiting || s.Draining && s.Waiting > 0 && l.entry.orphan.file == nil && !l.entry.passableLocked()
		bad = bad || s.SharedHolds != w.sharedHolds(l.entry)
		if !w.moved {
			bad = bad || s.Acquired != w.acquired[l.entry] || s.Cancelled != w.cancelled[l.entry]
		}
	}
	if bad {
		w.fail("%s: impossible Stats: %+v\nacquired %d, cancelled %d, moved %t, turned away %d, under way %d", l.path, s,
			w.acquired[l.entry], w.cancelled[l.entry], w.moved, w.turnedAway, len(w.acquires))
	}
}
