package packlock

import (
	"testing"
	"testing/synctest"
	"time"

	"packlock/internal/goid"
)

// A schedule is what happens to a process, other processes and the kernel, one
// event after another, each given by three bytes: what, a and b. Between two
// events everybody gets where it can get, and then all is checked that can be
// known about the state: see world.check. So what happens depends on nothing but
// the bytes; after doCancelAnd the way to it may differ, not the outcome.
//
// go test -v shows the events and what comes of them.

// maxEvents is after how many events a schedule is cut off.
const maxEvents = 100

// The events.
const (
	doOpen      = iota // opens a Lock; a: slot, b: path
	doClose            // a: slot
	doAcquire          // a: slot + numSlots*goroutine, b: context
	doTry              // a: slot + numSlots*goroutine
	doBlocking         // AcquireBlocking; a: slot + numSlots*goroutine
	doCancel           // ends the context of an acquire or WaitDrained; a: which
	doCancelAnd        // the same, at the same time as the next event
	doRelease          // a: hold, b: 1 for one that is released already
	doDetach           // a: hold
	doCheck            // a: hold, b: as for doRelease
	doDup              // a: hold, b: as for doRelease
	doDrain            // WaitDrained; a: slot, b: context
	doForeign          // another process opens, and locks or waits, or else unlocks; a: process, b: path + numPaths*(1 to wait)
	doFiles            // a: what is done, b: path
	doFail             // the kernel fails the next call; a: which
	doSlow             // the next call does not return; a: which
	doGoOn             // a call that does not return does; a: which
	doSleep            // a: how long
	doNoThreads        // there is no room for more parked threads, or there is again
	numEvents
)

const (
	numSlots      = 4
	numGoroutines = 6
	numForeigners = 2
	numPaths      = 3
)

// The contexts of acquires and of WaitDrained.
const (
	ctxPlain  = iota
	ctxMarked // by the latest live hold
	ctxTwice  // by the two latest live holds
	ctxAgain  // that of the latest acquire with a marked one
	ctxEnded
	ctxShort // ends after 1.5 ms
	ctxLong  // ends after 75 ms
	numContexts
)

const (
	fileUnlink = iota
	fileReplace
	fileLink        // the path gets the name of the next path, too
	fileRename      // to the next path
	fileRemoveDir   // that the path is in
	fileMakeDir     // that the path is in
	numFileMischief // how many there are
)

var (
	fuzzPaths  = [numPaths]string{fakePath, otherPath, fakeAbs("/pack/alias")}
	fuzzCalls  = [...]string{"try", "block", "blocked", "unlock", "stat", "sameAt", "open", "close", "dup"}
	fuzzSleeps = [...]time.Duration{10 * time.Microsecond, yieldPause + 1, sliceTime + 1, 3*sliceTime + 1, pathCheckAge + 1, 100 * time.Millisecond, 2 * time.Second}
)

