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

// Shared reports whether several files may have the name of this one in the tables.
func Shared(file string) bool { return listed(file) != file }

// A Lock is a line of /proc/locks about a lock of flock(2).
type Lock struct {
	File  string // what Name returns for the file
	PID   int    // of the process that took it, even if that has ended; 0 in some other pid namespaces
	Waits bool   // it waits for the lock
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
}

// Held reports whether the table lists file as locked, or another one by its name.
func (t *Tables) Held(file string) bool {
	return slices.ContainsFunc(t.Locks, func(l Lock) bool { return l.File == listed(file) && !l.Waits })
}

// ListsDevice reports whether the table has a lock on a file of the same device.
// It shows that nothing, such as a mount over the table, has emptied it.
func (t *Tables) ListsDevice(file string) bool { return t.devices[device(listed(file))] }

// Takers returns the pids by which the table lists file as locked, without those that
// have another one by its name instead.
func (t *Tables) Takers(file string) (pids []int) {
	return slices.DeleteFunc(t.pids(file, false), func(pid int) bool {
		if !Shared(file) {
			return false
		}
		open, _ := t.openOf(pid)
		return has(pid, open, listed(file)) && !has(pid, open, file)
	})
}

// Waiters returns the pids of the processes that wait for the lock of file, once
// for each wait.
func (t *Tables) Waiters(file string) (pids []int) {
	return slices.DeleteFunc(t.pids(file, true), func(pid int) bool { return Shared(file) && !mayHaveOpen(pid, file) })
}

func (t *Tables) pids(file string, waits bool) (pids []int) {
	for _, l := range t.Locks {
		if l.File == listed(file) && l.Waits == waits {
			pids = append(pids, l.PID)
		}
	}
	return pids
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
// who have inherited it. It has a zero Process for whoever is listed but cannot
// be named: in another pid namespace, or an heir that belongs to another user.
func (t *Tables) Holders(file string) (holders []Process) {
	for _, pid := range t.holders(file) {
		holders = append(holders, Describe(pid))
	}
	takers := t.Takers(file)
	unnamed := slices.Contains(takers, 0)
	if len(takers) > 0 && len(holders) == 0 && !t.elsewhere(file) {
		// Or it was let go since the table was read, and there is nobody.
		now, err := Read(file)
		unnamed = err == nil && now.Held(file)
	}
	if unnamed {
		holders = append(holders, Process{})
	}
	return holders
}

// elsewhere reports whether what the table lists is the lock of another file by the
// name of this one: one that a process can be seen to have.
func (t *Tables) elsewhere(file string) bool {
	return Shared(file) && len(t.pids(file, false)) == 1 && len(t.having(listed(file))) > 0
}

// holders returns the pids of Holders.
func (t *Tables) holders(file string) (pids []int) {
	for _, pid := range t.Takers(file) {
		// The taker may have ended and its pid be another's by now. Where its
		// descriptors are not shown, that it lives has to do.
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

// OwnHas reports whether this process has the locked file open, without a look at
// any other, of which there may be thousands.
func OwnHas(file string) bool {
	open, _ := openOf(os.Getpid())
	return has(os.Getpid(), open, file)
}

// having returns the pids, in their order, of the processes that can be seen to
// have the locked file open.
func (t *Tables) having(file string) (pids []int) {
	if t.open == nil {
		t.open = make(map[int][]descriptor)
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range dirs {
			if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
				t.open[pid], _ = openOf(pid)
			}
		}
	}
	for pid, open := range t.open {
		if has(pid, open, file) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
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
	return slices.ContainsFunc(open, func(d descriptor) bool {
		if d.file != listed(file) {
			return false
		}
		if !Shared(file) {
			return true
		}
		opened := nameOfOpen(pid, d.number, d.file)
		return opened == "" || opened == file
	})
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
