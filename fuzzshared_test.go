package packlock

import (
	"fmt"
	"slices"
	"time"
)

// What shared holds add to the schedules and to the reference model.

// shared makes the b of a doAcquire that is shared from that of one that is not, and
// foreignWaits and foreignShared that of a doForeign.
const (
	shared        = numContexts
	foreignWaits  = numPaths
	foreignShared = 2 * numPaths
	foreignIntent = 4 * numPaths
)

var sharedSchedules = []struct {
	name   string
	events [][3]byte
}{
	{"shared holds", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4, shared}, {doTry, 8, 1}, {doForeign, 0, foreignShared}, {doCheck, 1}, {doDup, 1}, {doTry, 12}, {doRelease}, {doRelease}, {doRelease, 0, 1}, {doRelease}, {doForeign}}},
	{"both kinds in order", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4}, {doAcquire, 8, shared}, {doAcquire, 12, shared}, {doTry, 16, 1}, {doAcquire, 16}, {doAcquire, 20, shared}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"both kinds behind another process", [][3]byte{{doOpen}, {doForeign}, {doTry, 0, 1}, {doAcquire, 0, shared}, {doAcquire, 4}, {doAcquire, 8, shared}, {doForeign}, {doRelease}, {doRelease}, {doRelease}}},
	{"beside readers of other processes", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doTry}, {doTry, 0, 1}, {doForeign, 1, foreignWaits}, {doAcquire, 4, shared}, {doForeign, 2, foreignShared}, {doForeign}, {doAcquire, 8}, {doRelease}, {doRelease}, {doForeign, 2}, {doForeign, 1}, {doRelease}}},
	{"another process waits for a shared lock", [][3]byte{{doOpen}, {doTry}, {doForeign, 0, foreignWaits + foreignShared}, {doAcquire, 4, shared}, {doRelease}, {doTry, 8}, {doRelease}, {doForeign}}},
	{"re-entry of a shared hold", [][3]byte{{doOpen}, {doTry, 0, 1}, {doForeign, 0, foreignWaits}, {doAcquire, 4}, {doTry, 0, 1}, {doAcquire, 0, shared}, {doAcquire, 8, shared + ctxMarked}, {doTry}, {doAcquire, 12, ctxAgain}, {doTry, 16, 1}, {doRelease}, {doRelease}, {doRelease}, {doDetach}, {doAcquire, 12, shared + ctxAgain}, {doRelease}, {doForeign}, {doRelease}}},
	{"shared within exclusive", [][3]byte{{doOpen}, {doTry}, {doTry, 0, 1}, {doAcquire, 0, shared}, {doAcquire, 4, shared + ctxMarked}, {doDetach}, {doAcquire, 0, shared}, {doRelease}, {doRelease}}},
	{"a shared try beside one under way", [][3]byte{{doOpen}, {doSlow}, {doAcquire, 0, shared}, {doTry, 4, 1}, {doTry, 8}, {doGoOn}, {doRelease}, {doSlow, 3}, {doRelease}, {doTry, 4, 1}, {doTry, 8, 1}, {doGoOn}, {doRelease}, {doRelease}, {doSlow}, {doAcquire, 0, shared}, {doTry, 4, 1}, {doForeign}, {doGoOn}, {doForeign}}},

	// An exclusive waiter under an open group leaves the queue.
	{"cancelled in front of shared waiters", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4}, {doAcquire, 8, shared}, {doAcquire, 12, shared}, {doAcquire, 16}, {doAcquire, 20, shared}, {doCancel}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"a deadline in front of shared waiters", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4, ctxShort}, {doAcquire, 8, shared + ctxShort}, {doAcquire, 12, shared}, {doSleep, 3}, {doRelease}, {doRelease}}},
	{"closed in front of shared waiters", [][3]byte{{doOpen}, {doOpen, 1}, {doTry, 0, 1}, {doAcquire, 5}, {doAcquire, 8, shared}, {doAcquire, 13, shared}, {doAcquire, 16}, {doClose, 1}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost in front of shared waiters", [][3]byte{{doOpen}, {doFiles, fileLink}, {doOpen, 1, 1}, {doTry, 0, 1}, {doAcquire, 5}, {doAcquire, 8, shared}, {doAcquire, 13, shared}, {doFiles, fileReplace, 1}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"directory deleted in front of shared waiters", [][3]byte{{doOpen}, {doFiles, fileLink}, {doOpen, 1, 1}, {doTry, 0, 1}, {doAcquire, 5}, {doAcquire, 8, shared}, {doFiles, fileRemoveDir, 1}, {doSleep, 6}, {doRelease}, {doRelease}}},
	{"directory deleted, and the next waiter came by another path", [][3]byte{{doOpen}, {doFiles, fileLink}, {doAcquire}, {doSleep, 6}, {doFiles, fileRemoveDir}, {doRelease}, {doSlow}, {doAcquire, 8, shared}, {doSleep, 4}, {doOpen, 3, 1}, {doBlocking, 3}, {doAcquire, 12}, {doGoOn}, {doRelease}}},
	{"deadlock in front of shared waiters", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry, 0, 1}, {doTry, 5}, {doAcquire, 1}, {doSleep, 3}, {doAcquire, 4}, {doAcquire, 8, shared}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}}},
	{"deadlock through one of the shared holds", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry, 0, 1}, {doTry, 4, 1}, {doTry, 9}, {doAcquire, 8}, {doAcquire, 5}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}}},
	{"deadlock that ends because a shared waiter joins", [][3]byte{{doOpen}, {doOpen, 1, 1}, {doTry, 0, 1}, {doTry, 5}, {doAcquire, 8}, {doAcquire, 4, shared}, {doAcquire, 1}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},

	// The head of the queue changes its kind during a call.
	{"the first waiter changes from exclusive to shared while parked", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4, shared}, {doAcquire, 8}, {doCancel}, {doForeign}, {doRelease}, {doRelease}}},
	{"the same, as it is granted", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doAcquire, 4, shared}, {doAcquire, 8}, {doSlow, 2}, {doForeign}, {doCancel}, {doGoOn}, {doRelease}, {doRelease}}},
	{"the first waiter changes from shared to exclusive while parked", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 0, shared}, {doAcquire, 4}, {doAcquire, 8, shared}, {doCancel}, {doForeign}, {doRelease}, {doRelease}}},
	{"the same, as it is granted to it", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 0, shared}, {doAcquire, 4}, {doSlow, 2}, {doForeign}, {doCancelAnd}, {doGoOn}, {doRelease}}},
	{"the first waiter changes its kind under a poller", [][3]byte{{doOpen}, {doNoThreads}, {doForeign}, {doAcquire}, {doAcquire, 4, shared}, {doAcquire, 8}, {doSleep, 3}, {doSlow}, {doSleep, 5}, {doCancel}, {doGoOn}, {doForeign}, {doSleep, 5}, {doRelease}, {doSleep, 5}, {doRelease}}},
	{"the first waiter changes its kind during a conversion", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, shared}, {doAcquire, 8}, {doSlow, 10}, {doRelease}, {doCancel}, {doGoOn}, {doRelease}}},
	{"no waiter is left after a conversion", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, shared}, {doSlow, 10}, {doRelease}, {doClose}, {doGoOn}, {doOpen}, {doTry}}},
	{"others come during a conversion", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, shared}, {doForeign, 0, foreignWaits + foreignShared}, {doSlow, 10}, {doRelease}, {doAcquire, 8, shared}, {doTry, 12, 1}, {doAcquire, 16}, {doGoOn}, {doForeign}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"a conversion fails", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, shared}, {doAcquire, 8, shared}, {doFail, 10}, {doRelease}, {doRelease}, {doRelease}}},

	{"granted exclusively to a shared waiter", [][3]byte{{doOpen}, {doForeign}, {doForeign, 1, foreignWaits + foreignShared}, {doAcquire}, {doAcquire, 4, shared}, {doFail, 6}, {doCancel}, {doForeign, 1}, {doForeign}, {doForeign, 1}, {doTry, 8, 1}, {doRelease}, {doRelease}}},

	// A member in the making is the last one, and is cancelled, lost, closed or wanted.
	{"cancel of the last member in the making", [][3]byte{{doOpen}, {doTry, 0, 1}, {doSleep, 4}, {doSlow, 5}, {doAcquire, 4, shared}, {doRelease}, {doAcquire, 8}, {doCancel}, {doGoOn}, {doRelease}}},
	{"the last member in the making is lost", [][3]byte{{doOpen}, {doTry, 0, 1}, {doFiles, fileReplace}, {doSleep, 4}, {doSlow, 5}, {doAcquire, 4, shared}, {doRelease}, {doAcquire, 8}, {doGoOn}, {doRelease}, {doRelease}}},
	{"the check of the last member in the making fails", [][3]byte{{doOpen}, {doTry, 0, 1}, {doSleep, 4}, {doSlow, 5}, {doFail, 5}, {doAcquire, 4, shared}, {doRelease}, {doAcquire, 8}, {doAcquire, 12, shared}, {doGoOn}, {doRelease}, {doRelease}}},
	{"close of the last member in the making", [][3]byte{{doOpen}, {doTry, 0, 1}, {doSleep, 4}, {doSlow, 9}, {doAcquire, 4, shared}, {doRelease}, {doClose}, {doGoOn}, {doOpen}, {doTry}}},
	{"cancel against joining", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4}, {doAcquire, 8, shared}, {doAcquire, 12, shared}, {doCancelAnd, 1}, {doCancel}, {doRelease}, {doRelease}}},
	{"cancel against hand over to shared waiters", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, shared}, {doAcquire, 8, shared}, {doAcquire, 12}, {doCancelAnd}, {doRelease}, {doRelease}, {doRelease}}},
	{"the last member cannot unlock", [][3]byte{{doOpen}, {doTry, 0, 1}, {doTry, 4, 1}, {doAcquire, 8}, {doRelease}, {doFail, 3}, {doRelease}, {doRelease}}},

	// Orphaned waits.
	{"shared waiters go past an orphaned wait", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doCancel}, {doDrain}, {doAcquire, 4, shared}, {doAcquire, 8, shared}, {doTry, 12, 1}, {doRelease}, {doRelease}, {doRelease}, {doAcquire}, {doCancel}, {doAcquire, 4, shared}, {doForeign}, {doRelease}, {doTry}}},
	{"an orphaned wait that was left behind is adopted", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doAcquire, 4, shared}, {doCancel}, {doAcquire, 8}, {doRelease}, {doDrain}, {doForeign}, {doRelease}}},
	{"orphaned waits of both kinds", [][3]byte{{doOpen}, {doForeign}, {doAcquire}, {doCancel}, {doAcquire, 4, shared}, {doCancel}, {doDrain}, {doAcquire, 8}, {doAcquire, 12, shared}, {doCancel}, {doForeign}, {doRelease}}},
	{"an exclusive acquire adopts an orphaned shared wait", [][3]byte{{doOpen}, {doForeign}, {doAcquire, 0, shared}, {doCancel}, {doDrain}, {doAcquire, 4}, {doForeign}, {doRelease}}},
	{"an orphaned wait unlocks while others come", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doCancel}, {doAcquire, 4, shared}, {doForeign}, {doSlow, 3}, {doRelease}, {doSlow, 3}, {doGoOn}, {doAcquire, 8, shared}, {doAcquire, 12}, {doDrain}, {doGoOn}, {doRelease}, {doRelease}}},
	{"an orphaned wait that was left behind cannot unlock", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doCancel}, {doAcquire, 4, shared}, {doRelease}, {doFail, 3}, {doForeign}, {doTry, 4}, {doRelease}}},
	{"no second description for now", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doCancel}, {doFail, 6}, {doAcquire, 4, shared}, {doDrain}, {doSleep, 6}, {doRelease}, {doForeign}}},
	{"no second description, and the reader gives up", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doCancel}, {doSlow, 6}, {doAcquire, 4, shared}, {doAcquire, 8}, {doDrain}, {doCancel}, {doGoOn}, {doForeign}, {doRelease}}},
	{"unlock fails beside an orphaned wait that was left behind", [][3]byte{{doFail, 3}, {doForeign, 0, foreignWaits + foreignShared}, {doOpen, 1}, {doForeign, 1, foreignWaits + foreignIntent}, {doAcquire, 13}, {doAcquire, 1, shared + ctxShort}, {doCancelAnd}, {doSleep, 5}}},
	{"lost with an orphaned wait that was left behind", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doCancel}, {doAcquire, 4, shared}, {doFiles, fileReplace}, {doSleep, 4}, {doAcquire, 8, shared}, {doAcquire, 12}, {doRelease}, {doRelease}, {doForeign}, {doRelease}}},
	{"a shared try goes past an orphaned wait on a lost file", [][3]byte{{doOpen}, {doForeign}, {doFiles}, {doAcquire}, {doCancel}, {doSleep, 4}, {doSlow, 5}, {doTry, 4, 1}, {doTry, 8, 1}, {doGoOn}, {doRelease}, {doRelease}, {doForeign}}},
	{"closed with an orphaned wait that was left behind", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doAcquire}, {doCancel}, {doAcquire, 4, shared}, {doClose}, {doRelease}, {doOpen}, {doAcquire, 8, shared}, {doRelease}, {doForeign}, {doTry}}},

	// Readers that make room for writers of other processes.
	{"readers yield to a writer that announces itself", [][3]byte{{doOpen}, {doTry, 0, 1}, {doForeign, 0, foreignWaits + foreignIntent}, {doSleep, 2}, {doAcquire, 4, shared}, {doTry, 0, 1}, {doTry, 8, 1}, {doAcquire, 12}, {doRelease}, {doRelease}, {doSleep, 4}, {doForeign}, {doSleep, 4}, {doRelease}, {doRelease}}},
	{"the first reader finds an announcement", [][3]byte{{doOpen}, {doForeign, 0, foreignShared}, {doForeign, 1, foreignWaits + foreignIntent}, {doAcquire, 0, shared}, {doAcquire, 4}, {doTry, 8, 1}, {doCancel}, {doAcquire, 0, shared}, {doForeign}, {doForeign, 1}, {doRelease}, {doSleep, 5}, {doRelease}}},
	{"a writer that was stopped is waited for once", [][3]byte{{doOpen}, {doForeign, 0, foreignShared + foreignIntent}, {doAcquire, 0, shared}, {doSleep, 6}, {doRelease}, {doAcquire, 0, shared}, {doRelease}, {doForeign}}},
	{"a group closes for its own sake", [][3]byte{{doOpen}, {doTry, 0, 1}, {doSleep, 5}, {doAcquire, 4, shared}, {doAcquire, 8, shared}, {doTry, 12, 1}, {doAcquire, 16}, {doTry, 20, 1}, {doTry, 0, 1}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"a group that does not drain opens again", [][3]byte{{doOpen}, {doTry, 0, 1}, {doSleep, 5}, {doAcquire, 4, shared}, {doAcquire, 8, shared}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}}},

	// Holds that are converted.
	{"downgraded and upgraded", [][3]byte{{doOpen}, {doTry}, {doConvert}, {doTry, 4, 1}, {doConvert}, {doConvert, 1}, {doRelease}, {doConvert}, {doTry, 4, 1}, {doCheck}, {doRelease}}},
	{"downgraded with waiters", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, shared}, {doAcquire, 8}, {doAcquire, 12, shared}, {doConvert}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"upgraded with waiters", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4}, {doAcquire, 8, shared}, {doConvert}, {doRelease}, {doRelease}, {doRelease}}},
	{"upgraded while others wait in the kernel", [][3]byte{{doOpen}, {doTry, 0, 1}, {doForeign, 0, foreignWaits}, {doConvert}, {doForeign}, {doTry}, {doForeign, 0, foreignWaits + foreignShared}, {doConvert}, {doConvert}, {doRelease}, {doForeign}}},
	{"upgraded beside readers of other processes", [][3]byte{{doOpen}, {doTry, 0, 1}, {doForeign, 0, foreignShared}, {doConvert}, {doForeign}, {doConvert}, {doConvert}, {doRelease}}},
	{"others come during an upgrade", [][3]byte{{doOpen}, {doTry, 0, 1}, {doSlow, 3}, {doConvert}, {doTry, 4, 1}, {doAcquire, 4, shared}, {doAcquire, 8, ctxMarked}, {doFiles, fileReplace}, {doGoOn}, {doConvert}, {doRelease}, {doRelease}, {doRelease}}},
	{"others come during a downgrade", [][3]byte{{doOpen}, {doTry}, {doSlow, 10}, {doConvert}, {doTry, 4, 1}, {doAcquire, 8, shared}, {doAcquire, 12}, {doGoOn}, {doRelease}, {doRelease}, {doRelease}}},
	{"a downgrade fails", [][3]byte{{doOpen}, {doTry}, {doAcquire, 4, shared}, {doFail, 10}, {doConvert}, {doTry}, {doFail, 10}, {doFail, 3}, {doRelease}, {doTry}, {doConvert}}},
	{"downgraded after it was detached", [][3]byte{{doOpen}, {doTry}, {doDetach}, {doConvert}, {doTry, 0, 1}, {doRelease}, {doRelease}}},
	{"an upgrade fails", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4}, {doFail}, {doConvert}, {doRelease}, {doTry, 0, 1}, {doFail, 3}, {doConvert}, {doTry}}},

	// A group whose file is lost.
	{"lost under shared holds", [][3]byte{{doOpen}, {doTry, 0, 1}, {doTry, 4, 1}, {doFiles, fileReplace}, {doSleep, 2}, {doAcquire, 0, shared}, {doAcquire, 8}, {doCheck}, {doCheck, 1}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"lost under shared holds, and the new file is locked", [][3]byte{{doOpen}, {doTry, 0, 1}, {doFiles, fileReplace}, {doOpen, 1}, {doTry, 5}, {doSleep, 2}, {doAcquire, 8, shared}, {doTry, 12, 1}, {doRelease, 1}, {doRelease}, {doRelease}}},
	{"lost under shared holds with waiters", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4}, {doAcquire, 8, shared}, {doAcquire, 12}, {doFiles, fileReplace}, {doSleep, 6}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
	{"a shared waiter finds that the file was lost when it joins", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4}, {doAcquire, 8, shared}, {doAcquire, 12, shared}, {doAcquire, 16}, {doFiles, fileUnlink}, {doSleep, 5}, {doCancel}, {doRelease}, {doRelease}, {doRelease}, {doRelease}}},
}

