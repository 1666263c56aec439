package packlock

import (
	"fmt"
	"time"
)

// What shared holds add to the schedules and to the reference model.

// shared makes the b of a doAcquire that is shared from that of one that is not, and
// foreignWaits and foreignShared that of a doForeign.
const (
	shared        = numContexts
	foreignWaits  = numPaths
	foreignShared = 2 * numPaths
)

var sharedSchedules = []struct {
	name   string
	events [][3]byte
}{
	{"shared holds", [][3]byte{{doOpen}, {doTry, 0, 1}, {doAcquire, 4, shared}, {doTry, 8, 1}, {doForeign, 0, foreignShared}, {doCheck, 1}, {doDup, 1}, {doTry, 12}, {doRelease}, {doRelease}, {doRelease, 0, 1}, {doRelease}, {doForeign}}},
}

// grants reports whether h is a live hold of e.
func (e *entry) grants(h *fuzzHold) bool { return h.entry == e && e.isLiveLocked(h.Hold) }

// isRefused reports whether the acquire is one that its own caller excludes, by a hold that meets
// it.
func (w *world) isRefused(a *fuzzAcquire, meets func(h *fuzzHold) bool) bool {
	return w.callerHolds(a, func(h *fuzzHold) bool { return meets(h) && !(a.shared && h.shared) })
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
	if (e.turn == turnShared) != (e.group.n > 0) || e.group.closing && e.group.n == 0 {
		bad("the group is not that of a shared turn")
	}
	if e.turn != turnShared {
		return
	}
	if e.hold != nil || !e.shared || !f.inode.locked[f] || !f.inode.shared || f.inCall != "" {
		bad("the group does not have the lock shared")
	}
	if first := e.queue.first(); first != nil && first.hold.shared && !e.group.closing {
		bad("a shared waiter at the head of the queue was forgotten")
	}
	owned := make(map[uint64]int)
	for _, h := range w.holds {
		if h.entry == e && h.owner != nil {
			owned[h.owner.id]++
		}
	}
	for _, n := range e.group.owners {
		if n <= 0 {
			bad("an owner without a hold")
		}
	}
	if w.calling() || len(w.hanging) > 0 {
		return // an acquire may be a member that has not returned
	}
	if n := w.sharedHolds(e); n != e.group.n {
		bad("%d live holds", n)
	}
	if len(owned) != len(e.group.owners) {
		bad("%d owners, want %d", len(e.group.owners), len(owned))
	}
	for owner, n := range owned {
		if e.group.owners[owner] != n {
			bad("an owner has %d holds, want %d", e.group.owners[owner], n)
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
