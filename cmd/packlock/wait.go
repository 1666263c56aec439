package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"packlock"
)

const (
	// Who waits less than firstNotice does not wonder what is going on.
	firstNotice = time.Second
	nextNotice  = 10 * time.Second
)

// acquire gets the lock as the flags say. A signal ends the wait.
func (r *runner) acquire(lock *packlock.Lock, signals <-chan os.Signal) (*packlock.Hold, error) {
	started := time.Now()
	hold, err := lock.TryAcquire()
	if !errors.Is(err, packlock.ErrBusy) {
		return hold, err
	}
	who := findHolder(lock.Path())
	if pid := heldByParent(lock.Path(), who); pid != 0 {
		return nil, r.busy("%s is already held by this command's parent (pid %d)", legible(r.dir), pid)
	}
	if r.timeout == 0 {
		return nil, r.busy("%s is busy: held by %v", legible(r.dir), who)
	}
	// If this process has the lock before it waits, it is the heir of somebody
	// who took it. Later, it has just been granted what it waited for.
	heir := who.self

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if r.timeout > 0 {
		ctx, cancel = context.WithDeadline(ctx, started.Add(r.timeout))
		defer cancel()
	}
	type result struct {
		hold *packlock.Hold
		err  error
	}
	results := make(chan result, 1)
	go func() {
		hold, err := lock.Acquire(ctx)
		results <- result{hold, err}
	}()

	notice := time.NewTimer(firstNotice)
	defer notice.Stop()
	for {
		select {
		case got := <-results:
			if errors.Is(got.err, context.DeadlineExceeded) {
				who := findHolder(lock.Path())
				if who.self && !heir {
					return nil, r.busy("%s was still busy after %v", legible(r.dir), r.timeout)
				}
				return nil, r.busy("%s is still busy after %v: held by %v", legible(r.dir), r.timeout, who)
			}
			return got.hold, got.err
		case s := <-signals:
			return nil, ending{signal: s}
		case <-notice.C:
			notice.Reset(nextNotice)
			if r.quiet {
				continue
			}
			who := findHolder(lock.Path())
			if who.self && !heir || len(results) > 0 {
				continue // the wait is over
			}
			fmt.Fprintf(os.Stderr, "packlock: run: waited %v for %s so far: held by %v\n",
				time.Since(started).Round(time.Second), legible(r.dir), who)
		}
	}
}

// busy returns the error for a lock that is not to be had.
func (r *runner) busy(format string, args ...any) error {
	if r.quiet {
		return exit{status: r.busyStatus}
	}
	return exit{r.busyStatus, fmt.Errorf(format, args...)}
}