// grants reports whether h is a live hold of e.
func (e *entry) grants(h *fuzzHold) bool { return h.entry == e && e.isLiveLocked(h.Hold) }

// isRefused reports whether the acquire is one that its own caller excludes, by a hold that meets
// it.
func (w *world) isRefused(a *fuzzAcquire, meets func(h *fuzzHold) bool) bool {
	return w.callerHolds(a, func(h *fuzzHold) bool { return meets(h) && !(a.shared && h.shared) })
}

// isAnnounced reports whether another process has announced itself on the file, or had until a
// moment ago: readers that have yielded ask once more.
func (w *world) isAnnounced(i *fakeInode) bool {
	at, ok := w.withdrawn[i]
	return ok && time.Since(at) < 2*yieldMax || slices.ContainsFunc(w.boards[:], func(b *fakeBoard) bool { return b != nil && b.inode == i })
}

// withdraw withdraws the announcement of a foreigner.
func (w *world) withdraw(which int) {
	w.frozen(func() {
		if b := w.boards[which]; b != nil {
			w.boards[which] = nil
			w.withdrawn[b.inode] = time.Now()
			delete(b.inode.announced, b)
		}
	})
}

// sharedHolds returns how many live shared holds there are of e.
func (w *world) sharedHolds(e *entry) (n int) {
	for _, h := range w.holds {
		if h.shared && h.entry == e {
			n++
		}
	}
	return n
}

