package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
)

// An ending is the error of a verb that was ended by a signal. packlock dies of
// it, too: a shell that runs a script learns only from that whether Ctrl-C was
// for the script as well, or meant something to the command alone.
type ending struct {
	signal os.Signal
	said   string // what to print, "" for nothing
}

func (e ending) Error() string { return "ended by signal: " + e.signal.String() }

// interruptible returns a context that ends with the first of signals, such as Ctrl-C or,
// with brokenPipe, a write to an output that has no reader. The cause is then the error,
// an ending, for the verb to return after its cleanup. A signal that was ignored when
// packlock was started stays ignored.
func interruptible(signals ...os.Signal) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := make(chan os.Signal, 1)
	for _, s := range slices.DeleteFunc(slices.Clone(signals), signal.Ignored) {
		signal.Notify(c, s)
	}
	go func() {
		select {
		case s := <-c:
			said := "interrupted"
			if slices.Contains(brokenPipe, s) {
				said = "" // nobody wants to know more
			}
			cancel(ending{s, said})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(c)
		cancel(nil)
	}
}
