package packlock

import "context"

// A group is the holds that have the lock shared, in this process, by one shared lock of
// the kernel. It is part of an entry, and guarded by its mu.
//
// An acquire that finds the turn free opens the group: it takes the kernel's lock like any
// other and, as its last step, changes the turn from taken to shared. Whoever is a member owns the
// turn together with the others. So no call locks or unlocks the file while there are members, and
// to join and to leave takes no system call. The last member to leave takes the turn for
// itself, and gives it back with the kernel's lock.
//
//	n        how many members there are. It is not 0 if and only if the turn is shared.
//	owners   how many of them belong to each goroutine
//	closing  set by a member when the group must not be joined any more, except by a
//	         goroutine that is in it already. It is reset with the last member.
//
// While the group is open and not closing, the queue is empty or its head is exclusive:
// first come, first served. Therefore each goroutine that takes a waiter out of the queue
// calls headChangedLocked, which lets the shared waiters that have come to the head join.
type group struct {
	n       int
	owners  map[uint64]int
	closing bool
}

// joinableLocked reports whether an acquire of a goroutine that is no member may join.
func (e *entry) joinableLocked() bool {
	return e.turn == turnShared && e.queue.n == 0 && !e.group.closing
}

// mayJoinLocked reports whether a shared acquire of l by the goroutine, with a context of the
// marks, may join: as long as its caller is a member, it always may.
func (e *entry) mayJoinLocked(l *lock, goroutine uint64, marks *mark) bool {
	return e.joinableLocked() ||
		e.turn == turnShared && (l.options.unowned || e.heldByLocked(goroutine, marks))
}

// sharedInTheMakingLocked reports whether an acquire is about to open the group, or has only
// failed to yet, or the last member gives back the lock. A shared try that arrives meanwhile
// would find the lock busy though no hold excludes it. So it waits for how that
// ends, unless an exclusive waiter is in front.
func (e *entry) sharedInTheMakingLocked() bool {
	w := e.queue.last()
	return e.turn == turnTaken && e.shared && (w == nil || w.trying)
}

// refuseTriesLocked ends the waits of shared tries: the turn's owner is about to wait for a
// different process.
func (e *entry) refuseTriesLocked() {
	deliverError(e.queue.removeFunc(func(w *waiter) bool { return w.trying }), ErrBusy)
}

// joinLocked makes h, of the goroutine owner, a member of the group.
func (e *entry) joinLocked(h *Hold, owner uint64) {
	g := &e.group
	if g.owners == nil {
		g.owners = make(map[uint64]int)
	}
	g.n++
	g.owners[owner]++
	h.entry, h.owner, h.member = e, owner, true
}

// disown makes the member h belong to no goroutine.
func (g *group) disown(h *Hold) {
	if h.owner == 0 {
		return
	}
	if g.owners[h.owner]--; g.owners[h.owner] == 0 {
		delete(g.owners, h.owner)
	}
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
	e.admitLocked()
}

// admitLocked lets the shared waiters at the head of the queue join the group, if it is
// open.
func (e *entry) admitLocked() {
	if e.turn != turnShared || e.group.closing {
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
	e.closeGroupLocked(h)
	return e.giveBackLocked(handedOver)
}

// closeGroupLocked takes the last member h out of the group, and the turn for the caller.
func (e *entry) closeGroupLocked(h *Hold) {
	e.removeMemberLocked(h)
	e.group.closing = false
	e.turn = turnTaken
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

// verifyJoined reports whether the file of the group that the acquire has joined is the one
// at the path of the Lock, as far as that must be checked. If not, the acquire has left the
// group.
func (a *acquisition) verifyJoined() (bool, error) {
	e, loc := a.entry, a.lock.location.Load()
	same, err := false, error(nil)
	if loc.entry == e { // or the Lock has moved
		same, err = e.verifyHandedOver(loc, now())
	}
	if same && err == nil {
		return true, nil
	}
	e.mu.Lock()
	e.leaveLocked(a.hold)
	return false, err
}

// arriveAgain arrives again after the acquire has left a group whose file is lost, at the
// file that is at the path now. The other members keep the old one.
func (a *acquisition) arriveAgain(ctx context.Context) (acquireState, error) {
	e, loc := a.entry, a.lock.location.Load()
	a.state = nothing
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
			// It can be closed when the last member has left.
			e.mu.Lock()
			e.group.closing = e.turn == turnShared
			e.mu.Unlock()
		}
	}
	return a.arrive(ctx)
}
