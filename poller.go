package packlock

import "time"

const (
	// The poller's delay doubles from the first to the second: 1 ms is no more
	// than the slice that another process may be using up, and at 50 ms a process
	// that polls hundreds of packs still leaves the processor to others.
	pollMin = time.Millisecond
	pollMax = 50 * time.Millisecond
)

// startPollerLocked gives the turn to the poller, which takes the place of a parked
// thread where the process has none to spare.
func (e *entry) startPollerLocked() {
	e.turn = turnPolled
	e.pollerStop = make(chan struct{}, 1)
	e.setWantedLocked()
	go e.poll()
}

// poll waits for the lock by trying it again and again, and turns into a parked thread
// as soon as there is room for one. Unlike a parked thread it stops when the queue is
// empty.
func (e *entry) poll() {
	for delay := pollMin; ; delay = min(2*delay, pollMax) {
		e.updateIntent()
		e.pollerSleep(delay)
		e.reg.threads.limit.refresh(now())
		e.mu.Lock()
		if e.queue.n == 0 {
			e.turn = turnTaken
			e.mu.Unlock()
			e.pass()
			return
		}
		e.shared = e.queue.first().hold.shared
		e.setWantedLocked()
		switch {
		case e.adoptOrphanLocked():
			e.mu.Unlock()
			e.updateIntent()
			return
		case e.reg.threads.take():
			e.startThreadLocked()
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		ok, err := e.active.try(e.shared)
		if ok || err != nil {
			e.kernelWaitEnded(e.active, err)
			e.updateIntent()
			return
		}
	}
}

// pollerSleep waits for the delay, or for the queue to become empty.
func (e *entry) pollerSleep(delay time.Duration) {
	timer := time.NewTimer(delay)
	select {
	case <-timer.C:
	case <-e.pollerStop:
		timer.Stop()
	}
}

// stopPollerLocked stops the poller if the queue has become empty.
func (e *entry) stopPollerLocked() {
	if e.turn == turnPolled && e.queue.n == 0 {
		select {
		case e.pollerStop <- struct{}{}:
		default: // it has been told already
		}
	}
}
