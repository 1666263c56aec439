package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"packlock"
)

// tryAll gets all of the locks without waiting, or returns which are busy.
func tryAll(targets []target) (got packlock.Holds, busy []int, err error) {
	for i, t := range targets {
		try := t.lock.TryAcquire
		if t.shared {
			try = t.lock.TryAcquireShared
		}
		hold, err := try()
		switch {
		case err == nil:
			got = append(got, hold)
		case errors.Is(err, packlock.ErrBusy):
			busy = append(busy, i)
		default:
			return nil, nil, errors.Join(got.Release(), err)
		}
	}
	if len(busy) > 0 {
		return nil, busy, got.Release()
	}
	return got, nil, nil
}

// acquire gets the locks of targets as the flags say. A signal ends the wait.
func (r *runner) acquire(targets []target, signals <-chan os.Signal) (packlock.Holds, error) {
	started := time.Now()
	got, busy, err := tryAll(targets)
	if err != nil || len(busy) == 0 {
		return got, err
	}
	passes := false
	for _, i := range busy {
		t := &targets[i]
		switch who, shared := heldAbove(t.lock); {
		case who == "":
		case shared && t.shared:
			// What it is busy with is a writer, which waits for the run above, and that
			// for this one.
			if err := t.passWriters(); err != nil {
				return nil, err
			}
			passes = true
		case shared:
			return nil, r.busy("%s is already held shared by %s", legible(t.name), who)
		default:
			return nil, r.busy("%s is already held by %s", legible(t.name), who)
		}
	}
	if passes {
		if got, busy, err = tryAll(targets); err != nil || len(busy) == 0 {
			return got, err
		}
	}
	first := targets[busy[0]]
	// To find who has it takes a look at every process, so not before the wait.
	switch {
	case r.timeout == 0 && r.quiet:
		return nil, exit{status: r.busyStatus}
	case r.timeout == 0:
		return nil, r.busy("%s is busy: held %s", legible(first.name), findHolders(first.lock).by())
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if r.timeout > 0 {
		ctx, cancel = context.WithDeadline(ctx, started.Add(r.timeout))
		defer cancel()
	}
	var exclusive, shared []*packlock.Lock
	for _, t := range targets {
		if t.shared {
			shared = append(shared, t.lock)
		} else {
			exclusive = append(exclusive, t.lock)
		}
	}
	err = await("run", r.quiet, targets, signals, func() (err error) {
		got, err = packlock.AcquireSets(ctx, exclusive, shared)
		return err
	})
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return got, err
	case r.quiet:
		return nil, exit{status: r.busyStatus}
	}
	for _, t := range targets {
		if who := findHolders(t.lock); len(who) > 0 && !who.self() {
			return nil, r.busy("%s is still busy after %v: held %s", legible(t.name), r.timeout, who.by())
		}
	}
	if len(findHolders(first.lock)) == 0 {
		return nil, r.busy("%s is still busy after %v: held %s", legible(first.name), r.timeout, holders(nil).by())
	}
	return nil, r.busy("%s was still busy after %v", legible(first.name), r.timeout)
}

// busy returns the error for a lock that is not to be had.
func (r *runner) busy(format string, args ...any) error {
	if r.quiet {
		return exit{status: r.busyStatus}
	}
	return exit{r.busyStatus, fmt.Errorf(format, args...)}
}
