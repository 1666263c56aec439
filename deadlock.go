package packlock

import (
	"cmp"
	"slices"
	"time"
)

// Goroutines of one process may wait for each other in a circle: each has a pack
// that the one before it waits for. In terms of holds, one waits for another if a
// goroutine waits for the latter that has the former, or that does so in a context
// which runs under the former (Hold.Context). A hold that was detached belongs to
// nobody, and waits for nobody. Of circles between processes nothing is known.
//
// The watch looks for them, circleTime after somebody has queued up for a hold that
// is still there. So they cost nothing where nobody waits for so long. A search is one
// for all packs, and takes account of all who have waited for so long; where there are
// thousands of packs, it takes milliseconds, and there is none for some time after.

// searchShare is which part of the time may be spent on searches, at most: one in so
// many.
const searchShare = 10

// A waitedFor is a live hold that somebody waits for.
type waitedFor struct {
	entry *entry
	hold  *Hold
	owner uint64
	waits []wait
	found progressOfSearch
}

// A wait is that of one hold for another, by a goroutine that has waited for long.
type wait struct {
	from, on *waitedFor
	waiter   *waiter
	hold     *Hold // in the making: the waiter may be another acquire's by now
	since    int64
}

// breakCircles ends every circle whose goroutines have waited for circleTime at time
// t. The one that has waited shortest gets ErrDeadlock. It does nothing soon after it
// was last called: then the watch, which finds that out, calls again.
func (r *registry) breakCircles(t int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rest := time.Duration(r.restsUntil - t); 0 < rest && rest < watchTime {
		return
	}
	began := now()
	defer func() {
		ended := now()
		r.restsUntil = ended + (searchShare-1)*(ended-began)
	}()
	for {
		circle := findCircle(r.waitedForLocked(t))
		if circle == nil {
			return
		}
		breakCircleLocked(circle)
	}
}

// waitedForLocked returns the holds that somebody waits for, with what they wait for
// themselves. It takes one entry after the other: what it returns may never have
// been so at one time.
func (r *registry) waitedForLocked(t int64) []*waitedFor {
	var all []*waitedFor
	byHold := make(map[*Hold]*waitedFor)
	byOwner := make(map[uint64][]*waitedFor)
	for _, e := range r.entries {
		e.mu.Lock()
		if h := e.attachedLocked(); h != nil && e.queue.n > 0 {
			n := &waitedFor{entry: e, hold: h, owner: e.owner}
			all = append(all, n)
			byHold[h] = n
			byOwner[n.owner] = append(byOwner[n.owner], n)
		}
		e.mu.Unlock()
	}
	for _, on := range all {
		on.entry.mu.Lock()
		whole := true
		for w := range on.entry.queue.all() {
			if t-w.since < int64(circleTime) {
				whole = false
				continue
			}
			for _, from := range byOwner[w.owner] {
				from.waits = append(from.waits, wait{from, on, w, w.hold, w.since})
			}
			for m := w.marks; m != nil; m = m.outer {
				if from := byHold[m.hold]; from != nil && from.owner != w.owner {
					from.waits = append(from.waits, wait{from, on, w, w.hold, w.since})
				}
			}
		}
		if whole {
			on.entry.watch.searched = on.entry.watch.queued
		}
		on.entry.mu.Unlock()
	}
	return all
}

// progressOfSearch is how far findCircle has come with a hold.
type progressOfSearch uint8

const (
	unvisited progressOfSearch = iota
	onPath
	inNoCircle
)

// findCircle returns the waits of a circle, nil if there is none.
func findCircle(all []*waitedFor) []wait {
	var path []wait
	var visit func(*waitedFor) []wait
	visit = func(n *waitedFor) []wait {
		n.found = onPath
		for _, w := range n.waits {
			path = append(path, w)
			switch w.on.found {
			case onPath:
				first := slices.IndexFunc(path, func(w2 wait) bool { return w2.from == w.on })
				return path[first:]
			case unvisited:
				if circle := visit(w.on); circle != nil {
					return circle
				}
			}
			path = path[:len(path)-1]
		}
		n.found = inNoCircle
		return nil
	}
	for _, n := range all {
		if n.found == unvisited {
			if circle := visit(n); circle != nil {
				return circle
			}
		}
	}
	return nil
}

// breakCircleLocked tells the one that has waited shortest, if it is a circle still.
// Two entries at once are locked under the registry's mu only, and so in any order.
func breakCircleLocked(circle []wait) {
	stands := true
	for _, w := range circle {
		w.on.entry.mu.Lock()
		stands = stands && w.standsLocked()
	}
	shortest := slices.MaxFunc(circle, func(a, b wait) int { return cmp.Compare(a.since, b.since) })
	if stands {
		shortest.on.entry.queue.remove(shortest.waiter)
	}
	for _, w := range circle {
		w.on.entry.mu.Unlock()
	}
	if stands {
		deliverError([]*waiter{shortest.waiter}, ErrDeadlock)
	}
}

// standsLocked reports whether it is as it was when it was found.
func (w wait) standsLocked() bool {
	e := w.on.entry
	if e.attachedLocked() != w.on.hold {
		return false
	}
	for queued := range e.queue.all() {
		if queued == w.waiter && queued.hold == w.hold {
			return true
		}
	}
	return false
}

// attachedLocked returns the hold, if there is one that belongs to a goroutine. If it
// is in the making, that goroutine waits for no other.
func (e *entry) attachedLocked() *Hold {
	if e.owner == 0 {
		return nil
	}
	return e.hold
}