// mayAwaitTry reports whether the queued acquire, which is a try, waits only for how a shared
// acquire ends that has the turn.
func (w *world) mayAwaitTry(a *fuzzAcquire, e *entry) bool {
	return a.shared && e.turn == turnTaken && e.shared && w.underWay(e)
}

// descriptors returns how many descriptors e has open.
func (w *world) descriptors(e *entry) (n int) {
	if !e.closed {
		n++
	}
	for _, f := range []file{e.spare, e.orphan.file} {
		if f != nil && !f.(*fakeFile).closed {
			n++
		}
	}
	return n
}

// checkGroup checks the holds that have the lock shared.
func (w *world) checkGroup(e *entry) {
	f := e.active.(*fakeFile)
	bad := func(format string, args ...any) {
		w.fail("%s, turn %d, %d queued, %d members: %s", f.path, e.turn, e.queue.n, e.group.n, fmt.Sprintf(format, args...))
	}
	if (e.turn == turnShared) != (e.group.n > 0) || e.group.closing != notClosing && e.group.n == 0 {
		bad("the group is not that of a shared turn")
	}
	if e.turn != turnShared {
		return
	}
	if e.hold != nil || !e.shared || !f.inode.locked[f] || !f.inode.shared || f.inCall != "" {
		bad("the group does not have the lock shared")
	}
	if first := e.queue.first(); first != nil && first.hold.shared && e.group.closing == notClosing {
		bad("a shared waiter at the head of the queue was forgotten")
	}
	owned := make(map[uint64]int)
	for _, h := range w.holds {
		if h.entry == e && h.owner != nil {
			owned[h.owner.id]++
		}
	}
	owners := slices.Collect(e.group.owners.all())
	if w.calling() || len(w.hanging) > 0 {
		return // an acquire may be a member that has not returned
	}
	if n := w.sharedHolds(e); n != e.group.n {
		bad("%d live holds", n)
	}
	if len(owned) != len(owners) {
		bad("%d owners, want %d", len(owners), len(owned))
	}
	for owner, n := range owned {
		if e.group.owners.of(owner) != n {
			bad("an owner has %d holds, want %d", e.group.owners.of(owner), n)
		}
	}
}

