package packlock

import (
	"testing"
	"time"
)

// The file system does not answer: that costs a thread, and not one more each time
// the watch comes by.
func TestWatchLooksOnceAtATime(t *testing.T) {
	onFake(t, func(t *testing.T, e *engine) {
		elsewhere := e.lockedElsewhere()
		a := e.acquire(e.l)
		before := e.k.called("sameAt")
		goOn := e.holdUp("sameAt")
		time.Sleep(time.Minute)
		e.called("sameAt", before+1)
		goOn()
		time.Sleep(watchTime)
		e.called("sameAt", before+2) // it looks again
		elsewhere.letGo()
		e.release(a.got())
	})
}
