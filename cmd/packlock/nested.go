package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"packlock"
	"packlock/internal/proclocks"
)

// heldVariable is the environment variable by which a run tells those that its
// command starts which locks are held on their behalf. It has a line for each:
// the pid of the run, the path of the locked file, quoted, since when it has been
// locked, in milliseconds since 1970, and, only of a shared lock, the word shared.
const heldVariable = "PACKLOCK_HELD"

// A heldLine is a line of heldVariable.
type heldLine struct {
	pid    int
	path   string
	since  time.Time
	shared bool
}

// sharedField is the fourth field of a line about a shared lock.
const sharedField = "shared"

// heldLines parses a value of heldVariable. What makes no sense it leaves out.
func heldLines(value string) (lines []heldLine) {
	for line := range strings.Lines(value) {
		var l heldLine
		var ms int64
		var kind string
		switch n, _ := fmt.Sscanf(line, "%d %q %d %s", &l.pid, &l.path, &ms, &kind); n {
		case 3, 4:
			l.since, l.shared = time.UnixMilli(ms), kind == sharedField
			lines = append(lines, l)
		case 2: // of a run that did not say since when
			lines = append(lines, l)
		}
	}
	return lines
}

// heldAlso returns the setting of heldVariable for the command of this run,
// which has just acquired the locks of added.
func heldAlso(added ...heldLine) string {
	var lines []string
	if outer := os.Getenv(heldVariable); outer != "" {
		lines = append(lines, outer)
	}
	for _, l := range added {
		line := fmt.Sprintf("%d %q %d", l.pid, l.path, l.since.UnixMilli())
		if l.shared {
			line += " " + sharedField
		}
		lines = append(lines, line)
	}
	return heldVariable + "=" + strings.Join(lines, "\n")
}

// heldAbove returns the process above this one that holds the lock for as long as this
// one runs, as words that follow "held by", "" if none is known, and whether it holds
// the lock shared. The lock is busy.
//
// A process may outlive the run that it got the variable from. So what the system
// says about the lock is believed before the variable is.
func heldAbove(lock *packlock.Lock) (who string, shared bool) {
	path, err := filepath.EvalSymlinks(lock.Path()) // with -f, links are followed
	if err != nil {
		return "", false
	}
	file, err := os.Stat(path)
	if err != nil {
		return "", false
	}
	inherited, shared := inheritedLock(path)
	takers := takersOf(path)
	taken := func(pid int) (took, shared bool) {
		i := slices.IndexFunc(takers, func(l proclocks.Lock) bool { return l.PID == pid })
		return i >= 0, i >= 0 && takers[i].Shared
	}
	for _, line := range heldLines(os.Getenv(heldVariable)) {
		if info, err := os.Stat(line.path); err != nil || !os.SameFile(info, file) {
			continue
		}
		switch took, asShared := taken(line.pid); {
		case inherited: // and that run may have been killed
			return runAbove(line, true), shared
		case took:
			return runAbove(line, false), asShared
		case len(takers) == 0 && alive(line.pid):
			return runAbove(line, false), line.shared
		}
	}
	// sudo, env -i and many programs do not hand the variable on.
	for _, pid := range proclocks.Ancestors() {
		took, asShared := taken(pid)
		if !took {
			continue
		}
		if p := packlock.Process(proclocks.Describe(pid)); inherited || waitsForItsCommand(p) {
			return called(p) + ", which this command is part of", asShared
		}
	}
	if inherited {
		return findHolders(lock).String() + "; this process inherited the lock", shared
	}
	return "", false
}

// runAbove returns heldAbove's words for the run of line. If the run was killed, the
// processes that inherited the lock from it hold the lock.
func runAbove(line heldLine, inherited bool) string {
	p := packlock.Process(proclocks.Describe(line.pid))
	zombie := p.Name != "" && len(p.Args) == 0
	if alive(line.pid) && !zombie && !isYounger(p, line) {
		return called(p) + ", which this command is part of"
	}
	s := fmt.Sprintf("pid %d, which has ended", line.pid)
	if inherited {
		s += "; this process inherited the lock"
	}
	return s
}

// isYounger reports whether p was started after the run of line acquired the lock, so
// that it only has the pid of that run.
func isYounger(p packlock.Process, line heldLine) bool {
	return !line.since.IsZero() && line.since.Before(p.Started.Add(-time.Second))
}

// waitsForItsCommand reports whether p, which has taken the lock, is a run or a
// flock(1), which releases it when its command has ended. Any other program may release
// it before.
func waitsForItsCommand(p packlock.Process) bool {
	if len(p.Args) < 2 {
		return false
	}
	name := filepath.Base(p.Args[0])
	return name == "flock" || name == "busybox" && p.Args[1] == "flock" ||
		(name == "packlock" || name == filepath.Base(os.Args[0])) && p.Args[1] == "run"
}

// inheritedLock reports whether this process, which has not acquired the lock of
// the file at path, has it open as locked nevertheless, and whether shared.
func inheritedLock(path string) (inherited, shared bool) {
	name, err := proclocks.Name(path)
	if err != nil {
		return false, false
	}
	return proclocks.OwnHas(name)
}

// takersOf returns the locks of the file at path that the system lists, even if the
// processes that took them have ended since, none where it does not list locks.
func takersOf(path string) []proclocks.Lock {
	name, err := proclocks.Name(path)
	if err != nil {
		return nil
	}
	tables, err := proclocks.Read(name)
	if err != nil {
		return nil
	}
	return tables.Takers(name)
}

// heldSince returns since when a run has held the lock of the file at path, the first
// of several that share it, as it tells its command: the time is zero if the holders
// acquired the lock otherwise, or if the environment of none of them is shown.
func heldSince(who holders, path string) time.Time {
	var first time.Time
	file, err := os.Stat(path)
	if err != nil {
		return first
	}
	for _, heir := range who {
		for _, line := range heldLines(proclocks.Variable(heir.PID, heldVariable)) {
			taker := slices.IndexFunc(who, func(p packlock.Process) bool { return p.PID == line.pid })
			// A pid may be another's by now, and this one older than that.
			if taker < 0 || isYounger(who[taker], line) || line.since.After(time.Now()) {
				continue
			}
			if info, err := os.Stat(line.path); err == nil && os.SameFile(info, file) && (first.IsZero() || line.since.Before(first)) {
				first = line.since
			}
		}
	}
	return first
}