// checkOrphan checks an orphaned wait that was left behind, and that none holds up readers.
func (w *world) checkOrphan(e *entry) {
	f := e.active.(*fakeFile)
	bad := func(format string, args ...any) {
		w.fail("%s, turn %d, %d queued, orphan %+v: %s", f.path, e.turn, e.queue.n, e.orphan, fmt.Sprintf(format, args...))
	}
	if e.spare != nil {
		if spare := e.spare.(*fakeFile); e.orphan.file != nil || spare.inCall != "" || f.inode.locked[spare] || spare == f {
			bad("the spare description is in use")
		}
	}
	if e.orphan.opening && !w.hangs("open") {
		bad("a second description is not being opened")
	}
	if e.orphan.file != nil {
		orphan := e.orphan.file.(*fakeFile)
		waits := orphan.inCall == "block" && !w.hangs("block", "blocked")
		switch {
		case orphan == f || orphan.inode != f.inode || e.orphan.unlocking != (orphan.inCall == "unlock"):
			bad("it is not what was left behind")
		case waits && (len(orphan.inode.locked) == 0 || orphan.inode.locked[orphan]):
			bad("the lock is free, and the orphaned wait goes on")
		case waits && e.turn == turnParked && !e.shared:
			bad("two threads wait for the same kind")
		}
		return
	}
	first := e.queue.first()
	if e.turn != turnParked || e.shared || first == nil || !first.hold.shared || !f.inode.shared || w.calling() || len(w.hanging) > 0 {
		return
	}
	since := w.watchDelayedAt
	if changed := w.changed[first.lock.path]; changed.After(since) {
		since = changed
	}
	if waited := time.Since(since); waited > watchInterval+2*pathCheckAge {
		bad("a reader waits for an orphaned wait, though only readers have the lock, for %v", waited)
	}
}

