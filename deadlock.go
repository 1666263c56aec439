package packlock

import (
	"cmp"
	"slices"
)

// Goroutines of one process may wait for each other in a cycle: each holds a pack
// that the one before it waits for. An acquire waits for the live hold of its pack. It
// waits on behalf of the holds of its goroutine, and of those that its context runs
// under (Hold.Context). A hold that was detached belongs to no goroutine and waits for
// nothing. Nothing is known of cycles between processes.
//
// A waiter that has waited for deadlockAge is entered in the registry's table of long
// waits, and then the wait-for graph is searched from the hold that it waits for, until no
// cycle is found. So the waiter of a cycle that is entered last finds it. No grant can close
// a cycle, because a goroutine that was just granted a lock does not wait. After a waiter has
// moved to a different entry, the search is made again.
//
// The graph is read one entry after the other, so a cycle is broken only if it still stands
// with all of its entries locked. Searches get a share of the time and no more. There is one
// at a time, made by the alarm of an entry and not by one goroutine for all: a goroutine must
// not wake a waiter in a testing/synctest bubble that it is not part of.

// findDeadlocks enters the waiters of e that have waited for deadlockAge in the table,
// and breaks the cycles that they close.
func (e *entry) findDeadlocks() {
	e.mu.Lock()
	t := now()
	young := false
	for w := range e.queue.all() {
		switch {
		case w.long:
		case age(t, w.since) >= deadlockAge:
			w.long = true
			e.reg.long.add(w)
			e.findDeadlock = true
		default:
			young = true
		}
	}
	search, retry := false, deadlockAge
	if e.findDeadlock {
		search, retry = e.reg.long.beginSearch(t)
	}
	if search {
		e.findDeadlock = false
		e.mu.Unlock()
		all := e.breakCycles()
		e.reg.long.searchEnded(t)
		e.mu.Lock()
		// Some waits of a cycle may have ended, but are in the table still.
		e.findDeadlock = e.findDeadlock || !all
		retry = deadlockAge
	}
	if (young || e.findDeadlock) && e.queue.n > 0 {
		e.deadlockAlarm.setLocked(e, now(), retry, (*entry).findDeadlocks)
	}
	e.mu.Unlock()
}

// A waitEdge is a wait, on behalf of a hold of the entry of the edge before it.
type waitEdge struct {
	*longWait
	entry *entry
}

// breakCycles breaks the cycles that searches from the holds of e find. It reports whether
// each that they found was broken.
func (e *entry) breakCycles() (all bool) {
	ended := make(map[*longWait]bool) // in the table still, when they have been broken
	all = true
	for broken := true; broken; {
		var each bool
		broken, each = e.breakSomeCycles(ended)
		all = all && each
	}
	return all
}

// breakSomeCycles is one search of breakCycles, which goes to each entry once. It reports
// whether it broke a cycle, and whether each that it found was broken. After one was broken
// there may be others: by different waits, through entries that it has been to.
func (e *entry) breakSomeCycles(ended map[*longWait]bool) (some, each bool) {
	each = true
	var path []waitEdge
	onPath := make(map[*entry]int) // where in path the waits on behalf of its holds begin
	visited := make(map[*entry]bool)
	var visit func(*entry)
	visit = func(from *entry) {
		visited[from] = true
		onPath[from] = len(path)
		defer delete(onPath, from)
		for _, w := range e.reg.long.onBehalfOf(from) {
			to := w.lock.entry()
			if ended[w] {
				continue
			}
			path = append(path, waitEdge{w, to})
			switch at, ok := onPath[to]; {
			case !ok && !visited[to]:
				visit(to)
			case !ok:
			default:
				if broken := e.reg.breakCycle(path[at:]); broken != nil {
					ended[broken] = true
					some = true
				} else {
					each = false
				}
			}
			path = path[:len(path)-1]
		}
	}
	visit(e)
	return some, each
}

// breakCycle ends a wait of the cycle, and returns it. It returns nil if the cycle stands no
// longer. A shared waiter behind an exclusive one waits for no hold but by the order of the
// queue: it joins the group. Otherwise the waiter that has waited shortest gets ErrDeadlock.
func (r *registry) breakCycle(cycle []waitEdge) *longWait {
	r.mu.Lock() // two entries at once are locked under it only, and so in any order
	defer r.mu.Unlock()
	for _, w := range cycle {
		w.entry.mu.Lock()
		defer w.entry.mu.Unlock()
	}
	last := cycle[len(cycle)-1]
	for _, w := range cycle {
		if !w.standsLocked(last.entry) {
			return nil
		}
		last = w
	}
	ended := slices.MaxFunc(cycle, func(a, b waitEdge) int { return cmp.Compare(a.since, b.since) })
	joins := slices.IndexFunc(cycle, func(w waitEdge) bool { return w.hold.shared && w.entry.turn == turnShared })
	if joins >= 0 {
		ended = cycle[joins]
	}
	e, w := ended.entry, ended.waiter
	e.queue.remove(w)
	if joins >= 0 {
		e.joinLocked(w.hold, w.owner)
		w.stays = true
		w.deliver(joined)
	} else {
		deliverError([]*waiter{w}, ErrDeadlock)
	}
	e.headChangedLocked()
	return ended.longWait
}

// standsLocked reports whether the waiter is queued as it was when it was found, and waits
// on behalf of a hold of from.
func (w waitEdge) standsLocked(from *entry) bool {
	if !from.ownedByLocked(w.owner) && !from.attachedToLocked(w.marks) {
		return false
	}
	for queued := range w.entry.queue.all() {
		if queued == w.waiter {
			return queued.hold == w.hold
		}
	}
	return false
}

// attachedToLocked reports whether a live hold of e that belongs to a goroutine is one of the
// marks.
func (e *entry) attachedToLocked(marks *mark) bool {
	for m := marks; m != nil; m = m.outer {
		if m.hold.entry == e && e.isLiveLocked(m.hold) && m.hold.owner != 0 {
			return true
		}
	}
	return false
}
