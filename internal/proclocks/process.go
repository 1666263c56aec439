package proclocks

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Process is one that has a lock or waits for one.
type Process struct {
	PID     int // 0 if it cannot be named
	Name    string
	Args    []string
	Started time.Time
	Self    bool
	Stopped bool
	Shared  bool // what it has, or waits for, is shared
}

// Describe returns what can be told about a process.
func Describe(pid int) Process {
	if pid <= 0 {
		return Process{}
	}
	// /proc may be that of another pid namespace.
	self, _ := os.Readlink("/proc/self")
	p := Process{PID: pid, Self: strconv.Itoa(pid) == self}
	p.Name = strings.TrimSuffix(fact(pid, "comm"), "\n")
	p.Args = parseArgs(fact(pid, "cmdline"))
	stat := fact(pid, "stat")
	p.Stopped = isStopped(stat)
	if since, ok := parseStart(stat); ok {
		// /proc/stat has the start of the system in whole seconds only.
		if up, ok := uptime(); ok {
			p.Started = time.Now().Add(since - up).Round(tick)
		}
	}
	return p
}

// Ancestors returns the pids of the parent of this process, of the parent of that, and
// so on.
func Ancestors() (pids []int) {
	pid, _ := os.Readlink("/proc/self") // /proc may be that of another pid namespace
	for {
		child, err := strconv.Atoi(pid)
		if err != nil {
			return pids
		}
		pid = statusLine(child, "PPid:")
		if parent, err := strconv.Atoi(pid); err == nil && parent > 0 {
			pids = append(pids, parent)
		}
	}
}

// statusLine returns what is in the line of /proc/PID/status that begins with key, ""
// if there is none.
func statusLine(pid int, key string) string {
	for line := range strings.Lines(fact(pid, "status")) {
		if value, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// User returns the effective user id of a process.
func User(pid int) (uid int, ok bool) {
	f := strings.Fields(statusLine(pid, "Uid:")) // real, effective, saved, file system
	if len(f) < 2 {
		return 0, false
	}
	uid, err := strconv.Atoi(f[1])
	return uid, err == nil
}

// Variable returns the value of an environment variable that a process was started
// with, "" if there is none or it is not shown: it is to the same user and to root.
func Variable(pid int, name string) string {
	for entry := range strings.SplitSeq(fact(pid, "environ"), "\x00") {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// fact returns the content of a file about a process, "" if there is none.
func fact(pid int, name string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return string(b)
}

// openOf returns the descriptors of the process that have a lock. An error is
// that they are not shown, or that there is no such process.
func openOf(pid int) (open []descriptor, err error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, 0, 1024) // a few hundred are usual
	for _, entry := range entries {
		// If it was closed meanwhile, there is nothing to read.
		buffer = appendFile(buffer[:0], dir+"/"+entry.Name())
		for line := range bytes.Lines(buffer) {
			if after, ok := bytes.CutPrefix(line, []byte("lock:")); ok {
				if kind, lock, ok := parseLock(after); ok && kind == "FLOCK" {
					open = append(open, descriptor{lock.File, entry.Name(), lock.PID, lock.Shared})
				}
			}
		}
	}
	return open, nil
}

// parseArgs parses a /proc/PID/cmdline. Every argument ends with a NUL, unless
// the process has written something else there.
func parseArgs(cmdline string) []string {
	if cmdline == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(cmdline, "\x00"), "\x00")
}

// parseStart returns how long after the start of the system a process was
// started, from its /proc/PID/stat.
func parseStart(stat string) (since time.Duration, ok bool) {
	// The name, in parentheses, may have anything in it; starttime, which is
	// the 22nd field, is the 20th after it. It is in hundredths of a second,
	// whatever the kernel's own clock tick is.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	return time.Duration(ticks) * tick, err == nil
}

// isStopped reports whether a process is stopped by a signal, from its
// /proc/PID/stat. One that is stopped by a tracer has another letter.
func isStopped(stat string) bool {
	return strings.HasPrefix(stat[strings.LastIndexByte(stat, ')')+1:], " T ")
}

const tick = time.Second / 100