// checkYield checks that readers do not yield forever to writers of other processes, nor for a
// group that closes.
func (w *world) checkYield(e *entry) {
	f := e.active.(*fakeFile)
	first := e.queue.first()
	yields := first != nil && first.hold.shared && (e.turn == turnPolled || e.turn == turnShared) &&
		(len(f.inode.locked) == 0 || f.inode.shared)
	since, known := w.yieldingSince[e]
	switch {
	case !yields || len(w.hanging) > 0:
		delete(w.yieldingSince, e)
	case !known:
		w.yieldingSince[e] = time.Now()
	case time.Since(since) > maxYield+2*watchInterval+pollMax:
		w.fail("%s: a reader has yielded for %v", f.path, time.Since(since))
	}
}

// cycle returns the acquires that wait in a cycle with a, nil if there is none. With deadlock,
// each of them waits for a hold that excludes it, and not only for its place in the queue.
func (w *world) cycle(a *fuzzAcquire, deadlock bool) []*fuzzAcquire {
	var visited []*fuzzAcquire
	var from func(b *fuzzAcquire) []*fuzzAcquire
	from = func(b *fuzzAcquire) []*fuzzAcquire {
		e := w.queued(b)
		if e == nil || slices.Contains(visited, b) || deadlock && b.shared && e.turn == turnShared {
			return nil
		}
		visited = append(visited, b)
		for _, h := range w.holds {
			if !e.grants(h) || h.owner == nil {
				continue
			}
			for _, next := range w.acquires {
				if h.owner != next.goroutine && (next.ctx == nil || !slices.Contains(next.ctx.marks, h)) {
					continue
				}
				if next == a && w.queued(a) != nil {
					return []*fuzzAcquire{b}
				}
				if path := from(next); path != nil {
					return append(path, b)
				}
			}
		}
		return nil
	}
	return from(a)
}

// checkCycle checks that the acquire has not waited in a cycle for long.
func (w *world) checkCycle(a *fuzzAcquire) {
	cycle := w.cycle(a, false)
	if cycle == nil {
		return
	}
	since := w.watchDelayedAt
	for _, b := range cycle {
		for _, t := range []time.Time{b.arrived, w.changed[b.lock.path]} {
			if t.After(since) {
				since = t
			}
		}
	}
	if waited := time.Since(since); waited > 3*deadlockAge {
		w.fail("%s: has waited in a cycle of %d for %v", a.what, len(cycle), waited)
	}
}
