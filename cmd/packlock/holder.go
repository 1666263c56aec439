package main

import (
	"fmt"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode"

	"packlock"
	"packlock/internal/proclocks"
)

// unknownHolder is who has a lock that is busy when nobody can be seen to have it.
var unknownHolder = func() string {
	if runtime.GOOS != "linux" && runtime.GOOS != "android" {
		return "another process"
	}
	return "a process that cannot be seen from here (in another container, on another machine, or another user's), or that has released it just now"
}()

// holders are who has a lock, as Lock.Holders returns them.
type holders []packlock.Process

// findHolders returns the holders of a lock, none where the system does not tell.
func findHolders(lock *packlock.Lock) holders {
	found, _ := lock.Holders()
	return found
}

// listedHolders returns what Lock.Holders would, without opening the file.
func listedHolders(tables *proclocks.Tables, file string) (found holders) {
	for _, p := range tables.Holders(file) {
		found = append(found, packlock.Process(p))
	}
	return found
}

// self reports whether this process is one of them.
func (h holders) self() bool {
	for _, p := range h {
		if p.Self {
			return true
		}
	}
	return false
}

// shared reports whether they hold the lock shared.
func (h holders) shared() bool { return len(h) > 0 && h[0].Shared }

// by returns what fits after "held".
func (h holders) by() string {
	if h.shared() {
		return "shared by " + h.String()
	}
	return "by " + h.String()
}

// String returns what fits after "held by".
func (h holders) String() string {
	var others holders
	for _, p := range h {
		if !p.Self {
			others = append(others, p)
		}
	}
	switch {
	case len(others) == 0 && h.self():
		return "this very process, which inherited the lock"
	case len(others) == 0 || others[0].PID == 0:
		return unknownHolder
	}
	first := others[0]
	s := called(first)
	if name := userOf(first.PID); name != "" {
		s += " of " + printable(name)
	}
	var about []string
	if !first.Started.IsZero() {
		about = append(about, "started "+roughly(time.Since(first.Started))+" ago")
	}
	if first.Stopped {
		about = append(about, "is stopped")
	}
	if len(about) > 0 {
		s += ", which " + strings.Join(about, " and ") + ","
	}
	if n := len(others) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more", s, n)
	}
	return strings.TrimSuffix(s, ",")
}

// called returns the pid of a process and its command line.
func called(p packlock.Process) string {
	if p.PID == 0 {
		return "a process that cannot be named"
	}
	s := fmt.Sprintf("pid %d", p.PID)
	if command := commandOf(p); command != "" {
		s += " (" + command + ")"
	}
	return s
}

// commandOf returns the command line of a process, or its name, fit for a line.
func commandOf(p packlock.Process) string {
	if command := printable(strings.Join(p.Args, " ")); command != "" {
		return command
	}
	return printable(p.Name)
}

// userOf returns the name of the user of a process, or the number that he has
// where he has no name, "" where the system does not tell.
func userOf(pid int) string {
	uid, ok := proclocks.User(pid)
	if !ok {
		return ""
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", uid)
}

// roughly returns a time as people tell it: the longer, the rounder.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return strings.Replace(d.Truncate(time.Second).String(), "m0s", "m", 1)
	case d < 2*day:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%d days", d/day)
}

// printable returns s, shortened to be part of a line, without what could play
// tricks on a terminal.
func printable(s string) string {
	const most = 60
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.TrimSpace(s))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}
