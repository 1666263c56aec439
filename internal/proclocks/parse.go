package proclocks

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// parseTable parses /proc/locks.
func parseTable(table []byte) *Tables {
	t := &Tables{devices: make(map[string]bool)}
	for line := range bytes.Lines(table) {
		kind, lock, ok := parseLock(line)
		if !ok {
			continue
		}
		t.devices[device(lock.File)] = true
		if kind == "FLOCK" {
			t.Locks = append(t.Locks, lock)
		}
	}
	return t
}

// parseLock parses a line of /proc/locks, or of an fdinfo after "lock:":
//
//	1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
//	1: -> FLOCK  ADVISORY  WRITE 4712 fe:00:1234 0 EOF
//
// The second one is a waiter. READ is a shared lock.
func parseLock(line []byte) (kind string, lock Lock, ok bool) {
	f := bytes.Fields(line)
	if len(f) > 1 && string(f[1]) == "->" {
		lock.Waits = true
		f = slices.Delete(f, 1, 2)
	}
	if len(f) < 6 {
		return "", Lock{}, false
	}
	pid, err := strconv.Atoi(string(f[4]))
	lock.PID, lock.File, lock.Shared = pid, string(f[5]), string(f[3]) == "READ"
	return string(f[1]), lock, err == nil && strings.Count(lock.File, ":") == 2
}

// device returns the part of a file's name that is its device's.
func device(file string) string { return file[:strings.LastIndexByte(file, ':')+1] }

// about returns the lines of /proc/locks about any of files, without their
// numbers, which change when other locks come and go.
func about(table []byte, files []string) (lines []string) {
	for line := range bytes.Lines(table) {
		_, lock, _ := strings.Cut(string(line), ": ")
		if slices.ContainsFunc(files, func(file string) bool { return strings.Contains(lock, " "+listed(file)+" ") }) {
			lines = append(lines, lock)
		}
	}
	return lines
}
