package locktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// cancelled has w's context end, and returns how long after that Lock returned.
func (w waiter) cancelled() (time.Duration, error) {
	ended, err := w.ask("cancelling", order{Do: doCancel})
	if err != nil {
		return 0, err
	}
	said, err := w.await(w.x.ctx, "Lock, whose context has ended", w.c, w.x.boundOf(Cancels))
	switch {
	case errors.As(err, new(hang)):
		return 0, err
	case err == nil:
		return 0, errors.New("Lock took the lock, which another has, when its context ended")
	case !errors.Is(err, context.Canceled):
		return 0, fmt.Errorf("Lock returned an error that is not its context's: %w", err)
	}
	return max(0, said.At.Sub(ended.At)), nil
}

// cancelReturns is whether Lock returns when its context ends, and takes nothing
// if that was before.
func cancelReturns(x *exam) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	w, err := other.park()
	if err != nil {
		return "", err
	}
	took, err := w.cancelled()
	if err != nil {
		return "", err
	}
	if _, err := holder.unlock(); err != nil {
		return "", err
	}
	third, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	switch _, err := third.ask("Lock, whose context had ended before", order{Do: doEnded}); {
	case err == nil:
		return "", errors.New("Lock took the lock with a context that had ended before")
	case !errors.Is(err, context.Canceled):
		return "", err
	}
	return fmt.Sprintf("after %v", rounded(took)), nil
}

// cancelTakesNothing is whether the lock is free for others when its holder lets
// go after a wait for it was cancelled, and for the handle that waited.
func cancelTakesNothing(x *exam) (string, error) {
	holder, other, err := x.startPair()
	if err != nil {
		return "", err
	}
	w, err := other.park()
	if err != nil {
		return "", err
	}
	if _, err := w.cancelled(); err != nil {
		return "", err
	}
	if _, err := holder.unlock(); err != nil {
		return "", err
	}
	third, err := x.start(x.scratch)
	if err != nil {
		return "", err
	}
	if err := third.lockFree(x.bounds.wake); err != nil {
		return "", fmt.Errorf("the wait that was cancelled is left with the lock: %w", err)
	}
	if _, err := third.unlock(); err != nil {
		return "", err
	}
	return "", other.lockFree(x.bounds.wake)
}

// waits is how cancelLeavesNothing and noThreads ask a process to wait.
type waits struct {
	Path   string
	Waits  int
	Cancel bool // Lock returns then
}

// cancelLeavesNothing is what is left of many waits that were cancelled, while
// the lock is still held. What cannot be cancelled is given up: that is what its
// users do.
func cancelLeavesNothing(x *exam) (string, error) {
	n := 1000
	cancels := x.outcomes[nameCancels] == OK
	if !cancels {
		n = 100 // each may have a thread
	}
	left, err := x.census(scriptCancels, waits{x.scratch, n, cancels})
	if err != nil {
		return "", err
	}
	if left.most() > n/4 {
		return "", fmt.Errorf("%d waits that were given up left: %v", n, left)
	}
	return fmt.Sprintf("%d waits left: %v", n, left), nil
}

// noThreads is whether goroutines that wait have no thread each.
func noThreads(x *exam) (string, error) {
	const n = 100
	more, err := x.census(scriptWaits, waits{Path: x.scratch, Waits: n})
	switch {
	case err != nil:
		return "", err
	case more.Threads == nil:
		return "", skip("the system does not tell how many threads there are")
	case *more.Threads > n/4:
		return "", fmt.Errorf("%d goroutines that wait have: %v", n, more)
	}
	return fmt.Sprintf("%d goroutines that wait have: %v", n, more), nil
}

// census has one process hold the lock and another do the script, and returns
// what that has more than before.
func (x *exam) census(script string, asked waits) (more census, err error) {
	if _, err := x.startHolder(x.scratch); err != nil {
		return more, err
	}
	p, err := startProcess(x.ctx, x.role)
	if err != nil {
		return more, err
	}
	x.processes = append(x.processes, p)
	said, err := handleOf{p, x, 0, false}.script(script, asked, 4*x.bounds.answer)
	if err != nil {
		return more, err
	}
	return more, json.Unmarshal(said.Result, &more)
}

// script has the process do a script.
func (h handleOf) script(name string, asked any, bound time.Duration) (answer, error) {
	encoded, err := json.Marshal(asked)
	if err != nil {
		return answer{}, err
	}
	c, err := h.tell(order{Do: doScript, Path: name, Script: encoded})
	if err != nil {
		return answer{}, h.ended(name)
	}
	return h.await(h.x.ctx, name, c, bound)
}
