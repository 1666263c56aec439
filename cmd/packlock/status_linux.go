package main

import (
	"bytes"
	"os"
	"strings"
)

// initialPIDs is the name of the pid namespace that all others are inside of.
// The kernel has given it a number for good.
const initialPIDs = "pid:[4026531836]"

// findListed looks for the lock of the sidecar at path in /proc/locks.
//
// That a lock is not there means that it is free only if nobody is left out: the
// kernel leaves out the locks of other pid namespaces, except those inside its
// own, and knows nothing about those that a server keeps. And something, a
// mount over the file or an emulation of Linux, may have emptied the table:
// another lock on the same file system shows that nothing has.
func findListed(path string) (l listing) {
	file, err := procName(path)
	if err != nil {
		return l
	}
	device := []byte(" " + file[:strings.LastIndexByte(file, ':')+1])
	seen := false
	// The table comes a page at a time, and a lock that is let go in between
	// moves up those behind it: one of them is missed. That this is the same
	// one twice is next to impossible.
	for range 2 {
		locks, err := readLocks()
		if err != nil {
			return l
		}
		for line := range bytes.Lines(locks) {
			seen = seen || bytes.Contains(line, device)
			// Without the arrow of a waiter it is as the line of a holder.
			lock := bytes.Replace(line, []byte("-> "), nil, 1)
			switch _, ok := parseLock(lock, file); {
			case ok && len(lock) < len(line):
				l.waiting++
			case ok:
				l.held = true
			}
		}
		if l.held {
			return l
		}
	}
	if !seen || !findFileSystem(path).local {
		return l
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	l.complete = err == nil && pids == initialPIDs
	return l
}

// readLocks returns /proc/locks. Unlike os.ReadFile, which begins with less, it
// asks for more than a page, so that next to always the table is of one moment.
func readLocks() ([]byte, error) {
	f, err := os.Open("/proc/locks")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	b.Grow(1 << 16)
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
}
