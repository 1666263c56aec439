// Package proclocks reads what Linux tells about locks of flock(2): who has
// them, who waits for them, and what processes those are. It takes no lock and
// opens no file but in /proc. Elsewhere its functions fail with
// errors.ErrUnsupported.
//
// The kernel tells of processes in the reader's pid namespace or one inside it.
// It tells nothing of other machines. What descriptors a process has it shows to
// the process's own user and to root.
package proclocks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Name returns the name that the tables have for the file at path, no symlink
// followed in the last element. On btrfs a file in a subvolume and the one in a snapshot
// of it have the same name there. It is followed by a space and the device that stat
// returns, by which the two differ.
func Name(path string) (string, error) { return name(path) }

// listed returns the part of a Name that is in the tables.
func listed(file string) string {
	name, _, _ := strings.Cut(file, " ")
	return name
}

// Ambiguous reports whether several files may have the name of this one in the tables.
func Ambiguous(file string) bool { return listed(file) != file }

// A Lock is a line of /proc/locks about a lock of flock(2).
type Lock struct {
	File   string // what Name returns for the file
	PID    int    // of the process that took it, even if that has ended; 0 in some other pid namespaces
	Waits  bool   // it waits for the lock
	Shared bool
}

// Tables are what the kernel said at one moment.
type Tables struct {
	Locks []Lock

	// devices are those that any lock is listed for, of whatever kind.
	devices map[string]bool
	// open has for each process the locked files that it has open. It is nil
	// until somebody asks.
	open map[int][]descriptor
}

// A descriptor is one with a lock on its open file.
type descriptor struct {
	file   string // what Name returns for it
	number string
	taker  int // the pid of the process that took the lock
	shared bool
}

// Held reports whether the table lists file as locked, or another one by its name.
func (t *Tables) Held(file string) bool {
	return slices.ContainsFunc(t.Locks, func(l Lock) bool { return l.File == listed(file) && !l.Waits })
}

// ListsDevice reports whether the table has a lock on a file of the same device.
// It shows that nothing, such as a mount over the table, has emptied it.
func (t *Tables) ListsDevice(file string) bool { return t.devices[device(listed(file))] }

// Takers returns the lines by which the table lists file as locked, one for each lock, of
// which there are several if they are shared. It leaves out those of a process that has a
// different file by its name instead.
func (t *Tables) Takers(file string) []Lock {
	return slices.DeleteFunc(t.lines(file, false), func(l Lock) bool {
		if !Ambiguous(file) {
			return false
		}
		open, _ := t.openOf(l.PID)
		return has(l.PID, open, listed(file)) && !has(l.PID, open, file)
	})
}

// Waiters returns the processes that wait for the lock of file, once for each wait.
func (t *Tables) Waiters(file string) (waiters []Process) {
	for _, l := range t.lines(file, true) {
		if !Ambiguous(file) || mayHaveOpen(l.PID, file) {
			p := Describe(l.PID)
			p.Shared = l.Shared
			waiters = append(waiters, p)
		}
	}
	return waiters
}

// lines returns the lines about file: those of who has the lock, or of who waits for it.
func (t *Tables) lines(file string, waits bool) (lines []Lock) {
	for _, l := range t.Locks {
		if l.File == listed(file) && l.Waits == waits {
			lines = append(lines, l)
		}
	}
	return lines
}

