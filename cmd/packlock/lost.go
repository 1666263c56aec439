package main

import (
	"errors"
	"time"

	"packlock"
)

// A lossWatch checks once a second that the locks under a command are not lost, and
// says so once for each that is. A check may hang, as on a file system whose server
// does not answer. Then there is no other one, and the end does not wait for it long.
type lossWatch struct {
	targets []target
	checks  []func() error // of the holds of targets
	end     chan struct{}  // closed for the last check
	ended   chan struct{}  // closed after it
}

func watchForLoss(targets []target, checks []func() error) *lossWatch {
	w := &lossWatch{targets, checks, make(chan struct{}), make(chan struct{})}
	go w.run()
	return w
}

func (w *lossWatch) run() {
	defer close(w.ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	lost := make([]bool, len(w.checks))
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-w.end:
			last = true
		}
		for i, check := range w.checks {
			if lost[i] {
				continue
			}
			name := legible(w.targets[i].name)
			switch err := check(); {
			case errors.Is(err, packlock.ErrLost):
				lost[i] = true
				say("run", "the lock of %s was lost under the command, and another process may run at the same time: %v", name, reason(err))
			case err != nil && last:
				say("run", "whether the lock of %s lasted cannot be told: %v", name, reason(err))
			}
		}
	}
}

// stop returns after the last check.
func (w *lossWatch) stop() {
	const patience = 5 * time.Second
	close(w.end)
	select {
	case <-w.ended:
	case <-time.After(patience):
		say("run", "whether the lock of %s lasted cannot be told: no answer from the file system after %v", quotedNames(w.targets), patience)
	}
}
