//go:build linux

// Command netprobe is what .ci/network-filesystems runs on each of the machines
// that share a file system:
//
//	netprobe contend DIR WITNESS DURATION GOROUTINES
//	netprobe hold DIR DURATION [shared]
//	netprobe wait DIR LIMIT [shared]
//	netprobe try DIR DURATION
//	netprobe ask DIR shared|exclusive packlock|r|rw
//
// What happens is a line each: when, in milliseconds, and what. The clocks of busy
// guests drift apart. So, if $NETPROBE_MARK is set, a file of that name, with a dot
// and what happened appended, is made at that moment: its time is the host's. A hold ends
// early once there is one that ends in "end".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"packlock"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		say("error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: netprobe contend|hold|wait|try|ask DIR and what the verb needs")
	}
	verb, dir := args[0], args[1]
	switch verb {
	case "contend":
		return contend(dir, args[2:])
	case "ask":
		return ask(dir, args[2:])
	}
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	l, err := packlock.Open(dir)
	if err != nil {
		return err
	}
	defer l.Close()
	acquire := l.Acquire
	if len(args) > 3 && args[3] == "shared" {
		acquire = l.AcquireShared
	}
	switch verb {
	case "hold":
		return hold(acquire, d)
	case "wait":
		return wait(l, acquire, d)
	case "try":
		return try(l, d)
	}
	return fmt.Errorf("%s: no such command", verb)
}

// say prints an event with its time, and marks it.
func say(what string, more ...any) {
	fmt.Println(append([]any{time.Now().UnixMilli(), what}, more...)...)
	if mark := os.Getenv("NETPROBE_MARK"); mark != "" {
		os.Remove(mark + "." + what)
		if f, err := os.Create(mark + "." + what); err == nil {
			f.Close()
		}
	}
}

const tick = 50 * time.Millisecond

// acquireFunc is the method of a Lock that waits for one kind of hold.
type acquireFunc func(context.Context) (*packlock.Hold, error)

// told reports whether another probe has made the mark of that name.
func told(what string) bool {
	_, err := os.Stat(os.Getenv("NETPROBE_MARK") + "." + what)
	return err == nil
}

// hold holds the lock for d, until it is lost, or until told.
func hold(acquire acquireFunc, d time.Duration) error {
	h, err := acquire(context.Background())
	if err != nil {
		return err
	}
	say("held")
	for end := time.Now().Add(d); time.Now().Before(end) && !told("end"); time.Sleep(tick) {
		if err = h.Check(); err != nil {
			break
		}
	}
	if err != nil {
		say("lost", errors.Is(err, packlock.ErrLost), err)
	} else {
		say("kept")
	}
	say("releasing") // a waiter may run before this goroutine does again
	say("released", h.Release())
	return nil
}

// wait waits for the lock, for no longer than limit.
func wait(l *packlock.Lock, acquire acquireFunc, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	time.AfterFunc(tick, func() { say("waiting") })
	h, err := acquire(ctx)
	if err != nil {
		return err
	}
	say("got", "reopened", l.Stats().Reopened)
	say("released", h.Release())
	return nil
}

// try has had the lock once, and then tries again and again for d, each time
// giving it back.
func try(l *packlock.Lock, d time.Duration) error {
	h, err := l.Acquire(context.Background())
	if err != nil {
		return err
	}
	if err := h.Release(); err != nil {
		return err
	}
	say("ready")
	last := "got"
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(tick) {
		now := "got"
		h, err := l.TryAcquire()
		switch {
		case err == nil:
			if err := h.Release(); err != nil {
				return err
			}
		case errors.Is(err, packlock.ErrBusy):
			now = "busy"
		default:
			return err
		}
		if now != last {
			say(now)
			last = now
		}
	}
	return nil
}