// Read returns the tables. Without /proc/locks the error is an
// errors.ErrUnsupported.
//
// A table of one page is as it was at one moment. A longer one comes a page at a
// time, and if locks come or go in between, others are in it twice or missing. So it
// is read until it lists the same about files twice in a row or, as it is more often
// missing than twice, fifteen times nothing. That is at once unless
// many locks change all the time.
func Read(files ...string) (*Tables, error) {
	const page = 4096
	var table []byte
	var before []string
	same := 0
	for range 50 {
		var err error
		if table, err = os.ReadFile("/proc/locks"); err != nil {
			return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
		now := about(table, files)
		if same > 0 && !slices.Equal(before, now) {
			same = 0
		}
		before = now
		same++
		if len(table) < page || same >= 2 && len(now) > 0 || same >= 15 {
			break
		}
	}
	return parseTable(table), nil
}

// SeesAll reports whether this process is in the pid namespace that all others
// are inside of, so that the tables leave out nobody on this machine. The kernel
// has given it a number for good.
func SeesAll() bool {
	pids, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && pids == "pid:[4026531836]"
}

// Holders returns who has the lock of file: those who took it first, then those
// who have inherited it. It has a zero Process, but for Shared, for each that is listed
// but cannot be named: in another pid namespace, or an heir that belongs to another user.
func (t *Tables) Holders(file string) (holders []Process) {
	pids := t.holders(file)
	takers := t.Takers(file)
	for _, pid := range pids {
		p := Describe(pid)
		p.Shared = t.shares(pid, file, takers)
		holders = append(holders, p)
	}
	var later *Tables
	for _, l := range takers {
		if l.PID > 0 {
			if slices.Contains(pids, l.PID) || t.passedOn(l) {
				continue
			}
			// Or it was released since the table was read, and there is no heir.
			if later == nil {
				var err error
				if later, err = Read(file); err != nil {
					later = new(Tables)
				}
			}
			if !slices.Contains(later.Locks, l) {
				continue
			}
		}
		holders = append(holders, Process{Shared: l.Shared})
	}
	return holders
}

// shares reports whether what a process has of the lock of file is shared.
func (t *Tables) shares(pid int, file string, takers []Lock) bool {
	if open, err := t.openOf(pid); err == nil {
		for _, d := range open {
			if opens(pid, d, file) {
				return d.shared
			}
		}
	}
	return slices.ContainsFunc(takers, func(l Lock) bool { return l.PID == pid && l.Shared })
}

// passedOn reports whether a process can be seen to have a descriptor with the lock of
// that line, which a different one took. On btrfs it may be one of another file by the
// name of this one.
func (t *Tables) passedOn(l Lock) bool {
	for _, open := range t.opened() {
		if slices.ContainsFunc(open, func(d descriptor) bool { return d.file == l.File && d.taker == l.PID }) {
			return true
		}
	}
	return false
}

// holders returns the pids of Holders.
func (t *Tables) holders(file string) (pids []int) {
	for _, l := range t.Takers(file) {
		// The taker may have ended and its pid be another's by now. Where its
		// descriptors are not shown, that it lives has to do.
		pid := l.PID
		open, err := t.openOf(pid)
		if pid > 0 && !slices.Contains(pids, pid) && (has(pid, open, file) || err != nil && alive(pid)) {
			pids = append(pids, pid)
		}
	}
	for _, pid := range t.having(file) {
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Seen reports whether a process can be seen to have the locked file open.
func (t *Tables) Seen(file string) bool { return len(t.having(file)) > 0 }

// OwnHas reports whether this process has the locked file open, and whether shared,
// without a look at any other, of which there may be thousands.
func OwnHas(file string) (has, shared bool) {
	pid := os.Getpid()
	open, _ := openOf(pid)
	for _, d := range open {
		if opens(pid, d, file) {
			return true, d.shared
		}
	}
	return false, false
}

// having returns the pids, in their order, of the processes that can be seen to
// have the locked file open.
func (t *Tables) having(file string) (pids []int) {
	for pid, open := range t.opened() {
		if has(pid, open, file) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// opened returns open, which it fills in the first time.
func (t *Tables) opened() map[int][]descriptor {
	if t.open == nil {
		t.open = make(map[int][]descriptor)
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range dirs {
			if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
				t.open[pid], _ = openOf(pid)
			}
		}
	}
	return t.open
}

// Path returns a path of the locked file, from one of those who have it open, ""
// if none is to be had.
func (t *Tables) Path(file string) string {
	for _, pid := range t.having(file) {
		for _, d := range t.open[pid] {
			if d.file == listed(file) {
				path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, d.number))
				return path
			}
		}
	}
	return ""
}

// openOf is the function of that name, unless its answer is here already.
func (t *Tables) openOf(pid int) ([]descriptor, error) {
	if open := t.open[pid]; open != nil {
		return open, nil
	}
	return openOf(pid)
}

// has reports whether a process that has these open has the locked file among them.
func has(pid int, open []descriptor, file string) bool {
	return slices.ContainsFunc(open, func(d descriptor) bool { return opens(pid, d, file) })
}

// opens reports whether a descriptor of a process is one of the locked file.
func opens(pid int, d descriptor, file string) bool {
	if d.file != listed(file) {
		return false
	}
	if !Ambiguous(file) {
		return true
	}
	opened := nameOfOpen(pid, d.number, d.file)
	return opened == "" || opened == file
}

// mayHaveOpen reports whether a process has the file open, or does not show what it has.
func mayHaveOpen(pid int, file string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	return err != nil || slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		opened := nameOfOpen(pid, entry.Name(), listed(file))
		return opened == "" || opened == file
	})
}
