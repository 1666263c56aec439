package packlock

import (
	"context"
	"slices"
	"time"
)

// A group is the shared holds of one file in this process. They have one shared lock of the
// kernel in common. The group is part of an entry, and guarded by its mu.
//
// A shared acquire that finds the turn free opens the group: it acquires the kernel's lock
// like an exclusive one does and, as its last step, changes the turn from taken to shared.
// The members own the turn together. While there are members, no call locks or unlocks the
// file, so joining and leaving take no system call. The last member to leave takes the turn
// for itself, and gives it back with the kernel's lock.
//
//	n        how many members there are. It is not 0 if and only if the turn is shared.
//	owners   how many of them belong to each goroutine
//	closing  set by a member when no other goroutine may join any more. It is reset when the
//	         last member leaves, when the reason is gone, or when that takes too long: a member
//	         may wait for an acquire that waits for the group.
//
// While the group is not closing, the queue is empty or its head is exclusive:
// first come, first served. Therefore each goroutine that takes a waiter out of the queue
// calls headChangedLocked, which lets the shared waiters that have come to the head join.
type group struct {
	n       int
	owners  owners
	closing closing
}

// closing tells whether the group must not be joined any more, and why.
type closing uint8

const (
	notClosing    closing = iota
	sliceEnded            // other processes get a chance; a try may join nevertheless
	writerWaits           // a writer of another process has announced itself
	fileKeepsName         // its file is lost, and only closing it can make room for a new one
)

// joinableLocked reports whether an acquire of a goroutine that is no member may join.
func (e *entry) joinableLocked() bool {
	return e.turn == turnShared && e.queue.n == 0 && e.group.closing == notClosing
}

// mayJoinLocked reports whether a shared acquire of l by the goroutine, with a context of the
// marks, may join: as long as its caller is a member it always may, unless the file is lost.
func (e *entry) mayJoinLocked(l *lock, goroutine uint64, marks *mark) bool {
	return e.joinableLocked() || e.turn == turnShared && e.group.closing != fileKeepsName &&
		(l.options.unowned || e.heldByLocked(goroutine, marks))
}

// tryMayJoinLocked reports whether a shared try may join: also a group that closes though no
// writer is known to wait, in this process or a different one.
func (e *entry) tryMayJoinLocked() bool {
	waited := e.group.closing == writerWaits && age(now(), e.courtesy.closedAt) >= maxTryYield
	if e.turn != turnShared || e.group.closing != sliceEnded && !waited {
		return false
	}
	for w := range e.queue.all() {
		if !w.hold.shared {
			return false
		}
	}
	return true
}

// tryMayWaitLocked reports whether a shared try waits, for a call that does not wait for the
// lock. A shared acquire may be under way that opens the group, or the last member gives back
// the lock: then the try would find the lock busy although no hold excludes it. Or an
// orphaned wait is in the way, and is about to be left behind. An exclusive waiter must not
// be in front.
func (e *entry) tryMayWaitLocked() bool {
	w := e.queue.last()
	switch e.turn {
	case turnTaken:
		return e.shared && (w == nil || w.trying)
	case turnParked:
		return !e.shared && e.orphan.file == nil && (w == nil || w.trying)
	}
	return false
}

// refuseTriesLocked ends the waits of shared tries: the turn's owner is about to wait for a
// different process.
func (e *entry) refuseTriesLocked() {
	deliverError(e.queue.removeFunc(func(w *waiter) bool { return w.trying }), ErrBusy)
}

// joinLocked makes h, of the goroutine owner, a member of the group.
func (e *entry) joinLocked(h *Hold, owner uint64) {
	e.group.n++
	e.group.owners.add(owner, 1)
	h.entry, h.owner, h.member = e, owner, true
}

// disown makes the member h belong to no goroutine.
func (g *group) disown(h *Hold) {
	g.owners.add(h.owner, -1)
	h.owner = 0
}

// openGroup makes h, which has the turn and the kernel's lock, the first member, and lets
// the shared waiters at the head of the queue join.
func (e *entry) openGroup(h *Hold) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.turn != turnTaken || e.hold != h || e.group.n != 0 {
		panic("packlock: group opened without the turn")
	}
	e.turn = turnShared
	e.hold = nil
	e.joinLocked(h, h.owner)
	if slices.ContainsFunc(e.locations, func(loc *location) bool { return loc.options.unowned }) {
		e.admitUnownedLocked()
	}
	e.admitLocked()
	e.refreshIntentLocked()
}

// admitUnownedLocked lets the shared waiters of unowned Locks join the group, wherever in
// the queue they are. Those that arrive later do so by themselves.
func (e *entry) admitUnownedLocked() {
	for w := range e.queue.all() {
		if w.hold.shared && w.lock.options.unowned {
			e.queue.remove(w)
			e.joinLocked(w.hold, w.owner)
			w.deliver(joined)
		}
	}
}

// admitLocked lets the shared waiters at the head of the queue join the group, if it is
// open.
func (e *entry) admitLocked() {
	if e.turn != turnShared || e.group.closing != notClosing {
		return
	}
	for w := e.queue.first(); w != nil && w.hold.shared; w = e.queue.first() {
		e.queue.remove(w)
		e.joinLocked(w.hold, w.owner)
		w.deliver(joined)
	}
}

