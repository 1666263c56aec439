package packlock

import (
	"context"
	"iter"
)

// waiter is an acquire that has had to wait. Its fields but long, ready, prev and next
// belong to the acquiring goroutine. They do not change while it is queued, and a
// goroutine that takes it out of the queue may set got and err before the send on
// ready.
type waiter struct {
	lock    *lock
	hold    *Hold  // in the making
	owner   uint64 // the goroutine
	since   int64  // when the acquire began to wait
	ordered bool   // it must not move to a different entry
	stays   bool   // it was admitted to end a deadlock, and must not leave for a writer
	trying  bool   // it waits for no lock, but for how a shared try ends

	// Of the context, if it was read.
	marks       *mark
	done        <-chan struct{}
	contextRead bool

	// ready gets one send for each time that another goroutine takes the waiter out of
	// the queue, and is empty when the waiter is pooled. One that was made in a
	// testing/synctest bubble must not leave it, and is used once.
	ready chan struct{}
	got   acquireState
	err   error // with got == nothing

	// long is set when the waiter is in the registry's table of long waits. It is
	// guarded by the entry's mu while the waiter is queued.
	long bool

	// Guarded by the entry's mu; next is nil while the waiter is not queued.
	prev, next *waiter
}

// needWaiter makes the waiter, of an acquire that must wait since time t, if there
// is none.
func (a *acquisition) needWaiter(t int64) *waiter {
	if a.waiter == nil {
		w := a.lock.reg.waiters.Get().(*waiter)
		ready := w.ready
		if ready == nil || inBubble(t) {
			ready = make(chan struct{}, 1)
		}
		*w = waiter{lock: a.lock, hold: a.hold, owner: a.caller, since: t, ordered: a.ordered, trying: a.mode == trying, ready: ready}
		a.waiter = w
	}
	return a.waiter
}

// dropWaiter gives back the waiter, if there is one, for a different acquire to use.
func (a *acquisition) dropWaiter() {
	w := a.waiter
	if w == nil {
		return
	}
	if inBubble(w.since) {
		w.ready = nil
	}
	a.lock.reg.waiters.Put(w)
	a.waiter = nil
}

// deliver wakes the waiter, which the caller has taken out of the queue, with what it
// got. The send never blocks and is made outside of mu, so that the woken goroutine
// does not run into it. What happened before it happens before anything that the waiter
// does next: that is how the race detector, which does not see the kernel's lock, comes
// to know about ours.
func (w *waiter) deliver(got acquireState) {
	w.got = got
	w.ready <- struct{}{}
}

// deliverError wakes waiters, which the caller has taken out of a queue, with an error.
func deliverError(line []*waiter, err error) {
	for _, w := range line {
		w.err = err
		w.deliver(nothing)
	}
}

// wait waits until the queued w is taken out of the queue with something to go
// on with, or gives up when ctx ends. Then w is neither queued nor has anything.
func (w *waiter) wait(ctx context.Context) error {
	// What was delivered happened before the receive from ready. The end of ctx may
	// have happened before the delivery, so it is asked for last.
	left := false
	select {
	case <-w.ready:
	case <-w.done:
		if left = w.leave(); !left {
			<-w.ready // it is decided already, and about to be sent
		}
	}
	if w.long {
		w.lock.reg.long.remove(w)
		w.long = false
	}
	if left {
		return cancelled(ctx)
	}
	select {
	case <-w.done:
		// The end of ctx may have happened before the grant and wins: what was
		// granted is passed on as if w had never been there.
		w.giveBack()
		return cancelled(ctx)
	default:
	}
	if w.got == nothing {
		return w.err
	}
	return nil
}

// leave takes w out of the queue and reports whether it was still there. If it
// was, then no goroutine had decided to take it out, and under mu none could.
func (w *waiter) leave() bool {
	e := w.lock.lockEntry()
	defer e.mu.Unlock()
	if w.next == nil {
		return false
	}
	e.queue.remove(w)
	e.headChangedLocked()
	e.counts.cancelled.Add(1)
	return true
}

// giveBack passes on what w was given, if anything, because its context has ended.
func (w *waiter) giveBack() {
	w.lock.entry().counts.cancelled.Add(1)
	e := w.hold.entry // which its Lock may have left already; nil if it never had a turn
	switch w.got {
	case hasTurn, lost:
		e.pass()
	case granted, handedOver, joined:
		e.mu.Lock()
		e.giveUpLocked(w.hold, w.got) // no acquire has verified what was granted, nor does w
	}
}

// queue is the line of waiters in front of one entry, first come, first
// served: a ring through a sentinel, so that a waiter that gives up leaves from
// the middle in constant time.
type queue struct {
	sentinel waiter
	n        int
}

func (q *queue) init() {
	q.sentinel.prev, q.sentinel.next = &q.sentinel, &q.sentinel
}

func (q *queue) pushBack(w *waiter)  { q.insert(w, q.sentinel.prev) }
func (q *queue) pushFront(w *waiter) { q.insert(w, &q.sentinel) }

func (q *queue) insert(w, after *waiter) {
	if w.next != nil {
		panic("packlock: waiter queued twice")
	}
	w.prev, w.next = after, after.next
	w.prev.next, w.next.prev = w, w
	q.n++
}

// first returns the first waiter, nil if there is none.
func (q *queue) first() *waiter {
	if q.n == 0 {
		return nil
	}
	return q.sentinel.next
}

// last returns the last waiter, nil if there is none.
func (q *queue) last() *waiter {
	if q.n == 0 {
		return nil
	}
	return q.sentinel.prev
}

// popFront takes out the first waiter, nil if there is none.
func (q *queue) popFront() *waiter {
	w := q.first()
	if w != nil {
		q.remove(w)
	}
	return w
}

func (q *queue) remove(w *waiter) {
	if w.next == nil {
		panic("packlock: waiter not queued")
	}
	w.prev.next, w.next.prev = w.next, w.prev
	w.prev, w.next = nil, nil
	q.n--
}

// all yields the waiters in their order.
func (q *queue) all() iter.Seq[*waiter] {
	return func(yield func(*waiter) bool) {
		for w := q.sentinel.next; w != &q.sentinel; {
			next := w.next // w may be taken out
			if !yield(w) {
				return
			}
			w = next
		}
	}
}

// removeFunc takes out the waiters for which match holds and returns them in
// their order.
func (q *queue) removeFunc(match func(*waiter) bool) []*waiter {
	var out []*waiter
	for w := range q.all() {
		if match(w) {
			q.remove(w)
			out = append(out, w)
		}
	}
	return out
}
