package packlock

import (
	"io/fs"
	"testing"
)

// The context of a waiter ends while it is told that it waits in vain: the context
// wins, and there is nothing to give back.
func TestCancelledWhileTurnedAway(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		h := e.try(e.l)
		a := e.acquire(e.l)
		entry := e.l.entry.Load()
		entry.mu.Lock() // so that it cannot leave the queue before
		a.cancel()
		line := entry.queue.removeFunc(func(*waiter) bool { return true })
		entry.mu.Unlock()
		deliverError(line, fs.ErrNotExist)
		a.failed(ErrCancelled)
		e.release(h)
		e.stats(Stats{Acquired: 1, Cancelled: 1})
	})
}