// leaveLocked takes the member h out of the group. The last one gives back the turn and
// the kernel's lock, as giveBackLocked does. Either way e.mu is unlocked.
func (e *entry) leaveLocked(h *Hold) error {
	if e.group.n > 1 {
		e.removeMemberLocked(h)
		e.mu.Unlock()
		return nil
	}
	if e.endGroupLocked(h) != notClosing {
		e.courtesy.drained(now())
		e.mu.Unlock()
		return e.unlockAndPass()
	}
	return e.giveBackLocked(handedOver)
}

// endGroupLocked takes the last member h out of the group, and the turn for the caller. It
// returns why the group was closing.
func (e *entry) endGroupLocked(h *Hold) closing {
	was := e.group.closing
	e.removeMemberLocked(h)
	e.group.closing = notClosing
	e.turn = turnTaken
	return was
}

// closeGroupLocked closes the group at time t, if it is open.
func (e *entry) closeGroupLocked(why closing, t int64) {
	if e.turn == turnShared && e.group.closing < why {
		e.group.closing = why
		e.courtesy.closedAt = t
		if why == writerWaits && (!e.courtesy.awaiting || inBubble(e.courtesy.awaitedAt) != inBubble(t)) {
			e.courtesy.awaiting, e.courtesy.awaitedAt = true, t
			e.awaitWriterAfter(yieldMin)
		}
		if why == sliceEnded {
			time.AfterFunc(sliceDrain(e.fair.lockedAt, t), func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				if e.courtesy.closedAt == t {
					e.reopenGroupLocked(sliceEnded, now())
				}
			})
		}
	}
}

// reopenGroupLocked opens the group again at time t, if it has closed for that reason.
func (e *entry) reopenGroupLocked(why closing, t int64) {
	if e.turn == turnShared && e.group.closing == why {
		e.group.closing = notClosing
		e.courtesy.drained(t)
		e.courtesy.reopenedAt = t
		e.admitLocked()
		e.refreshIntentLocked() // an exclusive waiter may be at the head now
	}
}

func (e *entry) removeMemberLocked(h *Hold) {
	if !h.member || e.turn != turnShared {
		panic("packlock: hold leaves a group that it is no member of")
	}
	e.group.disown(h)
	h.member = false
	e.group.n--
}

// isLiveLocked reports whether h, which was granted by e, has been released yet.
func (e *entry) isLiveLocked(h *Hold) bool { return e.hold == h || h.member }

// giveUpLocked ends the hold h, live or in the making, and unlocks e.mu: a member leaves
// the group, any other gives back the turn and the kernel's lock.
func (e *entry) giveUpLocked(h *Hold, as acquireState) error {
	if h.member {
		return e.leaveLocked(h)
	}
	return e.giveBackLocked(as)
}

// stay reports whether an acquire that has joined the group may stay. Otherwise it leaves,
// and arrives again: because the file of the group is lost, or because a writer of another
// process waits.
func (a *acquisition) stay(ctx context.Context) (bool, error) {
	e, loc := a.entry, a.lock.location.Load()
	t := now()
	same, err := false, error(nil)
	if loc.entry == e { // or the Lock has moved
		same, err = e.verifyHandedOver(loc, t)
	}
	ok := same && err == nil
	if ok && (!e.mustClose(a.lock, t) || a.waiter != nil && a.waiter.stays) {
		return true, nil
	}
	e.mu.Lock()
	e.leaveLocked(a.hold)
	a.state = nothing
	switch {
	case err != nil:
	case ok:
		a.state, err = a.arrive(ctx)
	default:
		a.state, err = a.arriveAgain(ctx, loc)
	}
	return false, err
}

// mustClose closes the group at time t if a writer of another process waits, or if its slice
// is over. It reports whether a writer waits: then the caller must leave.
func (e *entry) mustClose(l *lock, t int64) bool {
	wanted := !l.options.anyFile && e.courtesy.shouldAsk(t) && e.findIntent()
	sliceIsOver := time.Duration(t-e.fair.lockedAt) >= groupSlice
	if !wanted && !sliceIsOver {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if wanted {
		e.closeGroupLocked(writerWaits, t)
	} else if e.courtesy.shouldClose(e.fair.lockedAt, t) {
		e.closeGroupLocked(sliceEnded, t)
	}
	return wanted
}

// arriveAgain arrives again after the acquire has left a group of loc whose file is lost, at
// the file that is at the path now. The other members keep the old one.
func (a *acquisition) arriveAgain(ctx context.Context, loc *location) (acquireState, error) {
	e := a.entry
	if a.moves++; a.moves > maxMoves {
		return nothing, errLostAgain
	}
	if loc.entry == e {
		to, _, err := e.reg.relocate(loc, nil)
		if err != nil {
			return nothing, err
		}
		if to == nil {
			// No other file can be at the path while this one is open (errDeletePending).
			e.mu.Lock()
			if slices.Contains(e.locations, loc) { // or the Locks have moved, or are closed
				e.closeGroupLocked(fileKeepsName, now())
			}
			e.mu.Unlock()
		}
	}
	return a.arrive(ctx)
}
