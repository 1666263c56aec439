package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"packlock"
	"packlock/internal/proclocks"
)

// A target is a lock as a command line names it.
type target struct {
	name   string // of the pack, or of the file
	lock   *packlock.Lock
	shared bool
}

// passWriters has t not make room for writers of other processes that wait for the lock.
// With WithAnyFile a Lock does not: the kernel alone decides.
func (t *target) passWriters() error {
	lock, err := packlock.OpenFile(t.lock.Path(), packlock.WithAnyFile())
	if err != nil {
		return err
	}
	defer t.lock.Close()
	t.lock = lock
	return nil
}

// quotedNames returns the names of targets as they fit into a sentence.
func quotedNames(targets []target) string {
	var names []string
	for _, t := range targets {
		names = append(names, legible(t.name))
	}
	return strings.Join(names, " and ")
}

// Who waits less than firstNotice does not wonder what is going on.
const firstNotice = time.Second

// untilNotice returns how long after the notice before it the nth one comes. They
// become rare, so that the log of a night has no more than a page of them.
func untilNotice(n int) time.Duration {
	const longest = 10 * time.Minute
	switch {
	case n == 0:
		return firstNotice
	case n > 6:
		return longest
	}
	return min(10*time.Second<<(n-1), longest)
}

// await calls acquire, which waits for targets, and says meanwhile, in the name
// of a verb unless it is to be quiet, who has them, and that the wait is over if it
// has said so. A signal ends it with an ending.
func await(verb string, quiet bool, targets []target, signals <-chan os.Signal, acquire func() error) error {
	started := time.Now()
	said := false
	inherited := make(map[*packlock.Lock]bool)
	files := make(map[*packlock.Lock]string) // the tables' names of those that are waited for
	for _, t := range targets {
		files[t.lock], _ = proclocks.Name(t.lock.Path())
		// If this process has the lock before it waits, it is the heir of
		// somebody who took it. Later, it has just been granted it.
		inherited[t.lock], _ = inheritedLock(t.lock.Path())
	}
	results := make(chan error, 1)
	go func() { results <- acquire() }()

	notice := time.NewTimer(untilNotice(0))
	defer notice.Stop()
	for n := 1; ; {
		select {
		case err := <-results:
			switch beside := lockedBefore(targets, files); {
			case err != nil || quiet:
			case beside != "":
				say(verb, "got %s after %s, but not by a release: %s", quotedNames(targets), roughly(time.Since(started)), beside)
			case said:
				say(verb, "got %s after %s", quotedNames(targets), roughly(time.Since(started)))
			}
			return err
		case s := <-signals:
			return ending{signal: s}
		case <-notice.C:
			notice.Reset(untilNotice(n))
			n++
			if quiet {
				continue
			}
			since := ""
			if said {
				since = " for " + roughly(time.Since(started)) + " now"
			}
			var unknown []target
			told := false
			for _, t := range targets {
				switch who := findHolders(t.lock); {
				case len(who) == 0:
					unknown = append(unknown, t)
				case who.self() && !inherited[t.lock]:
					// It is not this one that is waited for.
				case len(results) == 0:
					say(verb, "waiting for %s%s, held %s", legible(t.name), since, who.by())
					told = true
				}
			}
			if !told && len(unknown) > 0 && len(results) == 0 {
				say(verb, "waiting for %s%s, held %s", quotedNames(unknown), since, holders(nil).by())
				told = true
			}
			said = said || told
		}
	}
}

// lockedBefore returns words for the case that one of targets has another file by now
// than the one of files and that this is still locked, "" otherwise.
func lockedBefore(targets []target, files map[*packlock.Lock]string) string {
	for _, t := range targets {
		before := files[t.lock]
		now, err := proclocks.Name(t.lock.Path())
		if err != nil || before == "" || now == before {
			continue
		}
		if tables, err := proclocks.Read(before); err == nil && tables.Held(before) {
			return fmt.Sprintf("the lock file of %s was deleted or replaced, and the old one is still held %s", legible(t.name), listedHolders(tables, before).by())
		}
	}
	return ""
}

// say prints a notice in the name of a verb, for people.
func say(verb, format string, args ...any) {
	fmt.Fprintf(stderr, "packlock: %s: %s\n", verb, fmt.Sprintf(format, args...))
}