// schedules are the ones that are replayed by go test and that fuzzing starts
// from, besides those in testdata.
var schedules = []struct {
	name   string
	events [][3]byte
}{
	{"nothing", nil},
	{"alone", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doAcquire}, {doCheck}, {doDup}, {doRelease}, {doRelease, 0, 1}, {doBlocking}, {doRelease}}},
	{"queue in one process", [][3]byte{{doOpen}, {doOpen, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 9}, {doBlocking, 12}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"queue behind another process", [][3]byte{{doOpen}, {doForeign}, {doTry}, {doAcquire}, {doAcquire, 4}, {doAcquire, 8}, {doForeign}, {doRelease}, {doRelease}, {doRelease}}},
	{"another process in the middle", [][3]byte{{doOpen}, {doTry}, {doForeign, 0, 3}, {doAcquire, 4}, {doSleep, 2}, {doRelease}, {doForeign, 1, 3}, {doForeign}, {doForeign, 1}, {doRelease}}},
	{"cancel, drain", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doTry, 4}, {doDrain}, {doForeign}, {doTry}, {doRelease}}},
	{"cancel, adopt", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doAcquire, 4}, {doForeign}, {doRelease}}},
	{"cancel of the first and of the last", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doAcquire, 8}, {doCancel}, {doCancel, 1}, {doForeign}, {doRelease}}},
	{"cancel against grant", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancelAnd}, {doForeign}, {doTry}, {doRelease}}},
	{"cancel against hand over", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doCancelAnd}, {doRelease}, {doRelease}}},
	{"cancel against close", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancelAnd}, {doClose}, {doOpen}, {doAcquire, 4}, {doForeign}}},
	{"cancel when granted, before it is known", [][3]byte{{doOpen}, {doSlow, 2}, {doForeign}, {doAcquire}, {doForeign}, {doCancel}, {doAcquire, 4}, {doGoOn}, {doRelease}}},
	{"cancel while it tries", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doCancel}, {doGoOn}, {doSlow, 4}, {doAcquire}, {doAcquire, 4}, {doCancel}, {doGoOn}}},
	{"cancel when it was passed the turn", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doSleep, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doSleep, 6}, {doRelease}, {doCancel}, {doSleep, 1}, {doRelease}, {doTry}, {doRelease}}},
	{"deadlines", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 0, ctxShort}, {doAcquire, 4, ctxLong}, {doAcquire, 8, ctxEnded}, {doDrain, 0, ctxShort}, {doSleep, 3}, {doDrain, 0, ctxShort}, {doSleep, 6}, {doDrain, 0, ctxShort}, {doSleep, 3}}},
	{"arrivals while it drains", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doSlow, 3}, {doForeign}, {doTry}, {doAcquire, 4}, {doDrain}, {doGoOn}, {doRelease}}},
	{"re-entry", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doTry}, {doAcquire}, {doBlocking}, {doAcquire, 4, ctxMarked}, {doAcquire, 5, ctxMarked}, {doAcquire, 8, ctxTwice}, {doDetach}, {doAcquire}, {doAcquire, 12, ctxAgain}, {doRelease}, {doRelease}, {doAcquire, 4, ctxAgain}}},
	{"re-entry by way of a lost sidecar", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 4}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 1}, {doAcquire}, {doForeign}, {doRelease}, {doRelease}, {doFiles, fileReplace}, {doOpen, 2}, {doTry, 2}, {doAcquire}}},
	{"released twice", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doRelease}, {doRelease, 0, 1}, {doCheck}, {doDetach, 0, 1}}},
	{"close while parked", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doClose}, {doClose, 1}, {doOpen, 2}, {doAcquire, 10}, {doForeign}, {doRelease}, {doClose}, {doAcquire}, {doTry, 1}, {doDrain}}},
	{"close while blocking", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doBlocking}, {doAcquire, 5}, {doClose}, {doForeign}, {doRelease}}},
	{"close while it tries", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doAcquire, 4}, {doClose}, {doGoOn}, {doOpen}, {doTry}}},
	{"close while it tries, in vain", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doForeign}, {doClose}, {doGoOn}, {doOpen}, {doForeign}}},
	{"close while it steps aside", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doSleep, 1}, {doTry}, {doAcquire, 4}, {doSleep, 6}, {doRelease}, {doClose}, {doForeign}, {doSleep, 1}, {doOpen}, {doForeign}}},
	{"close while its hold is checked", [][3]byte{{doOpen}, {doTry}, {doSlow, 5}, {doCheck}, {doRelease}, {doSlow, 7}, {doClose}, {doGoOn}, {doFiles, fileRemoveDir}, {doGoOn}}},
	{"close with a hold", [][3]byte{{doOpen}, {doTry}, {doClose}, {doOpen}, {doTry}, {doTry, 4}, {doCheck}, {doRelease}, {doTry}}},
	{"replaced while others queue", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doAcquire, 8}, {doFiles, fileReplace}, {doForeign, 1, 3}, {doForeign}, {doTry, 13}, {doForeign, 1}, {doRelease}, {doRelease}, {doRelease}}},
	{"replaced, and known elsewhere", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 13}, {doAcquire, 17}, {doSleep, 4}, {doCheck, 1}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"one of two names deleted", [][3]byte{{doOpen}, {doFiles, fileLink}, {doOpen, 1, 1}, {doTry}, {doAcquire, 4}, {doAcquire, 9}, {doAcquire, 12}, {doAcquire, 17}, {doFiles, fileUnlink}, {doSleep, 4}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"renamed away and over", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doFiles, fileRename}, {doTry, 5}, {doSleep, 4}, {doAcquire, 5}, {doRelease}, {doTry}, {doRelease}, {doRelease}}},
	{"renamed away while others wait", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFiles, fileRename}, {doForeign}, {doRelease}}},
	{"renamed away before a hand-over", [][3]byte{{doOpen}, {doFiles, fileRename}, {doSleep, 3}, {doTry}, {doAcquire, 4}, {doRelease}, {doRelease}}},
	{"directory deleted", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileRemoveDir}, {doForeign}, {doTry}, {doOpen, 1}, {doFiles, fileMakeDir}, {doTry}, {doRelease}}},
	{"deleted while it is reopened", [][3]byte{{doOpen}, {doFiles, fileUnlink}, {doSlow, 6}, {doAcquire}, {doAcquire, 4}, {doClose}, {doGoOn}}},
	{"lost under another process, and somebody tries", [][3]byte{{doOpen}, {doForeign}, {doTry}, {doFiles, fileUnlink}, {doTry}, {doSleep, 4}, {doTry}, {doTry, 4}, {doCheck}, {doRelease}, {doForeign}}},
	{"lost under another process, and somebody comes", [][3]byte{{doOpen}, {doForeign}, {doFiles, fileReplace}, {doForeign, 1}, {doSleep, 4}, {doAcquire}, {doAcquire, 4}, {doForeign, 1}, {doRelease}, {doRelease}, {doFiles, fileReplace}, {doForeign, 1}, {doFiles, fileReplace}, {doSleep, 4}, {doBlocking}, {doRelease}}},
	{"lost under a parked thread, and somebody comes", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doFiles, fileUnlink}, {doSleep, 4}, {doAcquire, 8}, {doRelease}, {doRelease}, {doRelease}, {doForeign}}},
	{"lost under a parked thread, and somebody tries", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFiles, fileReplace}, {doForeign, 1}, {doSleep, 4}, {doTry, 4}, {doForeign, 1}, {doRelease}, {doForeign}}},
	{"lost under one who blocks", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doAcquire, 4}, {doFiles, fileUnlink}, {doSleep, 4}, {doAcquire, 8}, {doAcquire, 12}, {doDrain}, {doForeign}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost under one who blocks, and again while it does", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doSleep, 6}, {doFiles, fileUnlink}, {doAcquire, 8}, {doFiles, fileUnlink}, {doSleep, 6}, {doForeign}, {doSleep, 6}, {doRelease}, {doRelease}}},
	{"lost under one who blocks, and back again", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doFiles, fileRename}, {doSleep, 4}, {doAcquire, 4}, {doRelease}, {doFiles, fileRename, 1}, {doFiles, fileRename, 2}, {doSleep, 4}, {doAcquire, 8}, {doClose}, {doForeign}, {doRelease}}},
	{"lost while it drains", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doFiles, fileUnlink}, {doSleep, 4}, {doAcquire, 4}, {doDrain}, {doForeign}, {doRelease}}},
	{"lost while they wait", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doBlocking, 8}, {doFiles, fileReplace}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doForeign}}},
	{"lost again and again while they wait", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doSleep, 6}, {doFiles, fileReplace}, {doForeign, 1}, {doSleep, 6}, {doFiles, fileReplace}, {doSleep, 6}, {doAcquire, 8}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doForeign}, {doForeign, 1}}},
	{"lost under a hold while they wait", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doFiles, fileReplace}, {doSleep, 6}, {doCheck}, {doCheck, 1}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost by one of two names while they wait", [][3]byte{{doOpen}, {doFiles, fileLink}, {doOpen, 1, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doAcquire, 8}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}, {doRelease}, {doForeign}, {doRelease}}},
	{"lost while they wait, and known elsewhere", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 13}, {doAcquire, 17}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doForeign}}},
	{"lost under pollers", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileUnlink}, {doSleep, 5}, {doTry, 8}, {doRelease}, {doRelease}, {doForeign, 1}, {doAcquire}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}}},
	{"lost while somebody tries", [][3]byte{{doOpen}, {doSlow}, {doAcquire}, {doAcquire, 4}, {doFiles, fileUnlink}, {doSleep, 6}, {doGoOn}, {doRelease}, {doRelease}}},
	{"lost while somebody looks", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doSleep, 4}, {doSlow, 5}, {doAcquire, 4}, {doFiles, fileReplace}, {doGoOn}, {doRelease}, {doForeign}, {doForeign}, {doFiles, fileReplace}, {doSlow, 6}, {doSleep, 4}, {doAcquire, 8}, {doClose}, {doGoOn}}},
	{"lost while its holder looks", [][3]byte{{doOpen}, {doAcquire}, {doSleep, 6}, {doSlow, 5}, {doFiles, fileUnlink}, {doAcquire}, {doAcquire, 8}, {doGoOn}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost when the looks fail", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doFail, 5}, {doFiles, fileUnlink}, {doSleep, 6}, {doRelease}, {doForeign}, {doForeign}, {doAcquire}, {doFail, 6}, {doFiles, fileUnlink}, {doTry, 4}, {doSleep, 4}, {doTry, 4}, {doRelease}}},
	{"lost, and back again while they wait", [][3]byte{{doOpen}, {doTry}, {doRelease}, {doForeign}, {doAcquire}, {doFiles, fileRename}, {doSleep, 4}, {doAcquire, 4}, {doRelease}, {doRelease}, {doFiles, fileRename, 1}, {doFiles, fileRename, 2}, {doSleep, 4}, {doTry}, {doAcquire, 4}, {doForeign}, {doRelease}, {doRelease}}},
	{"held by itself, and lost", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, ctxMarked}, {doFiles, fileReplace}, {doTry}, {doSleep, 4}, {doTry}, {doTry}, {doAcquire}, {doAcquire, 8, ctxTwice}, {doRelease}, {doRelease}, {doTry}, {doFiles, fileReplace}, {doSleep, 4}, {doAcquire}, {doRelease}, {doRelease}}},
	{"directory deleted while they wait", [][3]byte{{doOpen}, {doOpen, 1}, {doForeign}, {doAcquire}, {doAcquire, 5}, {doBlocking, 8}, {doFiles, fileRemoveDir}, {doSleep, 6}, {doFiles, fileMakeDir}, {doTry}, {doRelease}, {doForeign}}},
	{"directory deleted under a hold while they wait", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4}, {doAcquire, 8}, {doFiles, fileRemoveDir}, {doSleep, 6}, {doTry, 12}, {doRelease}}},
	{"directory deleted, and somebody comes", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doFiles, fileRemoveDir}, {doSleep, 4}, {doAcquire, 8}, {doForeign}}},
	{"directory deleted under one who blocks on a lost file", [][3]byte{{doOpen}, {doForeign}, {doBlocking}, {doFiles, fileUnlink}, {doSleep, 6}, {doAcquire, 16}, {doFiles, fileRemoveDir}, {doAcquire, 8}, {doSleep, 4}, {doForeign}, {doSleep, 6}, {doRelease}}},
	{"directory deleted under pollers", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doAcquire, 4}, {doSleep, 5}, {doFiles, fileRemoveDir}, {doSleep, 4}, {doTry, 8}, {doForeign}}},
	{"circle", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doTry, 5}, {doAcquire, 1}, {doAcquire, 4}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doRelease}, {doRelease}, {doRelease}}},
	{"circle by way of a context", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doAcquire, 17, ctxMarked}, {doRelease, 1}, {doTry, 9}, {doAcquire, 13, ctxAgain}, {doAcquire, 8}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doSleep, 5}, {doRelease}, {doRelease}}},
	{"circle that is left by way of a lost sidecar", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry}, {doTry, 5}, {doAcquire, 1}, {doFiles, fileReplace}, {doSleep, 4}, {doAcquire, 4}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}}},
	{"every call fails", [][3]byte{{doOpen}, {doFail}, {doTry}, {doFail, 4}, {doTry}, {doForeign}, {doFail, 1}, {doAcquire}, {doFail, 2}, {doAcquire, 4}, {doAcquire, 8}, {doForeign}, {doFail, 3}, {doSleep, 2}, {doRelease}, {doTry}, {doRelease}, {doSleep, 4}, {doFail, 5}, {doTry}, {doFail, 6}, {doFiles, fileUnlink}, {doTry}, {doTry}, {doFail, 8}, {doDup}, {doRelease}, {doFail, 7}, {doClose}}},
	{"unlock fails, with a queue", [][3]byte{{doOpen}, {doOpen, 1}, {doFiles, fileLink}, {doOpen, 2, 1}, {doTry}, {doAcquire, 5}, {doAcquire, 10}, {doAcquire, 12}, {doSleep, 2}, {doSlow, 8}, {doDup}, {doFail, 3}, {doRelease}, {doGoOn}, {doRelease}, {doRelease}, {doRelease}}},
	{"unlock fails, draining", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doDrain}, {doFail, 3}, {doForeign}, {doTry}, {doRelease}}},
	{"everything slow", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doSlow}, {doAcquire}, {doTry, 4}, {doAcquire, 8}, {doCancel, 1}, {doTry, 5}, {doSleep, 5}, {doGoOn}, {doSlow, 3}, {doRelease}, {doRelease}, {doAcquire, 4}, {doTry, 9}, {doSleep, 5}, {doGoOn}, {doRelease}}},
	{"the slice ends", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doForeign}, {doForeign, 0, 3}, {doAcquire, 4}, {doRelease}, {doAcquire, 8}, {doSleep, 2}, {doRelease}, {doForeign}, {doRelease}, {doAcquire, 12}, {doSleep, 2}, {doRelease}, {doAcquire}, {doSleep, 1}, {doRelease}}},
	{"the slice ends, and somebody tries", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doForeign}, {doSleep, 2}, {doRelease}, {doTry}, {doRelease}}},
	{"no room for threads", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doNoThreads}, {doForeign}, {doForeign, 1, 1}, {doAcquire}, {doBlocking, 5}, {doAcquire, 8}, {doSleep, 4}, {doCancel}, {doForeign, 1}, {doSleep, 4}, {doNoThreads}, {doSleep, 5}, {doForeign}, {doRelease}, {doRelease}}},
	{"nobody left for the poller", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doSleep, 3}, {doCancel}, {doDrain}, {doAcquire}, {doClose}, {doForeign}, {doSleep, 4}, {doOpen}, {doTry}}},
}

