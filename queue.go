package packlock

import (
	"context"
	"iter"
)

// waiter is an acquire that has had to wait. Its fields but ready, prev and
// next belong to the acquiring goroutine; while it is queued they do not
// change, and whoever takes it out of the queue may set got and err before the
// send on ready.
type waiter struct {
	lock  *lock
	hold  *Hold // in the making
	owner uint64
	since int64 // when the acquire began to wait
	fixed bool  // it waits for this file, and not for the one that takes its place

	// Of the context, if it was consulted.
	marks     *mark
	done      <-chan struct{}
	consulted bool

	// ready gets one send for each time the waiter is taken out of the queue by
	// another, and is empty when the waiter is pooled. One that was made in a
	// testing/synctest bubble may not leave it, and is used once.
	ready chan struct{}
	got   progress
	err   error // with got == failed

	// Guarded by the entry's mu; next is nil while the waiter is not queued.
	prev, next *waiter
}

// needWaiter makes the waiter, of an acquire that has to wait since time t, if there
// is none.
func (a *acquisition) needWaiter(t int64) *waiter {
	if a.waiter == nil {
		w := a.lock.reg.waiters.Get().(*waiter)
		ready := w.ready
		if ready == nil || inBubble(t) {
			ready = make(chan struct{}, 1)
		}
		*w = waiter{lock: a.lock, hold: a.hold, owner: a.caller, since: t, fixed: a.fixed, ready: ready}
		a.waiter = w
	}
	return a.waiter
}

// dropWaiter gives back the waiter, if there is one, for another acquire to use.
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

// deliver tells the waiter, which the caller has taken out of the queue, what
// it got. The send never blocks and is made outside of mu, so that the woken
// goroutine does not run into it. What happened before it happens before
// whatever the waiter does next: that is how the race detector, which does not
// see the kernel's lock, comes to know about ours.
func (w *waiter) deliver(got progress) {
	w.got = got
	w.ready <- struct{}{}
}

// deliverError tells waiters, which the caller has taken out of a queue, that they
// wait in vain.
func deliverError(line []*waiter, err error) {
	for _, w := range line {
		w.err = err
		w.deliver(failed)
	}
}

// wait waits until the queued w is taken out of the queue with something to go
// on with, or gives up when ctx ends. Then w is neither queued nor has anything.
func (w *waiter) wait(ctx context.Context) error {
	// What was delivered happened before the receive from ready. That the end of
	// ctx happened before the delivery cannot be excluded, so it is asked for last.
	select {
	case <-w.ready:
	case <-w.done:
		if w.leave() {
			return cancelled(ctx)
		}
		<-w.ready // it is decided already, and about to be sent
	}
	select {
	case <-w.done:
		// The end of ctx may have happened before the grant and wins: what was
		// granted is passed on as if w had never been there.
		w.giveBack()
		return cancelled(ctx)
	default:
	}
	if w.got == failed {
		return w.err
	}
	return nil
}

// leave takes w out of the queue and reports whether it was still there. If it
// was, then nobody had decided to take it out, and under mu nobody could.
func (w *waiter) leave() bool {
	e := w.lock.lockEntry()
	defer e.mu.Unlock()
	if w.next == nil {
		return false
	}
	e.queue.remove(w)
	e.abandonLocked()
	e.counts.cancelled.Add(1)
	return true
}

// giveBack passes on what w was given, if anything, and, its context having ended,
// is not to have.
func (w *waiter) giveBack() {
	w.lock.entry.Load().counts.cancelled.Add(1)
	e := w.hold.entry // which its Lock may have left already; nil if it never had a turn
	switch w.got {
	case hasTurn, lost:
		e.pass()
	case granted, handedOver:
		e.mu.Lock()
		e.giveBackLocked(w.got) // what was granted nobody has verified, nor does w
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

// popFront takes out the first waiter, nil if there is none.
func (q *queue) popFront() *waiter {
	if q.n == 0 {
		return nil
	}
	w := q.sentinel.next
	q.remove(w)
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