func FuzzEngine(f *testing.F) {
	names := make(map[string]string)
	for _, s := range schedules {
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
		handedOver: make(map[*entry]uint64), taken: make(map[*entry]time.Time),
		changed: make(map[string]time.Time), turns: make(map[*entry]turn),
		failing: make(map[string]*fuzzError), slow: make(map[string]bool),
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

// event makes one thing happen, if it can.
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
		w.acquire(slot, a/numSlots, parking, b%numContexts)
	case doTry:
		w.acquire(slot, a/numSlots, trying, ctxPlain)
	case doBlocking:
		w.acquire(slot, a/numSlots, blocking, ctxPlain)
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
		w.foreign(a%numForeigners, path, b/numPaths%2 == 1)
	case doFiles:
		w.mischief(a%numFileMischief, b%numPaths)
	case doFail:
		call := fuzzCalls[a%len(fuzzCalls)]
		w.log("the next %s fails", call)
		w.frozen(func() { w.failing[call] = &fuzzError{call: call} })
	case doSlow:
		call := fuzzCalls[a%len(fuzzCalls)]
		w.log("the next %s does not return", call)
		w.frozen(func() { w.slow[call] = true })
	case doGoOn:
		w.goOn(a)
	case doSleep:
		d := fuzzSleeps[a%len(fuzzSleeps)]
		w.log("%v pass", d)
		time.Sleep(d)
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
